// The one inner loop of the engine: a tile of R rows x U panels x N vectors of accumulators in registers.
//
//     acc[r][u][n] += sum over k of a[r][k] * panel_u[k][n]
//
// A panel is a block of columns packed as [k][vector][lane], so that the loop reads it front to back. Each accumulator
// lane is one output number: k runs in order and is never split, so no choice of R or U can change a bit of it.
#pragma once

#include <algorithm>
#include <bit>
#include <type_traits>

#include "simd.h"

namespace everystep::EVERYSTEP_ISA {

template <class Real, int R, int U, int N>
using Tile = Vec<Real>[R][U][N];

// Rows of numbers: one after the other, or those that `index` lists.
template <class Real>
struct Rows {
  Real* first;
  int64_t next;
  const int64_t* index = nullptr;
  Real* operator[](int64_t row) const { return first + (index ? index[row] : row) * next; }
};

template <class Real, int R, int U, int N>
EVERYSTEP_INLINE void copy_tile(const Tile<Real, R, U, N>& from, Tile<Real, R, U, N>& to) {
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
    for (int u = 0; u < U; ++u)
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) to[r][u][n] = from[r][u][n];
}

// Where the numbers that a tile multiplies by are. same: row r reads a[r] for all its vectors. gates: vector n reads
// `apart` numbers further for each n (dropout masks differ from gate to gate). parts: panel u reads `apart` numbers
// further for each u (panels that are parts of one product, each a sum of its own).
enum class Reads { same, gates, parts };

// The sums live in `t`, which is indexed by constants alone, so that the compiler keeps all of it in registers.
template <Reads reads, class Real, int R, int U, int N>
__attribute__((noinline)) void multiply(Tile<Real, R, U, N>& acc, const Real* const (&a)[R], int64_t apart,
                                        const Real* panel, int64_t next_panel, int64_t K) {
  constexpr int L = kLanes<Real>;
  Tile<Real, R, U, N> t;
  copy_tile<Real, R, U, N>(acc, t);
  for (int64_t k = 0; k < K; ++k) {
#pragma GCC unroll 16
    for (int u = 0; u < U; ++u) {
      Vec<Real> w[N];
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) w[n] = load(panel + u * next_panel + (k * N + n) * L);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
        for (int n = 0; n < N; ++n) {
          const int64_t further = reads == Reads::gates ? n * apart : reads == Reads::parts ? u * apart : 0;
          t[r][u][n] = fma<Real>(broadcast(a[r][further + k]), w[n], t[r][u][n]);
        }
      }
    }
  }
  copy_tile<Real, R, U, N>(t, acc);
}

// A constant that a template argument can be taken from: for_tiles hands these to its visitor.
template <int value>
using Constant = std::integral_constant<int, value>;

// How many panels a wide tile of R rows takes: a power of two, so that layers of 2^n units need no narrower ones.
template <int N, int R>
constexpr int widest = std::bit_floor(static_cast<unsigned>(std::max(1, kAccumulators / (N * R))));

// All R rows of the panels [0, panels) at once, in tiles of U panels and, for what is left, of half as many.
template <int R, int U, class Visit>
EVERYSTEP_INLINE void wide_tiles(int64_t panels, bool backwards, Visit&& visit) {
  const int64_t tiles = panels / U, left = panels % U;
  const auto narrower = [&] {
    if constexpr (U > 1)
      if (left > 0)
        wide_tiles<R, U / 2>(left, backwards,
                             [&](auto R_, auto U_, int64_t row, int64_t panel)
                                 __attribute__((always_inline)) { visit(R_, U_, row, tiles * U + panel); });
  };
  if (backwards) narrower();
  for (int64_t k = 0; k < tiles; ++k)
    visit(Constant<R>{}, Constant<U>{}, int64_t{0}, (backwards ? tiles - 1 - k : k) * U);
  if (!backwards) narrower();
}

// Some rows of a group of U panels, in tiles of at most `tallest` rows.
template <int tallest, int U, class Visit>
EVERYSTEP_INLINE void tall_tiles(int64_t rows, int64_t panel, Visit&& visit) {
  const auto across = [&](auto R, int64_t row) { visit(R, Constant<U>{}, row, panel); };
  int64_t tiles = (rows + tallest - 1) / tallest;
  for (int64_t row = 0; tiles > 0; --tiles) {
    const int64_t R = (rows - row + tiles - 1) / tiles;  // as even as can be: 16 rows are 6 + 5 + 5
    if constexpr (tallest >= 6)
      if (R == 6) across(Constant<6>{}, row);
    if constexpr (tallest >= 5)
      if (R == 5) across(Constant<5>{}, row);
    if constexpr (tallest >= 4)
      if (R == 4) across(Constant<4>{}, row);
    if constexpr (tallest >= 3)
      if (R == 3) across(Constant<3>{}, row);
    if constexpr (tallest >= 2)
      if (R == 2) across(Constant<2>{}, row);
    if (R == 1) across(Constant<1>{}, row);
    row += R;
  }
}

// Covers rows x panels with tiles of at most kAccumulators vectors: tall tiles where there are rows enough, else wide
// ones, because eight independent accumulators are needed to hide the latency of one multiply-add.
// Calls visit(R, U, first_row, first_panel) with R and U as Constants; all tiles of a panel come together. `backwards`
// takes the panels from the last to the first: who covers the same panels again and again finds the latest in cache.
template <int N, class Visit>
EVERYSTEP_INLINE void for_tiles(int64_t rows, int64_t panels, Visit&& visit, bool backwards = false) {
  constexpr int together =
      N >= 3 ? 1 : 4 / N;  // panels of a tall tile, so that it has four vectors of columns or three
  constexpr int tallest = std::min(6, kAccumulators / (N * together));
  if (rows == 1) return wide_tiles<1, widest<N, 1>>(panels, backwards, visit);
  if constexpr (tallest >= 2)
    if (rows == 2) return wide_tiles<2, widest<N, 2>>(panels, backwards, visit);
  if constexpr (tallest >= 3)
    if (rows == 3) return wide_tiles<3, widest<N, 3>>(panels, backwards, visit);
  const int64_t groups = panels / together, left = panels % together;
  const auto narrower = [&] {
    for (int64_t panel = panels - left; panel < panels; ++panel)
      tall_tiles<std::min(6, kAccumulators / N), 1>(rows, panel, visit);
  };
  if (together > 1 && backwards) narrower();
  for (int64_t k = 0; k < groups; ++k)
    tall_tiles<tallest, together>(rows, (backwards ? groups - 1 - k : k) * together, visit);
  if (together > 1 && !backwards) narrower();
}

constexpr int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

}  // namespace everystep::EVERYSTEP_ISA
