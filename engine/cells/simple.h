// The simple recurrent cell: one step and its gradient, on one vector of units.
//
// Elman (1990). One gate, the new output itself:
//
//     z = x W + h R + b                          computed by the sequence loops
//     h' = a(z)
//
// Backward, from the gradient dh of h' and what arrives at the gate:
//
//     dz = (dh + dg) a'(z)
#pragma once

#include "../activations.h"

namespace everystep::EVERYSTEP_ISA {

struct Simple {
  static constexpr CellKind kind = CellKind::simple;
  static constexpr int G = 1, S = 1, kTaped = 1, kFirst = G;
  static constexpr bool kApart = false;

  template <class Real, class Policy>
  static EVERYSTEP_INLINE void step(const Policy& policy, Vec<Real> (&z)[G], Vec<Real> (&state)[S],
                                    Vec<Real> (&tape)[kTaped]) {
    const Vec<Real> h = policy.act(z[0]);
    tape[0] = policy.tape(z[0], h);
    z[0] = state[0] = h;
  }

  template <class Real, class Policy>
  static EVERYSTEP_INLINE void gradient(const Policy& policy, const Vec<Real> (&tape)[kTaped], const Vec<Real> (&)[S],
                                        const Vec<Real> (&)[S], const Vec<Real> (&d_gates)[G], Vec<Real> (&d)[S],
                                        Vec<Real> (&dz)[G]) {
    dz[0] = (d[0] + d_gates[0]) * policy.act_slope(tape[0], policy.act_value(tape[0]));
    d[0] = Vec<Real>{};
  }
};

}  // namespace everystep::EVERYSTEP_ISA
