// NumPy's arrays as the engine takes them: pointers, once shape, dtype and layout are seen to be right.
#pragma once

#include <nanobind/nanobind.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <type_traits>

namespace everystep {

// NumPy's class of arrays; looked up once.
inline PyObject* ndarray() {
  static PyObject* const type = nanobind::getattr(nanobind::module_::import_("numpy"), "ndarray").release().ptr();
  return type;
}

// Whether a buffer's numbers are of type T, in the machine's order.
template <class T>
bool holds(const Py_buffer& buffer) {
  using Number = std::remove_const_t<T>;
  static_assert(std::is_same_v<Number, float> || std::is_same_v<Number, double> || std::is_same_v<Number, bool>);
  constexpr char kCode = std::is_same_v<Number, float> ? 'f' : std::is_same_v<Number, double> ? 'd' : '?';
  const char* format = buffer.format;
  if (*format == '=' || *format == '^' || *format == '@') ++format;  // in the machine's order; '=' if it is not aligned
  return format[0] == kCode && !format[1];
}

// Takes the arrays of one call. It says only whether all of them fit: `everystep/engine/` finds the words. An array is
// read through Python's buffer, for a third of the time that nanobind's arrays take; the caller keeps it alive.
class Reader {
 public:
  bool fits() const { return fits_; }
  void refuse() { fits_ = false; }

  // An array of T, C-contiguous, of this shape; and writeable where T is not const.
  template <class T>
  void read(nanobind::handle array, std::initializer_list<int64_t> shape, T*& to) {
    constexpr int kFlags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (std::is_const_v<T> ? 0 : PyBUF_WRITABLE);
    Py_buffer buffer;
    if (!fits_) return;
    if (!PyObject_TypeCheck(array.ptr(), reinterpret_cast<PyTypeObject*>(ndarray()))) return refuse();
    if (PyObject_GetBuffer(array.ptr(), &buffer, kFlags) != 0) {
      PyErr_Clear();
      return refuse();
    }
    fits_ = holds<T>(buffer) && std::equal(shape.begin(), shape.end(), buffer.shape, buffer.shape + buffer.ndim);
    to = static_cast<T*>(buffer.buf);
    PyBuffer_Release(&buffer);
  }

  // The same, or None, which stays null.
  template <class T>
  void read_or_none(nanobind::handle array, std::initializer_list<int64_t> shape, T*& to) {
    if (!array.is_none()) read(array, shape, to);
  }

  // A tuple of n arrays of one shape.
  template <class T>
  void read_each(nanobind::handle tuple, int n, std::initializer_list<int64_t> shape, T** to) {
    each(tuple, n, [&](nanobind::handle array, int k) { read(array, shape, to[k]); });
  }

  // The same, of which each may be None.
  template <class T>
  void read_each_or_none(nanobind::handle tuple, int n, std::initializer_list<int64_t> shape, T** to) {
    each(tuple, n, [&](nanobind::handle array, int k) { read_or_none(array, shape, to[k]); });
  }

 private:
  template <class Visit>
  void each(nanobind::handle tuple, int n, Visit visit) {
    if (!PyTuple_Check(tuple.ptr()) || PyTuple_GET_SIZE(tuple.ptr()) != n) return refuse();
    for (int k = 0; k < n; ++k) visit(PyTuple_GET_ITEM(tuple.ptr(), k), k);
  }

  bool fits_ = true;
};

// Calls `work` with a 0 of the type that an array holds. Returns what it returns, or `otherwise` where that is none.
template <class Work, class Result>
Result with_real(nanobind::handle array, Work work, Result otherwise) {
  Py_buffer buffer;
  if (PyObject_GetBuffer(array.ptr(), &buffer, PyBUF_RECORDS_RO) != 0) {
    PyErr_Clear();
    return otherwise;
  }
  const bool is_float = holds<float>(buffer), is_double = holds<double>(buffer);
  PyBuffer_Release(&buffer);
  return is_float ? work(0.0f) : is_double ? work(0.0) : otherwise;
}

}  // namespace everystep
