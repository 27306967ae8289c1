// The engine for XLA: two calls of its foreign function interface, and a Python module that hands them to JAX.
// `everystep/keras/adapters/jax.py` promises every shape and dtype. What a call goes without is an array of shape (0).
#include <nanobind/nanobind.h>

#include <memory>
#include <new>

#include "everystep.h"
#include "xla/ffi/api/ffi.h"

namespace nb = nanobind;
namespace ffi = xla::ffi;

namespace everystep {
namespace {

using In = ffi::AnyBuffer;
using Out = ffi::Result<ffi::AnyBuffer>;

template <class Real>
Real* data(ffi::AnyBuffer buffer) {
  const bool given = buffer.dimensions().size() != 1 || buffer.element_count() > 0;
  return given ? static_cast<Real*>(buffer.untyped_data()) : nullptr;
}

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

struct Options {
  int64_t cell, activation, recurrent_activation, backwards;
};

struct Inputs {
  In x, h0, c0, kernel, recurrent_kernel, bias, mask, resets, reset_h, reset_c, dropout, recurrent_dropout;
};

template <class Real>
Run<Real> run_arguments(const Options& options, const Inputs& in) {
  Run<Real> run{};
  run.cell = {static_cast<CellKind>(options.cell), static_cast<Activation>(options.activation),
              static_cast<Activation>(options.recurrent_activation)};
  const auto dimensions = in.x.dimensions();
  run.B = dimensions[0], run.T = dimensions[1], run.I = dimensions[2], run.H = in.h0.dimensions()[1];
  run.x = data<Real>(in.x);
  run.start[0] = data<Real>(in.h0), run.start[1] = data<Real>(in.c0);
  run.reset[0] = data<Real>(in.reset_h), run.reset[1] = data<Real>(in.reset_c);
  run.mask = data<bool>(in.mask);
  run.resets = data<bool>(in.resets);
  run.dropout = data<Real>(in.dropout);
  run.recurrent_dropout = data<Real>(in.recurrent_dropout);
  run.backwards = options.backwards != 0;
  return run;
}

template <class Real>
Kernels<Real> kernels(const Inputs& in) {
  return {data<Real>(in.kernel), data<Real>(in.recurrent_kernel), data<Real>(in.bias)};
}

// work(Real{}) with the type of the call's numbers; every failure becomes an error of XLA's.
template <class Work>
ffi::Error with_real(const In& x, Work work) {
  try {
    switch (x.element_type()) {
      case ffi::F32: work(float{}); return ffi::Error::Success();
      case ffi::F64: work(double{}); return ffi::Error::Success();
      default: return ffi::Error::InvalidArgument("everystep: x must be float32 or float64");
    }
  } catch (const std::bad_alloc&) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted, "everystep: out of memory");
  }
}

ffi::Error run_call(int64_t cell, int64_t activation, int64_t recurrent_activation, int64_t backwards, In x, In h0,
                    In c0, In kernel, In recurrent_kernel, In bias, In mask, In resets, In reset_h, In reset_c,
                    In dropout, In recurrent_dropout, Out h, Out c, Out gates, Out tape, Out last_h, Out last_c) {
  const Options options{cell, activation, recurrent_activation, backwards};
  const Inputs in{x,    h0,     c0,      kernel,  recurrent_kernel, bias,
                  mask, resets, reset_h, reset_c, dropout,          recurrent_dropout};
  return with_real(x, [&](auto real) {
    using Real = decltype(real);
    Run<Real> run = run_arguments<Real>(options, in);
    Real* const packed = room<Real>(packed_size<Real>(run.cell.kind, run.I, run.H));
    pack<Real>(run.cell.kind, run.I, run.H, kernels<Real>(in), packed);
    run.packed = packed;
    run.h = data<Real>(*h);
    run.c = data<Real>(*c);
    run.gates = data<Real>(*gates);
    run.tape = data<Real>(*tape);
    run.last[0] = data<Real>(*last_h), run.last[1] = data<Real>(*last_c);
    everystep::run<Real>(run);
  });
}

ffi::Error run_backward_call(int64_t cell, int64_t activation, int64_t recurrent_activation, int64_t backwards, In x,
                             In h0, In c0, In kernel, In recurrent_kernel, In bias, In mask, In resets, In reset_h,
                             In reset_c, In dropout, In recurrent_dropout, In h, In c, In tape, In d_h, In d_c,
                             In d_gates, In d_last_h, In d_last_c, Out d_x, Out d_h0, Out d_c0, Out d_kernel,
                             Out d_recurrent_kernel, Out d_bias, Out d_reset_h, Out d_reset_c, Out d_dropout,
                             Out d_recurrent_dropout) {
  const Options options{cell, activation, recurrent_activation, backwards};
  const Inputs in{x,    h0,     c0,      kernel,  recurrent_kernel, bias,
                  mask, resets, reset_h, reset_c, dropout,          recurrent_dropout};
  return with_real(x, [&](auto real) {
    using Real = decltype(real);
    RunBackward<Real> args{};
    args.run = run_arguments<Real>(options, in);
    args.run.h = data<Real>(h);
    args.run.c = data<Real>(c);
    args.run.tape = data<Real>(tape);
    args.kernels = kernels<Real>(in);
    args.d_h = data<Real>(d_h);
    args.d_c = data<Real>(d_c);
    args.d_gates = data<Real>(d_gates);
    args.d_last[0] = data<Real>(d_last_h), args.d_last[1] = data<Real>(d_last_c);
    args.d_x = data<Real>(*d_x);
    args.d_start[0] = data<Real>(*d_h0), args.d_start[1] = data<Real>(*d_c0);
    args.d_kernel = data<Real>(*d_kernel);
    args.d_recurrent_kernel = data<Real>(*d_recurrent_kernel);
    args.d_bias = data<Real>(*d_bias);
    args.d_reset[0] = data<Real>(*d_reset_h), args.d_reset[1] = data<Real>(*d_reset_c);
    args.d_dropout = data<Real>(*d_dropout);
    args.d_recurrent_dropout = data<Real>(*d_recurrent_dropout);
    run_backward<Real>(args);
  });
}

template <int n, class Binding>
auto arrays(Binding binding) {
  if constexpr (n == 0)
    return binding;
  else
    return arrays<n - 1>(std::move(binding).template Arg<In>());
}

template <int n, class Binding>
auto results(Binding binding) {
  if constexpr (n == 0)
    return binding;
  else
    return results<n - 1>(std::move(binding).template Ret<In>());
}

template <int inputs, int outputs>
auto binding() {
  return results<outputs>(arrays<inputs>(ffi::Ffi::Bind()
                                             .Attr<int64_t>("cell")
                                             .Attr<int64_t>("activation")
                                             .Attr<int64_t>("recurrent_activation")
                                             .Attr<int64_t>("backwards")));
}

XLA_FFI_DEFINE_HANDLER(run_handler, run_call, (binding<12, 6>()));
XLA_FFI_DEFINE_HANDLER(run_backward_handler, run_backward_call, (binding<20, 10>()));

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
