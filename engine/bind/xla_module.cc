// The engine for XLA: two calls of its foreign function interface, and a Python module that hands them to JAX.
// A call makes one run or several, side by side: its attributes have a number for each run, its arrays those of the
// first run, then those of the second. `everystep/keras/adapters/jax.py` promises every shape and dtype. What a run
// goes without is an array of shape (0).
#include <nanobind/nanobind.h>

#include <memory>
#include <new>
#include <vector>

#include "everystep.h"
#include "xla/ffi/api/ffi.h"

namespace nb = nanobind;
namespace ffi = xla::ffi;

namespace everystep {
namespace {

// The arrays of a call, in this order; `jax.py` names them in the same one.
enum Input : int {
  x,
  h0,
  c0,
  kernel,
  recurrent_kernel,
  bias,
  mask,
  resets,
  reset_h,
  reset_c,
  dropout,
  recurrent_dropout,
  of_run
};
enum Output { h, c, gates, tape, last_h, last_c, written };
enum InputBackward { h_was = of_run, c_was, tape_was, d_h, d_c, d_gates, d_last_h, d_last_c, of_backward };
enum OutputBackward {
  d_x,
  d_h0,
  d_c0,
  d_kernel,
  d_recurrent_kernel,
  d_bias,
  d_reset_h,
  d_reset_c,
  d_dropout,
  d_recurrent_dropout,
  gradients
};

template <class Real>
Real* data(const ffi::AnyBuffer& buffer) {
  const bool given = buffer.dimensions().size() != 1 || buffer.element_count() > 0;
  return given ? static_cast<Real*>(buffer.untyped_data()) : nullptr;
}

// The arrays of one of the runs.
template <class Real>
struct Arrays {
  const ffi::RemainingArgs& in;
  const ffi::RemainingRets& out;
  int first_in, first_out;
  ffi::AnyBuffer buffer(int which) const { return in.get<ffi::AnyBuffer>(first_in + which).value(); }
  const Real* input(int which) const { return data<Real>(buffer(which)); }
  const bool* flags(int which) const { return data<bool>(buffer(which)); }
  Real* recorded(int which) const { return data<Real>(buffer(which)); }  // an output of the run, now only read
  Real* output(int which) const { return data<Real>(*out.get<ffi::AnyBuffer>(first_out + which).value()); }
};

// Room for packed weights that this thread keeps: a training step packs them anew, always to the same size.
template <class Real>
Real* room(int64_t size) {
  struct Free {
    void operator()(void* p) const { ::operator delete(p, std::align_val_t{64}); }
  };
  thread_local std::unique_ptr<void, Free> block;
  thread_local std::size_t bytes = 0;
  if (const std::size_t wanted = size * sizeof(Real); wanted > bytes) {
    block.reset();
    bytes = 0;
    block.reset(::operator new(wanted, std::align_val_t{64}));
    bytes = wanted;
  }
  return static_cast<Real*>(block.get());
}

template <class Real>
Run<Real> run_arguments(const Cell& cell, bool backwards, const Arrays<Real>& arrays) {
  const auto of_x = arrays.buffer(x).dimensions(), of_h = arrays.buffer(h0).dimensions();
  Run<Real> run{};
  run.cell = cell;
  run.B = of_x[0], run.T = of_x[1], run.I = of_x[2], run.H = of_h[1];
  run.x = arrays.input(x);
  run.start[0] = arrays.input(h0), run.start[1] = arrays.input(c0);
  run.reset[0] = arrays.input(reset_h), run.reset[1] = arrays.input(reset_c);
  run.mask = arrays.flags(mask);
  run.resets = arrays.flags(resets);
  run.dropout = arrays.input(dropout);
  run.recurrent_dropout = arrays.input(recurrent_dropout);
  run.backwards = backwards;
  return run;
}

template <class Real>
Kernels<Real> kernels(const Arrays<Real>& arrays) {
  return {arrays.input(kernel), arrays.input(recurrent_kernel), arrays.input(bias)};
}

template <class Real>
Run<Real> forward(const Cell& cell, bool backwards, const Arrays<Real>& arrays) {
  Run<Real> run = run_arguments(cell, backwards, arrays);
  run.h = arrays.output(h);
  run.c = arrays.output(c);
  run.gates = arrays.output(gates);
  run.tape = arrays.output(tape);
  run.last[0] = arrays.output(last_h), run.last[1] = arrays.output(last_c);
  return run;
}

template <class Real>
RunBackward<Real> backward(const Cell& cell, bool backwards, const Arrays<Real>& arrays) {
  RunBackward<Real> args{};
  args.run = run_arguments(cell, backwards, arrays);
  args.run.h = arrays.recorded(h_was);
  args.run.c = arrays.recorded(c_was);
  args.run.tape = arrays.recorded(tape_was);
  args.kernels = kernels(arrays);
  args.d_h = arrays.input(d_h);
  args.d_c = arrays.input(d_c);
  args.d_gates = arrays.input(d_gates);
  args.d_last[0] = arrays.input(d_last_h), args.d_last[1] = arrays.input(d_last_c);
  args.d_x = arrays.output(d_x);
  args.d_start[0] = arrays.output(d_h0), args.d_start[1] = arrays.output(d_c0);
  args.d_kernel = arrays.output(d_kernel);
  args.d_recurrent_kernel = arrays.output(d_recurrent_kernel);
  args.d_bias = arrays.output(d_bias);
  args.d_reset[0] = arrays.output(d_reset_h), args.d_reset[1] = arrays.output(d_reset_c);
  args.d_dropout = arrays.output(d_dropout);
  args.d_recurrent_dropout = arrays.output(d_recurrent_dropout);
  return args;
}

// Packs the weights of all runs.
template <class Real>
void pack_all(std::vector<Run<Real>>& runs, const std::vector<Arrays<Real>>& arrays) {
  const auto size = [](const Run<Real>& run) {  // in whole cache lines
    return (packed_size<Real>(run.cell.kind, run.I, run.H) + 15) / 16 * 16;
  };
  int64_t all = 0;
  for (const Run<Real>& run : runs) all += size(run);
  Real* packed = room<Real>(all);
  for (std::size_t k = 0; k < runs.size(); ++k) {
    Run<Real>& run = runs[k];
    pack<Real>(run.cell.kind, run.I, run.H, kernels(arrays[k]), packed);
    run.packed = packed;
    packed += size(run);
  }
}

using Numbers = ffi::Span<const int64_t>;

template <bool kBackward>
ffi::Error call(Numbers kinds, Numbers activations, Numbers recurrent_activations, Numbers backwards,
                ffi::RemainingArgs in, ffi::RemainingRets out) {
  const auto with = [&](auto real) {
    using Real = decltype(real);
    std::vector<std::conditional_t<kBackward, RunBackward<Real>, Run<Real>>> calls;
    std::vector<Arrays<Real>> arrays;
    for (std::size_t k = 0; k < kinds.size(); ++k) {
      const int which = static_cast<int>(k);
      arrays.push_back({in, out, which * (kBackward ? int{of_backward} : int{of_run}),
                        which * (kBackward ? int{gradients} : int{written})});
      const Cell cell{static_cast<CellKind>(kinds[k]), static_cast<Activation>(activations[k]),
                      static_cast<Activation>(recurrent_activations[k])};
      if constexpr (kBackward)
        calls.push_back(backward(cell, backwards[k] != 0, arrays[k]));
      else
        calls.push_back(forward(cell, backwards[k] != 0, arrays[k]));
    }
    if constexpr (kBackward) {
      run_backward<Real>(calls.data(), static_cast<int>(calls.size()));
    } else {
      pack_all(calls, arrays);
      everystep::run<Real>(calls.data(), static_cast<int>(calls.size()));
    }
  };
  try {
    switch (in.get<ffi::AnyBuffer>(x).value().element_type()) {
      case ffi::F32: with(float{}); break;
      case ffi::F64: with(double{}); break;
      default: return ffi::Error::InvalidArgument("everystep: x must be float32 or float64");
    }
  } catch (const std::bad_alloc&) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted, "everystep: out of memory");
  }
  return ffi::Error::Success();
}

#define EVERYSTEP_BINDING                      \
  (ffi::Ffi::Bind()                            \
       .Attr<Numbers>("cells")                 \
       .Attr<Numbers>("activations")           \
       .Attr<Numbers>("recurrent_activations") \
       .Attr<Numbers>("backwards")             \
       .RemainingArgs()                        \
       .RemainingRets())
XLA_FFI_DEFINE_HANDLER(run_handler, call<false>, EVERYSTEP_BINDING);
XLA_FFI_DEFINE_HANDLER(run_backward_handler, call<true>, EVERYSTEP_BINDING);

}  // namespace
}  // namespace everystep

NB_MODULE(_xla, m) {
  m.def("targets", [] {
    nb::dict found;
    found["everystep_run"] = nb::capsule(reinterpret_cast<void*>(everystep::run_handler));
    found["everystep_run_backward"] = nb::capsule(reinterpret_cast<void*>(everystep::run_backward_handler));
    return found;
  });
}
