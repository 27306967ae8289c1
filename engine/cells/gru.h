// The GRU cell, in its two forms: one step and its gradient, on one vector of units.
//
// Cho et al. (2014). Gates z, r and the candidate g; W R b split by gate:
//
//     z = s(x W_z + h R_z + b_z)   r = s(x W_r + h R_r + b_r)
//     h' = z h + (1 - z) g
//
// Gru scales what the recurrent kernel makes of h, which has a bias of its own (Keras's reset_after=True, cuDNN's):
//
//     u = h R_g + b'_g             g = a(x W_g + b_g + r u)
//
// GruResetBefore scales h itself, as the paper does, so that a step needs two products, one after the other:
//
//     g = a(x W_g + (r h) R_g + b_g)
//
// Backward, from the gradient dh of h' and what arrives at the gates themselves; p is what a is applied to:
//
//     dp = (dg + dh (1 - z)) a'(p)         dz_z = (dz + dh (h - g)) s'(z_z)         dh for the step before: dh z
//     Gru:             du = dp r           dz_r = (dr + dp u) s'(z_r)
//     GruResetBefore:  d(rh) = dp R_g'     dz_r = (dr + d(rh) h) s'(z_r)            and dh += d(rh) r
#pragma once

#include "../activations.h"

namespace everystep::EVERYSTEP_ISA {

struct Gru {
  static constexpr CellKind kind = CellKind::gru;
  static constexpr int G = 3, S = 1, kTaped = 4, kFirst = G;
  static constexpr bool kApart = true;  // x W_g and h R_g are not added up by the loops
  enum Gate { Z, R, C };                // C is the candidate g
  enum { U = C, X = G, U_TAPED = G };   // z[C] arrives as u, and x W_g + b_g after it

  template <class Real, class Policy>
  static EVERYSTEP_INLINE void step(const Policy& policy, Vec<Real> (&z)[G + 1], Vec<Real> (&state)[S],
                                    Vec<Real> (&tape)[kTaped]) {
    const Vec<Real> update = policy.recurrent(z[Z]);
    const Vec<Real> r = policy.recurrent(z[R]);
    const Vec<Real> p = fma<Real>(r, z[U], z[X]);
    const Vec<Real> g = policy.act(p);
    tape[Z] = policy.tape(z[Z], update);
    tape[R] = policy.tape(z[R], r);
    tape[C] = policy.tape(p, g);
    tape[U_TAPED] = z[U];
    state[0] = fma<Real>(update, state[0], (Real(1) - update) * g);
    z[Z] = update, z[R] = r, z[C] = g;
  }

  // dz: of the gates as x's products see them, then du.
  template <class Real, class Policy>
  static EVERYSTEP_INLINE void gradient(const Policy& policy, const Vec<Real> (&tape)[kTaped],
                                        const Vec<Real> (&before)[S], const Vec<Real> (&)[S],
                                        const Vec<Real> (&d_gates)[G], Vec<Real> (&d)[S], Vec<Real> (&dz)[G + 1]) {
    const Vec<Real> update = policy.recurrent_value(tape[Z]);
    const Vec<Real> r = policy.recurrent_value(tape[R]);
    const Vec<Real> g = policy.act_value(tape[C]);
    dz[C] = fma<Real>(d[0], Real(1) - update, d_gates[C]) * policy.act_slope(tape[C], g);
    dz[Z] = fma<Real>(d[0], before[0] - g, d_gates[Z]) * policy.recurrent_slope(tape[Z], update);
    dz[R] = fma<Real>(dz[C], tape[U_TAPED], d_gates[R]) * policy.recurrent_slope(tape[R], r);
    dz[G] = dz[C] * r;
    d[0] = d[0] * update;
  }
};

struct GruResetBefore {
  static constexpr CellKind kind = CellKind::gru_reset_before;
  static constexpr int G = 3, S = 1, kTaped = G, kFirst = 2;  // the first product makes z and r, the second g
  static constexpr bool kApart = false;
  enum Gate { Z, R, C };

  // r, which the second product needs for all units.
  template <class Real, class Policy>
  static EVERYSTEP_INLINE Vec<Real> reset(const Policy& policy, const Vec<Real> (&z)[kFirst]) {
    return policy.recurrent(z[R]);
  }

  template <class Real, class Policy>
  static EVERYSTEP_INLINE void step(const Policy& policy, Vec<Real> (&z)[G], Vec<Real> (&state)[S],
                                    Vec<Real> (&tape)[kTaped]) {
    const Vec<Real> update = policy.recurrent(z[Z]);
    const Vec<Real> r = policy.recurrent(z[R]);
    const Vec<Real> g = policy.act(z[C]);
    tape[Z] = policy.tape(z[Z], update);
    tape[R] = policy.tape(z[R], r);
    tape[C] = policy.tape(z[C], g);
    state[0] = fma<Real>(update, state[0], (Real(1) - update) * g);
    z[Z] = update, z[R] = r, z[C] = g;
  }

  // All but dz_r and its part of dh, which `reset_gradient` adds when d(rh) is known.
  template <class Real, class Policy>
  static EVERYSTEP_INLINE void gradient(const Policy& policy, const Vec<Real> (&tape)[kTaped],
                                        const Vec<Real> (&before)[S], const Vec<Real> (&)[S],
                                        const Vec<Real> (&d_gates)[G], Vec<Real> (&d)[S], Vec<Real> (&dz)[G]) {
    const Vec<Real> update = policy.recurrent_value(tape[Z]);
    const Vec<Real> g = policy.act_value(tape[C]);
    dz[C] = fma<Real>(d[0], Real(1) - update, d_gates[C]) * policy.act_slope(tape[C], g);
    dz[Z] = fma<Real>(d[0], before[0] - g, d_gates[Z]) * policy.recurrent_slope(tape[Z], update);
    d[0] = d[0] * update;
  }

  // h as the product saw it, r taped, dr what arrives at r, d_rh the gradient of r h. Returns dz_r.
  template <class Real, class Policy>
  static EVERYSTEP_INLINE Vec<Real> reset_gradient(const Policy& policy, Vec<Real> tape, Vec<Real> h, Vec<Real> dr,
                                                   Vec<Real> d_rh) {
    return fma<Real>(d_rh, h, dr) * policy.recurrent_slope(tape, policy.recurrent_value(tape));
  }
};

}  // namespace everystep::EVERYSTEP_ISA
