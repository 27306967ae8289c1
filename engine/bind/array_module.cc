// The engine for NumPy: arrays in, arrays out. `everystep/engine/` has checked every shape, dtype and layout; what is
// left here is to take the pointers and to let go of Python's lock during the work.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <new>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "everystep.h"
#include "program.h"

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

// The numbers of each array of a tuple that may be None, as may be what is in it. Nothing is converted: the numbers are
// those of the array itself, which the tuple keeps alive.
template <class Array, class Pointer>
void data(nb::handle tuple, Pointer (&to)[kMaxStates]) {
  if (tuple.is_none()) return;
  for (size_t s = 0; s < nb::len(tuple); ++s) {
    const nb::object item = tuple[s];
    to[s] = item.is_none() ? nullptr : nb::cast<Array>(item, false).data();
  }
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

// What forward and backward runs share.
template <class Real>
Run<Real> run_arguments(int cell, int activation, int recurrent_activation, const In<Real>& x, nb::handle start,
                        const Flags& mask, const Flags& resets, nb::handle reset, const In<Real>& dropout,
                        const In<Real>& recurrent_dropout, bool backwards) {
  Run<Real> run{};
  run.cell = {static_cast<CellKind>(cell), static_cast<Activation>(activation),
              static_cast<Activation>(recurrent_activation)};
  run.B = static_cast<int64_t>(x.shape(0)), run.T = static_cast<int64_t>(x.shape(1));
  run.I = static_cast<int64_t>(x.shape(2));
  run.H = static_cast<int64_t>(nb::cast<In<Real>>(start[0]).shape(1));
  run.x = x.data();
  data<In<Real>>(start, run.start);
  data<In<Real>>(reset, run.reset);
  run.mask = data(mask);
  run.resets = data(resets);
  run.dropout = data(dropout);
  run.recurrent_dropout = data(recurrent_dropout);
  run.backwards = backwards;
  return run;
}

template <class Real>
Run<Real> forward(int cell, int activation, int recurrent_activation, In<Real> x, nb::tuple start, Flags mask,
                  Flags resets, nb::tuple reset, In<Real> dropout, In<Real> recurrent_dropout, bool backwards,
                  In<Real> packed, Out<Real> h, Out<Real> c, Out<Real> gates, Out<Real> tape, nb::tuple last) {
  auto run = run_arguments<Real>(cell, activation, recurrent_activation, x, start, mask, resets, reset, dropout,
                                 recurrent_dropout, backwards);
  run.packed = packed.data();
  run.h = data(h);
  run.c = data(c);
  run.gates = data(gates);
  run.tape = data(tape);
  data<Out<Real>>(last, run.last);
  return run;
}

// A call of the work, to be made again and again on arrays that it keeps alive.
template <class Work, class... Kept>
Bound bound(int64_t products, Work work, const Kept&... kept) {
  return {products, [work, alive = std::tuple<Kept...>(kept...)] { work(); }};
}

// A function that makes one run, one that binds one, to be made again and again on the same arrays, and one that makes
// several, side by side, of tuples of the same arguments.
template <class Real, class... Arguments>
void define_runs(nb::module_& m, Run<Real> (*forward)(Arguments...), const auto&... names) {
  m.def(
      "run",
      [forward](Arguments... arguments) {
        const Run<Real> run = forward(arguments...);
        const nb::gil_scoped_release unlocked;
        everystep::run<Real>(&run);
      },
      names...);
  m.def(
      "bind_run",
      [forward](Arguments... arguments) {
        const Run<Real> run = forward(arguments...);
        const int64_t products = run.B * run.T * (run.I + run.H) * run.H * gates(run.cell.kind);
        return bound(products, [run] { everystep::run<Real>(&run); }, arguments...);
      },
      names...);
  m.def(sizeof(Real) == 4 ? "run_together_float32" : "run_together_float64", [forward](nb::list calls) {
    std::vector<Run<Real>> runs;
    for (nb::handle call : calls) {
      const auto take = [&]<std::size_t... k>(std::index_sequence<k...>) {
        const auto one = [&]<class Argument>(std::size_t at, std::type_identity<Argument>) {
          const nb::object value = call[at];
          return value.is_none() ? Argument{} : nb::cast<Argument>(value, false);
        };
        return forward(one(k, std::type_identity<Arguments>{})...);
      };
      runs.push_back(take(std::index_sequence_for<Arguments...>{}));
    }
    const nb::gil_scoped_release unlocked;
    everystep::run<Real>(runs.data(), static_cast<int>(runs.size()));
  });
}

template <class Real>
void run_backward_arrays(int cell, int activation, int recurrent_activation, In<Real> x, nb::tuple start, Flags mask,
                         Flags resets, nb::tuple reset, In<Real> dropout, In<Real> recurrent_dropout, bool backwards,
                         In<Real> kernel, In<Real> recurrent_kernel, Out<Real> h, Out<Real> c, Out<Real> tape,
                         In<Real> d_h, In<Real> d_c, In<Real> d_gates, nb::tuple d_last, Out<Real> d_x,
                         nb::tuple d_start, Out<Real> d_kernel, Out<Real> d_recurrent_kernel, Out<Real> d_bias,
                         nb::object d_reset, Out<Real> d_dropout, Out<Real> d_recurrent_dropout) {
  RunBackward<Real> args{};
  args.run = run_arguments<Real>(cell, activation, recurrent_activation, x, start, mask, resets, reset, dropout,
                                 recurrent_dropout, backwards);
  args.run.h = data(h);
  args.run.c = data(c);
  args.run.tape = data(tape);
  args.kernels = {kernel.data(), recurrent_kernel.data(), nullptr};
  args.d_h = data(d_h);
  args.d_c = data(d_c);
  args.d_gates = data(d_gates);
  data<In<Real>>(d_last, args.d_last);
  args.d_x = d_x.data();
  data<Out<Real>>(d_start, args.d_start);
  args.d_kernel = d_kernel.data();
  args.d_recurrent_kernel = d_recurrent_kernel.data();
  args.d_bias = data(d_bias);
  data<Out<Real>>(d_reset, args.d_reset);
  args.d_dropout = data(d_dropout);
  args.d_recurrent_dropout = data(d_recurrent_dropout);
  const nb::gil_scoped_release unlocked;
  run_backward<Real>(&args);
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
  define_runs<Real>(m, forward<Real>, nb::arg("cell"), nb::arg("activation"), nb::arg("recurrent_activation"),
                    strict("x"), nb::arg("start"), maybe("mask"), maybe("resets"), nb::arg("reset"), maybe("dropout"),
                    maybe("recurrent_dropout"), nb::arg("backwards"), strict("packed"), maybe("h"), maybe("c"),
                    maybe("gates"), maybe("tape"), nb::arg("last"));
  m.def("run_backward", run_backward_arrays<Real>, nb::arg("cell"), nb::arg("activation"),
        nb::arg("recurrent_activation"), strict("x"), nb::arg("start"), maybe("mask"), maybe("resets"),
        nb::arg("reset"), maybe("dropout"), maybe("recurrent_dropout"), nb::arg("backwards"), strict("kernel"),
        strict("recurrent_kernel"), strict("h"), maybe("c"), strict("tape"), maybe("d_h"), maybe("d_c"),
        maybe("d_gates"), nb::arg("d_last"), strict("d_x"), nb::arg("d_start"), strict("d_kernel"),
        strict("d_recurrent_kernel"), maybe("d_bias"), nb::arg("d_reset").none(), maybe("d_dropout"),
        maybe("d_recurrent_dropout"));
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
  everystep::define<float>(m);
  everystep::define<double>(m);
  m.def("instruction_set", [] { return std::string(everystep::instruction_set()); });
  m.def("num_threads", everystep::num_threads);
  m.def("set_num_threads", everystep::set_num_threads, nb::arg("n"));
}
