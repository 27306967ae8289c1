// The table of functions that each instruction set fills in, and from which `dispatch.cc` takes one at run time.
#pragma once

#include "everystep.h"

namespace everystep {

struct CellSizes {
  int gates, states, biases, taped;
};

template <class Real>
struct Functions {
  CellSizes (*cell_sizes)(CellKind);
  int64_t (*packed_size)(CellKind, int64_t, int64_t);
  void (*pack)(CellKind, int64_t, int64_t, const Kernels<Real>&, Real*);
  void (*run)(const Run<Real>*, int);
  void (*run_backward)(const RunBackward<Real>*, int);
  int64_t (*packed_matrix_size)(int64_t, int64_t);
  void (*pack_matrix)(int64_t, int64_t, const Real*, Real*);
  void (*product)(int64_t, int64_t, int64_t, const Real*, const Real*, const Real*, Activation, Real*);
  void (*activate)(Activation, int64_t, const Real*, Real*);
};

// One table per instruction set and precision, each in an object file of its own.
#define EVERYSTEP_DECLARE(isa)                  \
  namespace isa {                               \
  template <class Real>                         \
  const Functions<Real>& functions();           \
  template <>                                   \
  const Functions<float>& functions<float>();   \
  template <>                                   \
  const Functions<double>& functions<double>(); \
  }
EVERYSTEP_DECLARE(baseline)
EVERYSTEP_DECLARE(avx2)
EVERYSTEP_DECLARE(avx512)
#undef EVERYSTEP_DECLARE

}  // namespace everystep
