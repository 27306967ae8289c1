// Products of matrices, in the order of summation of the bits contract.
#pragma once

#include "activations.h"
#include "split.h"
#include "tile.h"

namespace everystep::EVERYSTEP_ISA {

// A (K,N) matrix packed in panels of four vectors of columns: [panel][k][vector][lane]. The last one may be narrower.
template <class Real>
struct Panels {
  static constexpr int L = kLanes<Real>, kWide = 4 * L;
  int64_t K, N;
  int64_t count() const { return (N + kWide - 1) / kWide; }
  int64_t size() const { return K * round_up(N, L); }
  int64_t at(int64_t panel) const { return panel * kWide * K; }
  int64_t width(int64_t panel) const { return std::min<int64_t>(kWide, N - panel * kWide); }
  int64_t vectors(int64_t panel) const { return (width(panel) + L - 1) / L; }
};

// Packs panels [first, last) of matrix (K,N), row k at matrix + k * next.
template <class Real>
void pack_panels(const Panels<Real>& panels, const Real* matrix, int64_t next, Range which, Real* packed) {
  constexpr int L = kLanes<Real>;
  for (int64_t panel = which.begin; panel < which.end; ++panel) {
    const int64_t vectors = panels.vectors(panel), column = panel * panels.kWide;
    Real* to = packed + panels.at(panel);
    for (int64_t k = 0; k < panels.K; ++k)
      for (int64_t n = 0; n < vectors; ++n, to += L)
        store(to, load(matrix + k * next + column + n * L, panels.N - column - n * L));
  }
}

// The same from the transposed matrix (N,K), a square of numbers at a time.
template <class Real>
void pack_panels_transposed(const Panels<Real>& panels, const Real* matrix, Range which, Real* packed) {
  constexpr int L = kLanes<Real>;
  for (int64_t panel = which.begin; panel < which.end; ++panel) {
    const int64_t padded = panels.vectors(panel) * L, first = panel * panels.kWide;
    Real* const to = packed + panels.at(panel);
    for (int64_t k = 0; k < panels.K; k += L)
      for (int64_t n = 0; n < padded; n += L) {
        Vec<Real> square[L];
        for (int i = 0; i < L; ++i)
          square[i] =
              first + n + i < panels.N ? load(matrix + (first + n + i) * panels.K + k, panels.K - k) : Vec<Real>{};
        transpose<Real>(square);
        const int64_t rows = std::min<int64_t>(L, panels.K - k);
        for (int i = 0; i < rows; ++i) store(to + (k + i) * padded + n, square[i]);
      }
  }
}

// visit(N, some): the panels `which`, as some that have N vectors of columns each.
template <class Real, class Visit>
EVERYSTEP_INLINE void for_widths(const Panels<Real>& panels, Range which, Visit visit) {
  const int64_t full = std::min(which.end, panels.N / panels.kWide);
  if (which.begin < full) visit(Constant<4>{}, Range{which.begin, full});
  if (which.end > full && which.end > which.begin) {
    const Range last{which.end - 1, which.end};
    switch (panels.vectors(last.begin)) {
      case 1: return visit(Constant<1>{}, last);
      case 2: return visit(Constant<2>{}, last);
      case 3: return visit(Constant<3>{}, last);
      default: return visit(Constant<4>{}, last);
    }
  }
}

// visit(to, column, lanes, vector) for the vectors of a tile: where each is in `out`, its first column and its width.
template <class Real, int R, int U, int N, class Visit>
EVERYSTEP_INLINE void for_vectors(const Panels<Real>& panels, Rows<Real> out, int64_t row, int64_t panel,
                                  Tile<Real, R, U, N>& tile, Visit visit) {
  for (int r = 0; r < R; ++r)
    for (int u = 0; u < U; ++u)
      for (int n = 0; n < N; ++n) {
        const int64_t column = (panel + u) * panels.kWide + n * panels.L;
        visit(out[row + r] + column, column, std::min<int64_t>(panels.L, panels.N - column), tile[r][u][n]);
      }
}

// out = bias + a matrix for the columns of the panels `which` and the rows k of the matrix, whose first meets a's
// first.
template <class Real>
__attribute__((noinline)) void multiply_panels(const Panels<Real>& panels, const Real* packed, Range which, Range k,
                                               int64_t rows, Rows<const Real> a_rows, Rows<Real> out,
                                               const Real* bias = nullptr) {
  for_widths(panels, which, [&](auto N, Range part) {
    for_tiles<N()>(rows, part.size(), [&](auto R, auto U, int64_t row, int64_t panel) {
      panel += part.begin;
      const Real* a[R()];
      Tile<Real, R(), U(), N()> acc;
      for (int r = 0; r < R(); ++r) a[r] = a_rows[row + r];
      const auto each_vector = [&](auto visit) {
        for_vectors<Real, R(), U(), N()>(panels, out, row, panel, acc, visit);
      };
      each_vector([&](const Real*, int64_t column, int64_t lanes, Vec<Real>& sum) {
        sum = bias ? load(bias + column, lanes) : Vec<Real>{};
      });
      multiply<Reads::same, Real, R(), U(), N()>(acc, a, 0, packed + panels.at(panel) + k.begin * N() * panels.L,
                                                 panels.kWide * panels.K, k.size());
      each_vector([](Real* to, int64_t, int64_t lanes, Vec<Real>& sum) { store(to, sum, lanes); });
    });
  });
}

// out, or 0 unless `add`, and then the P parts of a matrix, one after the other, where each part is a sum over as many
// rows k. For one row the parts go side by side: their chains of multiply-adds are shorter than one of all k, and hide
// each other's latency.
template <int P, class Real>
__attribute__((noinline)) void multiply_panels_in_parts(const Panels<Real>& panels, const Real* packed, Range which,
                                                        Range k, int64_t rows, Rows<const Real> a_rows, Rows<Real> out,
                                                        bool add, bool backwards) {
  constexpr int L = kLanes<Real>;
  const int64_t K = k.size() / P;
  const auto start = [](bool from_out) {
    return [from_out](const Real* to, int64_t, int64_t lanes, Vec<Real>& sum) {
      sum = from_out ? load(to, lanes) : Vec<Real>{};
    };
  };
  const auto finish = [](Real* to, int64_t, int64_t lanes, Vec<Real>& sum) { store(to, sum, lanes); };
  for_widths(panels, which, [&](auto N, Range some) {
    for (int64_t n = 0; n < some.size(); ++n) {
      const int64_t panel = backwards ? some.end - 1 - n : some.begin + n;
      const auto part_of = [&](int p) { return packed + panels.at(panel) + (k.begin + p * K) * N() * L; };
      if constexpr (P * N() <= kAccumulators)
        if (rows == 1) {
          const Real* const a[1] = {a_rows[0]};
          Tile<Real, 1, P, N()> parts = {};
          multiply<Reads::parts, Real, 1, P, N()>(parts, a, K, part_of(0), K * N() * L, K);
          Tile<Real, 1, 1, N()> sum;
          for_vectors<Real, 1, 1, N()>(panels, out, 0, panel, sum, start(add));
          for (int p = 0; p < P; ++p)
            for (int v = 0; v < N(); ++v) sum[0][0][v] += parts[0][p][v];
          for_vectors<Real, 1, 1, N()>(panels, out, 0, panel, sum, finish);
          continue;
        }
      for (int p = 0; p < P; ++p)  // all rows for each: what they share of the matrix stays in cache
        for_tiles<N()>(rows, 1, [&](auto R, auto U, int64_t row, int64_t) {
          if constexpr (U() == 1) {
            const Real* a[R()];
            for (int r = 0; r < R(); ++r) a[r] = a_rows[row + r] + p * K;
            Tile<Real, R(), 1, N()> part = {}, sum;
            multiply<Reads::same, Real, R(), 1, N()>(part, a, 0, part_of(p), 0, K);
            for_vectors<Real, R(), 1, N()>(panels, out, row, panel, sum, start(add || p > 0));
            for (int r = 0; r < R(); ++r)
              for (int v = 0; v < N(); ++v) sum[r][0][v] += part[r][0][v];
            for_vectors<Real, R(), 1, N()>(panels, out, row, panel, sum, finish);
          }
        });
    }
  });
}

// The columns of the rows that `a` lists, M numbers each: column m at to + m * next, with zeros up to a whole vector.
template <class Real>
__attribute__((noinline)) void transpose_rows(int64_t rows, int64_t M, const Real* const* a, Real* to, int64_t next) {
  constexpr int L = kLanes<Real>;
  for (int64_t row = 0; row < rows; row += L)
    for (int64_t m = 0; m < M; m += L) {
      Vec<Real> square[L];
      for (int r = 0; r < L; ++r) square[r] = row + r < rows ? load(a[row + r] + m, M - m) : Vec<Real>{};
      transpose<Real>(square);
      const int64_t columns = std::min<int64_t>(L, M - m);
      for (int c = 0; c < columns; ++c) store(to + (m + c) * next + row, square[c]);
    }
}

// to += a panel for N vectors of columns: a has M rows of K numbers, the panel K rows of N vectors, `to` M rows.
template <int N, class Real>
__attribute__((noinline)) void add_product(int64_t K, int64_t M, Rows<const Real> a, const Real* panel, Rows<Real> to,
                                           int64_t width) {
  constexpr int L = kLanes<Real>;
  for_tiles<N>(M, 1, [&](auto R, auto U, int64_t row, int64_t) {
    if constexpr (U() == 1) {
      const Real* rows[R()];
      for (int r = 0; r < R(); ++r) rows[r] = a[row + r];
      Tile<Real, R(), 1, N> acc = {};
      multiply<Reads::same, Real, R(), 1, N>(acc, rows, 0, panel, 0, K);
      for (int r = 0; r < R(); ++r)
        for (int n = 0; n < N; ++n) {
          Real* const sum = to[row + r] + n * L;
          store(sum, load(sum, width - n * L) + acc[r][0][n], width - n * L);
        }
    }
  });
}

template <class Real>
void product(int64_t M, int64_t K, int64_t N, const Real* a, const Real* packed, const Real* bias,
             Activation activation, Real* out) {
  const Panels<Real> panels{K, N};
  const Split parts = split(num_threads(), M, panels.count(), 0, double(M) * K * N, 0);
  parallel(parts.members, [&](int member, int members, Barrier&) {
    const Range rows = share(M, member, members);
    Real* const own = out + rows.begin * N;
    multiply_panels<Real>(panels, packed, {0, panels.count()}, {0, K}, rows.size(), {a + rows.begin * K, K}, {own, N},
                          bias);
    if (activation != Activation::linear) activate_all<Real>(activation, rows.size() * N, own, own);
  });
}

}  // namespace everystep::EVERYSTEP_ISA
