// Activations on vectors, each with its slope.
//
// tanh and sigmoid are within 2 ulp over all floats. The short forms are not: sigmoid(x) = (1 + tanh(x/2)) / 2 loses
// thousands of ulp at x = -10, where it subtracts two numbers near 1, and tanh(x) = 1 - 2/(1 + exp(2x)) loses a hundred
// near 0. So sigmoid is 1 / (1 + exp(-x)) and tanh is made of expm1(-2|x|), which is exact near 0; each is corrected by
// a Newton step from what is left over, computed from parts that are exact.
#pragma once

#include <cmath>

#include "everystep.h"
#include "simd.h"

namespace everystep::EVERYSTEP_ISA {

// exp(x) = 2^n (1 + p) with n = round(x / ln 2), r = x - n ln 2 in [-ln 2 / 2, ln 2 / 2] and p = expm1(r).
template <class Real>
struct ExpParts {
  Vec<Real> p, n;
};

template <class Real>
struct ExpConstants;

template <>
struct ExpConstants<float> {
  static constexpr float log2e = 0x1.715476p0f, ln2_hi = 0x1.62e4p-1f, ln2_lo = 0x1.7f7d1cp-20f;  // n * ln2_hi is exact
  static constexpr float magic = 0x1.8p23f;  // adding it rounds to an integer, which is then in the lowest bits
  static constexpr int mantissa = 23, bias = 127;
  static constexpr float lowest = -104.f, highest = 89.f;  // exp is 0 below and infinite above
  static constexpr float most = 88.f;                      // exp is below 2^bias
  static constexpr float q[] = {0.50000000134658092f,   0.16666666681623231f,   0.041666464925285905f,
                                0.0083333109254809008f, 0.0013933649996309250f, 0.00019890990824673653f};
};

template <>
struct ExpConstants<double> {
  static constexpr double log2e = 0x1.71547652b82fep0, ln2_hi = 0x1.62e42fee00000p-1, ln2_lo = 0x1.a39ef35793c76p-33;
  static constexpr double magic = 0x1.8p52;
  static constexpr int mantissa = 52, bias = 1023;
  static constexpr double lowest = -746., highest = 710., most = 709.;
  static constexpr double q[] = {0.5,
                                 0.16666666666666670991,
                                 0.041666666666666669755,
                                 0.0083333333333261351258,
                                 0.0013888888888883748305,
                                 0.00019841269874820625271,
                                 0.000024801587325547741216,
                                 2.7557255400206424630e-6,
                                 2.7557273643110295328e-7,
                                 2.5105217004720745164e-8,
                                 2.0914686968086877233e-9};
};

template <class Real>
EVERYSTEP_INLINE Vec<Real> clamp(Vec<Real> x, Real low, Real high) {  // a NaN passes through
  return at_most<Real>(high, at_least<Real>(low, x));
}

template <class Real>
EVERYSTEP_INLINE Vec<Real> absolute(Vec<Real> x) {
  return from_bits<Real>(bits<Real>(x) & ~bits<Real>(broadcast(Real(-0.0))));
}

template <class Real>
EVERYSTEP_INLINE Vec<Real> with_sign_of(Vec<Real> magnitude, Vec<Real> sign) {
  return from_bits<Real>(bits<Real>(magnitude) | (bits<Real>(sign) & bits<Real>(broadcast(Real(-0.0)))));
}

template <class Real>
EVERYSTEP_INLINE ExpParts<Real> exp_parts(Vec<Real> x) {
  using C = ExpConstants<Real>;
  const Vec<Real> magic = broadcast(C::magic);
  const Vec<Real> shifted = fma<Real>(x, broadcast(C::log2e), magic);
  const Vec<Real> n = shifted - magic;
  Vec<Real> r = fma<Real>(n, broadcast(-C::ln2_hi), x);
  r = fma<Real>(n, broadcast(-C::ln2_lo), r);
  constexpr int degree = sizeof(C::q) / sizeof(Real) - 1;
  // Horner's rule in r r on pairs of terms: half as long a chain as in r.
  const Vec<Real> rr = r * r;
  const auto pair = [&](int i) __attribute__((always_inline)) {
    return i < degree ? fma<Real>(broadcast(C::q[i + 1]), r, broadcast(C::q[i])) : broadcast(C::q[i]);
  };
  Vec<Real> q = pair(degree / 2 * 2);
#pragma GCC unroll 16
  for (int i = degree / 2 * 2 - 2; i >= 0; i -= 2) q = fma<Real>(q, rr, pair(i));
  return {fma<Real>(rr, q, r), n};
}

// v 2^n for -bias < n <= bias, n whole; 0 for a smaller n, where the engine flushes results to zero.
template <class Real>
EVERYSTEP_INLINE Vec<Real> scaled(Vec<Real> v, Vec<Real> n) {
#if defined(__AVX512F__)
  if constexpr (sizeof(Real) == 4)
    return (Vec<Real>)_mm512_scalef_ps((__m512)v, (__m512)n);
  else
    return (Vec<Real>)_mm512_scalef_pd((__m512d)v, (__m512d)n);
#else
  using C = ExpConstants<Real>;
  const Vec<Real> magic = broadcast(C::magic);
  IntVec<Real> exponent = bits<Real>(n + magic) - bits<Real>(magic) + C::bias;
  exponent = exponent > 0 ? exponent : exponent - exponent;
  return v * from_bits<Real>(exponent << C::mantissa);
#endif
}

template <class Real>
EVERYSTEP_INLINE Vec<Real> exp_of_negative(Vec<Real> x) {  // x <= 0
  const auto [p, n] = exp_parts<Real>(at_least<Real>(ExpConstants<Real>::lowest, x));
  return scaled<Real>(p + Real(1), n);
}

template <class Real>
EVERYSTEP_INLINE Vec<Real> exp(Vec<Real> x) {
  const auto [p, n] = exp_parts<Real>(clamp<Real>(x, ExpConstants<Real>::lowest, ExpConstants<Real>::highest));
  const Vec<Real> half = broadcast(Real(64)), some = n > half ? half : Vec<Real>{};  // in two steps: 2^128 is no float
  return scaled<Real>(scaled<Real>(p + Real(1), n - some), some);
}

template <class Real>
EVERYSTEP_INLINE Vec<Real> expm1_of_negative(Vec<Real> x) {  // x <= 0; -1 from -44 on, in both precisions
  const auto [p, n] = exp_parts<Real>(at_least<Real>(Real(-44), x));
  const Vec<Real> scale = scaled<Real>(broadcast(Real(1)), n);
  return fma<Real>(p, scale, scale - Real(1));
}

// 1 / (1 + e), e = exp(-x) = s + p s, by a Newton step on y from what 1 - y (1 + s + p s) is, of which y s is exact.
template <class Real>
EVERYSTEP_INLINE Vec<Real> sigmoid(Vec<Real> x) {
  const auto [p, n] = exp_parts<Real>(clamp<Real>(-x, ExpConstants<Real>::lowest, ExpConstants<Real>::most));
  const Vec<Real> one = broadcast(Real(1)), s = scaled<Real>(one, n),
                  y = about_one_over<Real>(fma<Real>(p, s, s + one));
  const Vec<Real> ys = y * s;
  return fma<Real>(fma<Real>(-ys, p, one - y - ys), y, y);
}

// -e / (2 + e), e = expm1(-2 |x|) = p s + (s - 1): from q, about that, by what e - q (2 + e) is, of which e - 2 q is
// exact.
template <class Real>
EVERYSTEP_INLINE Vec<Real> tanh(Vec<Real> x) {
  const auto [p, n] = exp_parts<Real>(at_least<Real>(Real(-44), Real(-2) * absolute<Real>(x)));
  const Vec<Real> s = scaled<Real>(broadcast(Real(1)), n), least = s - Real(1), e = fma<Real>(p, s, least);
  const Vec<Real> y = about_one_over<Real>(e + Real(2)), q = e * y;
  const Vec<Real> rest = fma<Real>(p, s, least - e);
  const Vec<Real> r = fma<Real>(-q, e, fma<Real>(broadcast(Real(-2)), q, e)) + rest;
  return with_sign_of<Real>(absolute<Real>(fma<Real>(r, y, q)), x);
}

template <class Real>
EVERYSTEP_INLINE Vec<Real> softplus(Vec<Real> x) {
  const Vec<Real> e = exp_of_negative<Real>(-absolute<Real>(x));
  return (x < Vec<Real>{} ? Vec<Real>{} : x) + each<Real>(e, [](Real v) { return std::log1p(v); });
}

template <class Real>
EVERYSTEP_INLINE Vec<Real> expm1_below_zero(Vec<Real> x) {
  return expm1_of_negative<Real>(x > Vec<Real>{} ? Vec<Real>{} : x);
}

constexpr double kSeluScale = 1.0507009873554804934193349852946, kSeluAlpha = 1.6732632423543772848170429916717;
constexpr double kSqrtHalf = 0.70710678118654752440, kInverseSqrtTwoPi = 0.39894228040143267794;

template <class Real>
EVERYSTEP_INLINE Vec<Real> normal_cdf(Vec<Real> x) {  // the probability that a standard normal number is below x
  return each<Real>(x, [](Real v) { return Real(0.5) * std::erfc(-v * Real(kSqrtHalf)); });
}

// The definitions are Keras 3's, with the defaults of their arguments; hard_sigmoid_keras2 is Keras 2's hard_sigmoid.
template <class Real>
inline __attribute__((noinline)) Vec<Real> activate(Activation which, Vec<Real> x) {
  const Vec<Real> zero{}, one = broadcast(Real(1));
  switch (which) {
    case Activation::linear: return x;
    case Activation::sigmoid: return sigmoid<Real>(x);
    case Activation::tanh: return tanh<Real>(x);
    case Activation::relu: return x < zero ? zero : x;
    case Activation::leaky_relu: return x < zero ? x * Real(0.2) : x;
    case Activation::relu6: return clamp<Real>(x, 0, 6);
    case Activation::elu:
    case Activation::celu: return x > zero ? x : expm1_below_zero<Real>(x);
    case Activation::selu: return Real(kSeluScale) * (x > zero ? x : Real(kSeluAlpha) * expm1_below_zero<Real>(x));
    case Activation::exponential: return exp<Real>(x);
    case Activation::softplus: return softplus<Real>(x);
    case Activation::softsign: return x / (one + absolute<Real>(x));
    case Activation::squareplus:
      return each<Real>(x, [](Real v) { return Real(0.5) * (v + std::sqrt(v * v + Real(4))); });
    case Activation::soft_shrink: return x > Real(0.5) ? x - Real(0.5) : (x < Real(-0.5) ? x + Real(0.5) : x * zero);
    case Activation::hard_shrink: return absolute<Real>(x) <= Real(0.5) ? zero : x;
    case Activation::tanh_shrink: return x - tanh<Real>(x);
    case Activation::sparse_plus: return x >= one ? x : (x <= -one ? zero : (x + one) * (x + one) * Real(0.25));
    case Activation::sparse_sigmoid: return clamp<Real>((x + one) * Real(0.5), 0, 1);
    case Activation::silu: return x * sigmoid<Real>(x);
    case Activation::gelu: return x * normal_cdf<Real>(x);
    case Activation::mish: return x * tanh<Real>(softplus<Real>(x));
    case Activation::log_sigmoid: return -softplus<Real>(-x);
    case Activation::hard_sigmoid: return clamp<Real>(x / Real(6) + Real(0.5), 0, 1);
    case Activation::hard_sigmoid_keras2: return clamp<Real>(x * Real(0.2) + Real(0.5), 0, 1);
    case Activation::hard_silu: return x * clamp<Real>(x / Real(6) + Real(0.5), 0, 1);
    case Activation::hard_tanh: return clamp<Real>(x, -1, 1);
  }
  __builtin_unreachable();
}

template <class Real>
void activate_all(Activation which, int64_t n, const Real* x, Real* out) {
  for (int64_t i = 0; i < n; i += kLanes<Real>) store(out + i, activate<Real>(which, load(x + i, n - i)), n - i);
}

// The derivative at x. At a kink it is 0 from the flat side or 1/2 where Keras's own gradient says so: never mind
// which, a kink has none; NumPy's, JAX's and ours differ only there.
template <class Real>
inline __attribute__((noinline)) Vec<Real> slope(Activation which, Vec<Real> x) {
  const Vec<Real> zero{}, one = broadcast(Real(1));
  const auto inside = [&](Real low, Real high) { return x > low ? (x < high ? one : zero) : zero; };
  switch (which) {
    case Activation::linear: return one;
    case Activation::sigmoid: return sigmoid<Real>(x) * sigmoid<Real>(-x);
    case Activation::tanh: {
      const Vec<Real> y = tanh<Real>(x);
      return one - y * y;
    }
    case Activation::relu: return x > zero ? one : zero;
    case Activation::leaky_relu: return x > zero ? one : broadcast(Real(0.2));
    case Activation::relu6: return inside(0, 6);
    case Activation::elu:
    case Activation::celu: return x > zero ? one : exp<Real>(x > zero ? zero : x);
    case Activation::selu:
      return Real(kSeluScale) * (x > zero ? one : Real(kSeluAlpha) * exp<Real>(x > zero ? zero : x));
    case Activation::exponential: return exp<Real>(x);
    case Activation::softplus: return sigmoid<Real>(x);
    case Activation::softsign: {
      const Vec<Real> d = one + absolute<Real>(x);
      return one / (d * d);
    }
    case Activation::squareplus:
      return each<Real>(x, [](Real v) { return Real(0.5) * (Real(1) + v / std::sqrt(v * v + Real(4))); });
    case Activation::soft_shrink:
    case Activation::hard_shrink: return absolute<Real>(x) > Real(0.5) ? one : zero;
    case Activation::tanh_shrink: {
      const Vec<Real> y = tanh<Real>(x);
      return y * y;
    }
    case Activation::sparse_plus: return clamp<Real>((x + one) * Real(0.5), 0, 1);
    case Activation::sparse_sigmoid: return Real(0.5) * inside(-1, 1);
    case Activation::silu: return sigmoid<Real>(x) * (one + x * sigmoid<Real>(-x));
    case Activation::gelu: return normal_cdf<Real>(x) + x * Real(kInverseSqrtTwoPi) * exp<Real>(Real(-0.5) * x * x);
    case Activation::mish: {
      const Vec<Real> t = tanh<Real>(softplus<Real>(x));
      return t + x * (one - t * t) * sigmoid<Real>(x);
    }
    case Activation::log_sigmoid: return sigmoid<Real>(-x);
    case Activation::hard_sigmoid: return inside(-3, 3) / Real(6);
    case Activation::hard_sigmoid_keras2: return Real(0.2) * inside(Real(-2.5), Real(2.5));
    case Activation::hard_silu: return clamp<Real>(x / Real(6) + Real(0.5), 0, 1) + x * inside(-3, 3) / Real(6);
    case Activation::hard_tanh: return inside(-1, 1);
  }
  __builtin_unreachable();
}

// How a cell applies its two activations. A policy also says what a gate leaves on the tape for the backward pass and
// how its slope is read back from there.

// tanh and sigmoid, inlined; their slopes follow from their values, so the tape holds values.
template <class Real>
struct Usual {
  using V = Vec<Real>;
  EVERYSTEP_INLINE V act(V z) const { return tanh<Real>(z); }
  EVERYSTEP_INLINE V recurrent(V z) const { return sigmoid<Real>(z); }
  EVERYSTEP_INLINE V tape(V, V value) const { return value; }
  EVERYSTEP_INLINE V act_value(V tape) const { return tape; }
  EVERYSTEP_INLINE V recurrent_value(V tape) const { return tape; }
  EVERYSTEP_INLINE V act_slope(V, V value) const { return Real(1) - value * value; }
  EVERYSTEP_INLINE V recurrent_slope(V, V value) const { return value * (Real(1) - value); }
};

// Any pair from the list; slopes follow from what goes in, so the tape holds that.
template <class Real>
struct Listed {
  using V = Vec<Real>;
  Activation activation, recurrent_activation;
  EVERYSTEP_INLINE V act(V z) const { return activate<Real>(activation, z); }
  EVERYSTEP_INLINE V recurrent(V z) const { return activate<Real>(recurrent_activation, z); }
  EVERYSTEP_INLINE V tape(V z, V) const { return z; }
  EVERYSTEP_INLINE V act_value(V tape) const { return act(tape); }
  EVERYSTEP_INLINE V recurrent_value(V tape) const { return recurrent(tape); }
  EVERYSTEP_INLINE V act_slope(V tape, V) const { return slope<Real>(activation, tape); }
  EVERYSTEP_INLINE V recurrent_slope(V tape, V) const { return slope<Real>(recurrent_activation, tape); }
};

}  // namespace everystep::EVERYSTEP_ISA
