// The LSTM cell: one step and its gradient, on one vector of units.
//
// Hochreiter and Schmidhuber (1997), with the forget gate of Gers, Schmidhuber and Cummins (2000). Gates i, f, g, o:
//
//     z = x W + h R + b                          computed by the sequence loops
//     i = s(z_i)   f = s(z_f)   g = a(z_g)   o = s(z_o)
//     c' = f c + i g
//     h' = o a(c')
//
// Backward, from the gradients dh of h' and dc of c' and what arrives at the gates themselves:
//
//     dc += dh o a'(c')
//     dz_i = (di + dc g) s'(z_i)      dz_g = (dg + dc i) a'(z_g)
//     dz_f = (df + dc c) s'(z_f)      dz_o = (do + dh a(c')) s'(z_o)
//     dc for the step before: dc f
#pragma once

#include "../activations.h"

namespace everystep::EVERYSTEP_ISA {

struct Lstm {
  static constexpr CellKind kind = CellKind::lstm;
  static constexpr int G = 4, S = 2, kTaped = G, kFirst = G;
  static constexpr bool kApart = false;
  enum Gate { I, F, C, O };  // C is the candidate g
  enum State { h, c };

  // What the loops know of a cell: G gates, S states, kTaped numbers that a unit leaves on the tape, kFirst gates in
  // the first product of a step, and whether the last gate gets the two parts of its z apart (then z has one more at
  // its end). z is replaced by the gates; `state` by the next one; `tape` is what the backward pass will want of the
  // gates.
  template <class Real, class Policy>
  static EVERYSTEP_INLINE void step(const Policy& policy, Vec<Real> (&z)[G], Vec<Real> (&state)[S],
                                    Vec<Real> (&tape)[kTaped]) {
    const Vec<Real> i = policy.recurrent(z[I]);
    const Vec<Real> f = policy.recurrent(z[F]);
    const Vec<Real> g = policy.act(z[C]);
    const Vec<Real> o = policy.recurrent(z[O]);
    tape[I] = policy.tape(z[I], i);
    tape[F] = policy.tape(z[F], f);
    tape[C] = policy.tape(z[C], g);
    tape[O] = policy.tape(z[O], o);
    state[c] = fma<Real>(f, state[c], i * g);
    state[h] = o * policy.act(state[c]);
    z[I] = i, z[F] = f, z[C] = g, z[O] = o;
  }

  // before and after: the states around the step. d: the gradients of `after`, replaced by what goes straight to
  // `before` (the part that goes through z is the loop's). d_gates: what arrives at the gates. Writes dz.
  template <class Real, class Policy>
  static EVERYSTEP_INLINE void gradient(const Policy& policy, const Vec<Real> (&tape)[kTaped],
                                        const Vec<Real> (&before)[S], const Vec<Real> (&after)[S],
                                        const Vec<Real> (&d_gates)[G], Vec<Real> (&d)[S], Vec<Real> (&dz)[G]) {
    const Vec<Real> i = policy.recurrent_value(tape[I]);
    const Vec<Real> f = policy.recurrent_value(tape[F]);
    const Vec<Real> g = policy.act_value(tape[C]);
    const Vec<Real> o = policy.recurrent_value(tape[O]);
    const Vec<Real> a = policy.act(after[c]);
    const Vec<Real> a_tape = policy.tape(after[c], a);
    const Vec<Real> dc = fma<Real>(d[h] * o, policy.act_slope(a_tape, a), d[c]);
    dz[I] = fma<Real>(dc, g, d_gates[I]) * policy.recurrent_slope(tape[I], i);
    dz[F] = fma<Real>(dc, before[c], d_gates[F]) * policy.recurrent_slope(tape[F], f);
    dz[C] = fma<Real>(dc, i, d_gates[C]) * policy.act_slope(tape[C], g);
    dz[O] = fma<Real>(d[h], a, d_gates[O]) * policy.recurrent_slope(tape[O], o);
    d[c] = dc * f;
    d[h] = Vec<Real>{};
  }
};

}  // namespace everystep::EVERYSTEP_ISA
