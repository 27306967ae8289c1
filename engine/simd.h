// Vectors of kLanes<Real> numbers, by the compiler's vector types: + - * / ?: and comparisons are the language's own.
// This header is compiled once per instruction set, each time in a namespace of its own (EVERYSTEP_ISA), so that
// nothing compiled for one instruction set can be linked in the place of another's.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__FMA__) || defined(__AVX512F__)
// GCC 12 warns of what its own header leaves undefined on purpose.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

#define EVERYSTEP_INLINE inline __attribute__((always_inline))

namespace everystep::EVERYSTEP_ISA {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
constexpr int kRegisters = 32;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
constexpr int kRegisters = 16;
#else
constexpr int kVectorBytes = 16;
constexpr int kRegisters = 16;
#endif

// Accumulators of one register tile: what is left after one panel row and the broadcasts.
constexpr int kAccumulators = kRegisters == 32 ? 24 : 12;

template <class Real>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(Real));

template <class Real>
struct VectorOf {
  using Int = std::conditional_t<sizeof(Real) == 4, int32_t, int64_t>;
  typedef Real Floats __attribute__((vector_size(kVectorBytes)));
  typedef Int Ints __attribute__((vector_size(kVectorBytes)));
};

// A member type is not deduced: Real comes from another parameter, or the caller names it.
template <class Real>
using Vec = typename VectorOf<Real>::Floats;

template <class Real>
using IntVec = typename VectorOf<Real>::Ints;

template <class Real>
EVERYSTEP_INLINE Vec<Real> broadcast(Real x) {
  return x - Vec<Real>{};  // x - 0 is x for every x, also for -0
}

template <class Real>
EVERYSTEP_INLINE Vec<Real> load(const Real* p) {
  Vec<Real> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

template <class Real>
EVERYSTEP_INLINE void store(Real* p, Vec<Real> v) {
  std::memcpy(p, &v, sizeof v);
}

// For what will not be read before the caches have forgotten it: whole cache lines, which are not read first, nor kept.
// `p` is aligned to a line; before other threads may read it, `end_streaming` has to come. Where a vector is less than
// a line it would be written in parts, which is slower than to keep it: there, nothing streams.
constexpr bool kStreams = kVectorBytes == 64;

template <class Real>
EVERYSTEP_INLINE void stream(Real* p, Vec<Real> v) {
#if defined(__AVX512F__)
  _mm512_stream_si512(reinterpret_cast<__m512i*>(p), (__m512i)v);
#else
  store(p, v);
#endif
}

inline void end_streaming() {
#if defined(__AVX512F__)
  _mm_sfence();
#endif
}

// The first n lanes only, for the last vector of a row whose length is no multiple of the lanes; the others are 0.
template <class Real>
EVERYSTEP_INLINE Vec<Real> load(const Real* p, int64_t n) {
  if (n >= kLanes<Real>) return load(p);
  Vec<Real> v{};
  for (int64_t i = 0; i < n; ++i) v[i] = p[i];
  return v;
}

template <class Real>
EVERYSTEP_INLINE void store(Real* p, Vec<Real> v, int64_t n) {
  if (n >= kLanes<Real>) return store(p, v);
  for (int64_t i = 0; i < n; ++i) p[i] = v[i];
}

// a * b + c: one rounding where the instruction set has it, two where it has not, and the same choice everywhere in
// one instruction set. The build forbids the compiler to contract or split any other expression (-ffp-contract=off).
template <class Real>
EVERYSTEP_INLINE Vec<Real> fma(Vec<Real> a, Vec<Real> b, Vec<Real> c) {
#if defined(__AVX512F__)
  if constexpr (sizeof(Real) == 4)
    return (Vec<Real>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
  else
    return (Vec<Real>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__FMA__)
  if constexpr (sizeof(Real) == 4)
    return (Vec<Real>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
  else
    return (Vec<Real>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#else
  return a * b + c;
#endif
}

template <class Real>
EVERYSTEP_INLINE IntVec<Real> bits(Vec<Real> v) {
  return (IntVec<Real>)v;
}

template <class Real>
EVERYSTEP_INLINE Vec<Real> from_bits(IntVec<Real> v) {
  return (Vec<Real>)v;
}

// The larger and the smaller one; v where it is a NaN.
template <class Real>
EVERYSTEP_INLINE Vec<Real> at_least(Real low, Vec<Real> v) {
#if defined(__AVX512F__)
  if constexpr (sizeof(Real) == 4)
    return (Vec<Real>)_mm512_max_ps(_mm512_set1_ps(low), (__m512)v);
  else
    return (Vec<Real>)_mm512_max_pd(_mm512_set1_pd(low), (__m512d)v);
#else
  return v < broadcast(low) ? broadcast(low) : v;
#endif
}

template <class Real>
EVERYSTEP_INLINE Vec<Real> at_most(Real high, Vec<Real> v) {
#if defined(__AVX512F__)
  if constexpr (sizeof(Real) == 4)
    return (Vec<Real>)_mm512_min_ps(_mm512_set1_ps(high), (__m512)v);
  else
    return (Vec<Real>)_mm512_min_pd(_mm512_set1_pd(high), (__m512d)v);
#else
  return v > broadcast(high) ? broadcast(high) : v;
#endif
}

// 1 / d, right to 14 bits at least: an instruction where there is one, whose further bits differ between makers of
// processors. What uses it makes one Newton step.
template <class Real>
EVERYSTEP_INLINE Vec<Real> about_one_over(Vec<Real> d) {
#if defined(__AVX512F__)
  if constexpr (sizeof(Real) == 4) return (Vec<Real>)_mm512_rcp14_ps((__m512)d);
#endif
  return Real(1) / d;
}

// A square of kLanes x kLanes numbers, its rows and columns exchanged: first within pairs of rows, then of pairs, and
// so on.
template <class Real, int apart = 1>
EVERYSTEP_INLINE void transpose(Vec<Real> (&rows)[kLanes<Real>]) {
  constexpr int L = kLanes<Real>;
  if constexpr (apart < L) {
    IntVec<Real> upper, lower;
    for (int i = 0; i < L; ++i) {
      upper[i] = i & apart ? L + i - apart : i;
      lower[i] = i & apart ? L + i : i + apart;
    }
#pragma GCC unroll 16
    for (int i = 0; i < L; ++i)
      if (!(i & apart)) {
        const Vec<Real> a = rows[i], b = rows[i + apart];
        rows[i] = __builtin_shuffle(a, b, upper);
        rows[i + apart] = __builtin_shuffle(a, b, lower);
      }
    transpose<Real, 2 * apart>(rows);
  }
}

// A function of one number, lane by lane: for what the C library computes and vectors do not.
template <class Real, class F>
EVERYSTEP_INLINE Vec<Real> each(Vec<Real> v, F f) {
  for (int i = 0; i < kLanes<Real>; ++i) v[i] = f(v[i]);
  return v;
}

}  // namespace everystep::EVERYSTEP_ISA
