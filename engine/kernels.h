// The table of functions that each instruction set fills in, and from which `dispatch.cc` takes one at run time.
#pragma once

#include "everystep.h"

namespace everystep {

template <class Real>
struct Functions {
  int64_t (*packed_size)(CellKind, int64_t, int64_t);
  void (*pack)(CellKind, int64_t, int64_t, const Kernels<Real>&, Real*);
  void (*run)(const Run<Real>&);
  void (*run_backward)(const RunBackward<Real>&);
  int64_t (*packed_matrix_size)(int64_t, int64_t);
  void (*pack_matrix)(int64_t, int64_t, const Real*, Real*);
  void (*product)(int64_t, int64_t, int64_t, const Real*, const Real*, const Real*, Activation, Real*);
  void (*activate)(Activation, int64_t, const Real*, Real*);
};

// One specialization per instruction set and precision, each in an object file of its own.
namespace baseline {
template <class Real>
extern const Functions<Real> functions;
}
namespace avx2 {
template <class Real>
extern const Functions<Real> functions;
}
namespace avx512 {
template <class Real>
extern const Functions<Real> functions;
}

}  // namespace everystep
