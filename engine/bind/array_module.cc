// The engine for NumPy: arrays in, arrays out. Packing, products and activations are here, where `everystep/engine/`
// has checked every shape, dtype and layout; runs and their gradients are in runs.cc, calls that are made again in
// program.cc.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <new>

#include "everystep.h"
#include "program.h"
#include "runs.h"

namespace nb = nanobind;

namespace everystep {
namespace {

template <class Real>
using In = nb::ndarray<const Real, nb::c_contig, nb::device::cpu>;
template <class Real>
using Out = nb::ndarray<Real, nb::c_contig, nb::device::cpu>;
using Flags = In<bool>;

// The numbers of an array that may be None.
template <class Array>
auto* data(const Array& array) {
  return array.is_valid() ? array.data() : nullptr;
}

template <class Real, class Fill>
nb::object packed_array(int64_t size, Fill fill) {
  auto* const packed = static_cast<Real*>(::operator new(size * sizeof(Real), std::align_val_t{64}));
  nb::capsule owner(packed, [](void* p) noexcept { ::operator delete(p, std::align_val_t{64}); });
  fill(packed);
  return nb::cast(nb::ndarray<nb::numpy, Real, nb::ndim<1>>(packed, {static_cast<size_t>(size)}, owner));
}

template <class Real>
nb::object pack_cell(int kind, In<Real> kernel, In<Real> recurrent_kernel, In<Real> bias) {
  const auto I = static_cast<int64_t>(kernel.shape(0)), H = static_cast<int64_t>(recurrent_kernel.shape(0));
  const auto cell = static_cast<CellKind>(kind);
  return packed_array<Real>(packed_size<Real>(cell, I, H), [&](Real* packed) {
    pack<Real>(cell, I, H, {kernel.data(), recurrent_kernel.data(), data(bias)}, packed);
  });
}

template <class Real>
nb::object pack_matrix_array(In<Real> matrix) {
  const auto K = static_cast<int64_t>(matrix.shape(0)), N = static_cast<int64_t>(matrix.shape(1));
  return packed_array<Real>(packed_matrix_size<Real>(K, N),
                            [&](Real* packed) { pack_matrix<Real>(K, N, matrix.data(), packed); });
}

template <class Real>
void product_arrays(In<Real> a, In<Real> packed, In<Real> bias, int activation, Out<Real> out) {
  const nb::gil_scoped_release unlocked;
  product<Real>(static_cast<int64_t>(a.shape(0)), static_cast<int64_t>(a.shape(1)), static_cast<int64_t>(out.shape(1)),
                a.data(), packed.data(), data(bias), static_cast<Activation>(activation), out.data());
}

template <class Real>
Bound bind_product(In<Real> a, In<Real> packed, In<Real> bias, int activation, Out<Real> out) {
  const auto M = static_cast<int64_t>(a.shape(0)), K = static_cast<int64_t>(a.shape(1));
  const auto N = static_cast<int64_t>(out.shape(1));
  const auto work = [=, a = a.data(), packed = packed.data(), bias = data(bias), out = out.data()] {
    product<Real>(M, K, N, a, packed, bias, static_cast<Activation>(activation), out);
  };
  return bound(M * K * N, work, a, packed, bias, out);
}

template <class Real>
Bound bind_activate(int activation, In<Real> x, Out<Real> out) {
  const auto n = static_cast<int64_t>(x.size());
  const auto work = [=, x = x.data(), out = out.data()] {
    activate<Real>(static_cast<Activation>(activation), n, x, out);
  };
  return bound(8 * n, work, x, out);
}

template <class Real>
void activate_array(int activation, In<Real> x, Out<Real> out) {
  const nb::gil_scoped_release unlocked;
  activate<Real>(static_cast<Activation>(activation), static_cast<int64_t>(x.size()), x.data(), out.data());
}

template <class Real>
void define(nb::module_& m) {
  const auto strict = [](const char* name) { return nb::arg(name).noconvert(); };
  const auto maybe = [](const char* name) { return nb::arg(name).noconvert().none(); };
  m.def("pack", pack_cell<Real>, nb::arg("cell"), strict("kernel"), strict("recurrent_kernel"), maybe("bias"));
  m.def("pack_matrix", pack_matrix_array<Real>, strict("matrix"));
  m.def("product", product_arrays<Real>, strict("a"), strict("packed"), maybe("bias"), nb::arg("activation"),
        strict("out"));
  m.def("bind_product", bind_product<Real>, strict("a"), strict("packed"), maybe("bias"), nb::arg("activation"),
        strict("out"));
  m.def("bind_activate", bind_activate<Real>, nb::arg("activation"), strict("x"), strict("out"));
  m.def("activate", activate_array<Real>, nb::arg("activation"), strict("x"), strict("out"));
}

}  // namespace
}  // namespace everystep

NB_MODULE(_engine, m) {
  // A stream that lives as long as the process keeps its bound calls. Those of a stream that is gone go with it, as a
  // test sees: their arrays know nothing of them, so that there is no cycle.
  nb::set_leak_warnings(false);
  everystep::define_program(m);
  everystep::define_runs(m);
  everystep::define<float>(m);
  everystep::define<double>(m);
  m.def("instruction_set", [] { return std::string(everystep::instruction_set()); });
  m.def("num_threads", everystep::num_threads);
  m.def("set_num_threads", everystep::set_num_threads, nb::arg("n"));
}
