// A program is a list of calls on arrays that stay, between inputs that are copied in and outputs that are copied out:
// a step of a stream. It is called without nanobind, and reads arrays through Python's buffers: of a step of a small
// network both would be half the time.
#include "program.h"

#include <array>
#include <chrono>
#include <cstring>
#include <new>
#include <span>
#include <utility>
#include <vector>

#include "threads.h"

namespace nb = nanobind;

namespace everystep {
namespace {

// An array's numbers, while it lives.
class View {
 public:
  View() = default;
  View(View&& other) noexcept : buffer_(std::exchange(other.buffer_, {})) {}
  ~View() { PyBuffer_Release(&buffer_); }  // which does nothing if there is none

  // False, and Python's error is set, where the array does not have it so.
  bool take(PyObject* array, int flags) { return PyObject_GetBuffer(array, &buffer_, flags | PyBUF_RECORDS_RO) == 0; }

  // Whether the other one has the same dtype and shape.
  bool alike(const View& other) const {
    const Py_buffer &a = buffer_, &b = other.buffer_;
    return a.ndim == b.ndim && std::memcmp(a.shape, b.shape, a.ndim * sizeof *a.shape) == 0 &&
           std::strcmp(a.format, b.format) == 0;
  }

  void* data() const { return buffer_.buf; }

  // Copies all numbers of one that is alike.
  void copy(const View& from) const {
    if (PyBuffer_IsContiguous(&buffer_, 'C') && PyBuffer_IsContiguous(&from.buffer_, 'C'))
      std::memcpy(buffer_.buf, from.buffer_.buf, buffer_.len);
    else
      copy_axis(from.buffer_, 0, static_cast<char*>(buffer_.buf), static_cast<const char*>(from.buffer_.buf));
  }

 private:
  void copy_axis(const Py_buffer& from, int axis, char* to, const char* at) const {
    if (axis == buffer_.ndim) {
      std::memcpy(to, at, buffer_.itemsize);
      return;
    }
    for (Py_ssize_t k = 0; k < buffer_.shape[axis]; ++k)
      copy_axis(from, axis + 1, to + k * buffer_.strides[axis], at + k * from.strides[axis]);
  }

  Py_buffer buffer_{};
};

class Program {
 public:
  // calls: without arguments, each a Bound or anything else of Python's.
  // inputs, outputs: the arrays that the calls read and write.
  // unchanged: arrays (1) of int64, each with what it must hold for the calls to be right.
  Program(nb::list calls, nb::list inputs, nb::list outputs, nb::list unchanged)
      : inputs_(views(inputs, PyBUF_WRITABLE)), outputs_(views(outputs, 0)), type_(nb::borrow(inputs[0].type())) {
    for (nb::handle call : calls) {
      const Bound* bound = nullptr;
      if (!nb::try_cast<const Bound*>(call, bound) || !bound) {
        stretches_.push_back({{}, 0, nb::borrow(call)});
        continue;
      }
      if (stretches_.empty() || stretches_.back().call) stretches_.emplace_back();
      stretches_.back().bound.push_back(bound);
      stretches_.back().products += bound->products;
      kept_.append(call);
    }
    for (nb::handle output : outputs) copies_.push_back(output.attr("copy"));
    for (nb::handle one : unchanged) {
      View& count = counts_.emplace_back();
      if (!count.take(one[0].ptr(), PyBUF_C_CONTIGUOUS)) throw nb::python_error();
      unchanged_.push_back({static_cast<const int64_t*>(count.data()), nb::cast<int64_t>(one[1])});
    }
  }

  Program(const Program&) = delete;

  // Makes the calls. False, and Python's error is set, where one raises.
  bool go() const {
    for (const Stretch& stretch : stretches_) {
      if (!stretch.call) {
        work_unlocked(stretch.products, [&] {
          const FloatModes modes;  // once for all of them
          for (const Bound* bound : stretch.bound) bound->work();
        });
      } else if (PyObject* const none = PyObject_CallNoArgs(stretch.call.ptr())) {
        Py_DECREF(none);
      } else {
        return false;
      }
    }
    return true;
  }

  // One step. Inputs come alone where there is one, else in a list or a tuple; so does `out`, unless it is None.
  // Returns `out`, or new arrays in its place; None, and nothing is done, where an array is not exactly as it must be,
  // or a count has changed; null, and Python's error is set, where a call raises.
  PyObject* step(PyObject* x, PyObject* out) const {
    for (const auto& [count, expected] : unchanged_)
      if (*count != expected) return Py_NewRef(Py_None);
    const std::span<PyObject* const> given = parts(x, inputs_.size());
    if (given.empty()) return Py_NewRef(Py_None);
    for (size_t k = 0; k < given.size(); ++k) {
      View view;
      if (!taken(view, given[k], inputs_[k], 0)) return Py_NewRef(Py_None);
      inputs_[k].copy(view);
    }
    if (out == Py_None) return go() ? copies() : nullptr;
    const std::span<PyObject* const> targets = parts(out, outputs_.size());
    if (targets.empty()) return Py_NewRef(Py_None);
    std::array<View, 1> one;
    std::vector<View> several(targets.size() > 1 ? targets.size() : 0);
    const std::span<View> to = several.empty() ? std::span<View>(one) : several;
    for (size_t k = 0; k < to.size(); ++k)
      if (!taken(to[k], targets[k], outputs_[k], PyBUF_WRITABLE)) return Py_NewRef(Py_None);
    if (!go()) return nullptr;
    for (size_t k = 0; k < to.size(); ++k) to[k].copy(outputs_[k]);
    return Py_NewRef(out);
  }

  // Seconds that n rounds of the calls take, the states going on: what a step is without its arrays' coming and going.
  double timed(int64_t n) const {
    const auto start = std::chrono::steady_clock::now();
    for (int64_t k = 0; k < n; ++k)
      if (!go()) throw nb::python_error();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

 private:
  // Bound calls one after the other, or one call of another kind.
  struct Stretch {
    std::vector<const Bound*> bound;
    int64_t products = 0;
    nb::object call;
  };

  static std::vector<View> views(nb::list arrays, int flags) {
    std::vector<View> found;
    for (nb::handle array : arrays)
      if (!found.emplace_back().take(array.ptr(), flags)) throw nb::python_error();
    return found;
  }

  // The arrays of a structure of n; none where it is not one.
  static std::span<PyObject* const> parts(PyObject* const& structure, size_t n) {
    if (n == 1) return {&structure, 1};
    if (!PyList_CheckExact(structure) && !PyTuple_CheckExact(structure)) return {};
    const auto found = static_cast<size_t>(PySequence_Fast_GET_SIZE(structure));
    if (found != n) return {};
    return {PySequence_Fast_ITEMS(structure), n};
  }

  bool taken(View& view, PyObject* array, const View& like, int flags) const {
    if (reinterpret_cast<PyObject*>(Py_TYPE(array)) != type_.ptr()) return false;
    if (view.take(array, flags)) return view.alike(like);
    PyErr_Clear();
    return false;
  }

  PyObject* copies() const {
    if (copies_.size() == 1) return PyObject_CallNoArgs(copies_[0].ptr());
    PyObject* const all = PyList_New(static_cast<Py_ssize_t>(copies_.size()));
    for (size_t k = 0; all && k < copies_.size(); ++k) {
      PyObject* const copy = PyObject_CallNoArgs(copies_[k].ptr());
      PyList_SET_ITEM(all, static_cast<Py_ssize_t>(k), copy);
      if (copy) continue;
      Py_DECREF(all);
      return nullptr;
    }
    return all;
  }

  std::vector<View> inputs_, outputs_, counts_;
  nb::object type_;  // np.ndarray
  std::vector<Stretch> stretches_;
  nb::list kept_;                   // the bound calls
  std::vector<nb::object> copies_;  // of the outputs, each a call
  std::vector<std::pair<const int64_t*, int64_t>> unchanged_;
};

PyObject* step(PyObject* program, PyObject* const* arguments, Py_ssize_t n) {
  if (n != 2) return PyErr_Format(PyExc_TypeError, "step takes x and out; got %zd arguments", n);
  try {
    return nb::inst_ptr<Program>(program)->step(arguments[0], arguments[1]);
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  }
}

PyMethodDef step_method = {"step", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(step)), METH_FASTCALL,
                           nullptr};

}  // namespace

void define_program(nb::module_& m) {
  nb::class_<Bound>(m, "Bound").def("__call__", &Bound::operator());
  nb::class_<Program>(m, "Program")
      .def(nb::init<nb::list, nb::list, nb::list, nb::list>(), nb::arg("calls"), nb::arg("inputs"), nb::arg("outputs"),
           nb::arg("unchanged"))
      .def_prop_ro("step",
                   [](nb::handle self) { return nb::steal(PyCFunction_NewEx(&step_method, self.ptr(), nullptr)); })
      .def("timed", &Program::timed, nb::arg("n"));
}

}  // namespace everystep
