// A run of any cell over a batch of sequences, forward.
//
// Time goes in chunks whose input products x W + b stay in cache: they are one large product, and only h R is left to
// the steps. A thread owns rows of the batch or panels of units (a panel is one vector of units with all its gates).
#pragma once

#include <algorithm>

#include "scratch.h"
#include "split.h"
#include "tile.h"

namespace everystep::EVERYSTEP_ISA {

// Packed weights: the bias as [panel][gate][lane], then for each panel [k][gate][lane], k over x's features, then
// units. Where a cell keeps the parts of its last gate apart, the bias has one more gate: the recurrent bias of that
// one. Where a step has two products, the units' rows come twice: with the gates of the first, then with the others.
template <class Cell, class Real>
struct Packed {
  static constexpr int L = kLanes<Real>, G = Cell::G, kBiases = G + Cell::kApart;
  int64_t I, H;
  int64_t panels() const { return (H + L - 1) / L; }
  int64_t panel_size() const { return (I + H) * G * L; }
  int64_t size() const { return panels() * (kBiases * L + panel_size()); }
  int64_t bias(int64_t panel) const { return panel * kBiases * L; }
  int64_t input(int64_t panel) const { return panels() * kBiases * L + panel * panel_size(); }
  int64_t recurrent(int64_t panel, int first_gate = 0) const { return input(panel) + (I * G + H * first_gate) * L; }
};

template <class Cell, class Real>
void pack(int64_t I, int64_t H, const Kernels<Real>& w, Real* packed) {
  constexpr int L = kLanes<Real>, G = Cell::G;
  constexpr int kFirst = Cell::kFirst;
  const Packed<Cell, Real> at{I, H};
  // Gates [begin, end) of one row (GH) of a kernel, or of a bias.
  const auto row = [&](const Real* from, int begin, int end, int64_t panel, Real* to) {
    for (int g = begin; g < end; ++g, to += L)
      store(to, from ? load(from + g * H + panel * L, H - panel * L) : Vec<Real>{});
  };
  for (int64_t panel = 0; panel < at.panels(); ++panel) {
    Real* const bias = packed + at.bias(panel);
    row(w.bias, 0, G, panel, bias);
    if constexpr (Cell::kApart) {
      row(w.bias ? w.bias + G * H : nullptr, G - 1, G, panel, bias + G * L);
      if (w.bias)
        for (int g = 0; g < G - 1; ++g)
          store(bias + g * L, load(bias + g * L) + load(w.bias + (G + g) * H + panel * L, H - panel * L));
    }
    for (int64_t k = 0; k < I; ++k) row(w.kernel + k * G * H, 0, G, panel, packed + at.input(panel) + k * G * L);
    for (int64_t k = 0; k < H; ++k) {
      const Real* const from = w.recurrent_kernel + k * G * H;
      row(from, 0, kFirst, panel, packed + at.recurrent(panel) + k * kFirst * L);
      row(from, kFirst, G, panel, packed + at.recurrent(panel, kFirst) + k * (G - kFirst) * L);
    }
  }
}

template <class Cell, class Real, class Policy>
class Forward {
 public:
  Forward(const Run<Real>& run, const Policy& policy) : run_(run), policy_(policy), packed_{run.I, run.H} {
    const double step_work = double(run.B) * run.H * G * run.H;
    split_ = split(run.B, packed_.panels(), step_work, (step_work + double(run.B) * run.I * G * run.H) * run.T);
    const int64_t step_bytes = run.B * G * padded() * sizeof(Real);
    chunk_ = std::clamp<int64_t>(kChunkBytes * split_.members / std::max<int64_t>(step_bytes, 1), 1,
                                 std::max<int64_t>(run.T, 1));
    Carver size(nullptr);
    carve(size);
    Carver block(scratch(size.used()));
    carve(block);
  }

  void operator()() {
    parallel(split_.members, [this](int member, int members, Barrier& barrier) {
      const bool rows = split_.rows || members == 1;
      Member m{rows ? share(run_.B, member, members) : Range{0, run_.B},
               rows ? Range{0, packed_.panels()} : share(packed_.panels(), member, members), member, members,
               rows ? nullptr : &barrier};
      go(m);
    });
  }

 private:
  static constexpr int L = kLanes<Real>, G = Cell::G, S = Cell::S;
  static constexpr bool kTwoProducts = Cell::kFirst < G;
  static constexpr int64_t kChunkBytes = 256 << 10;  // of input products for each thread: a part of its L2

  struct Member {
    Range rows, panels;
    int member, members;
    Barrier* barrier;  // null where nobody else needs this member's units
    void wait() const {
      if (barrier) barrier->wait();
    }
  };

  int64_t padded() const { return packed_.panels() * L; }
  int64_t time(int64_t step) const { return run_.backwards ? run_.T - 1 - step : step; }
  bool reset_at(int64_t b, int64_t step) const { return run_.resets && run_.resets[b * run_.T + time(step)]; }

  void carve(Carver& block) {
    const int64_t B = run_.B, Hp = padded();
    for (Real*& h : h_) h = block.template take<Real>(B * Hp);
    for (int s = 1; s < S; ++s) other_[s] = block.template take<Real>(B * Hp);
    if (kTwoProducts) reset_h_ = block.template take<Real>(B * Hp);
    z_ = block.template take<Real>(chunk_ * B * G * Hp);
    if (run_.dropout) dropped_x_ = block.template take<Real>(G * chunk_ * B * run_.I);
    if (run_.recurrent_dropout)
      for (Real*& h : dropped_h_) h = block.template take<Real>(G * B * Hp);
  }

  void go(const Member& m) {
    begin(m);
    for (int64_t first = 0; first < run_.T; first += chunk_) {
      const int64_t steps = std::min(chunk_, run_.T - first);
      if (run_.dropout)
        input_products<true>(m, first, steps);
      else
        input_products<false>(m, first, steps);
      for (int64_t step = first; step < first + steps; ++step) {
        if (run_.recurrent_dropout)
          one_step<true>(m, step, step - first);
        else
          one_step<false>(m, step, step - first);
        m.wait();
      }
    }
    finish(m);
  }

  // The states before the first step, or what a reset there puts in their place.
  void begin(const Member& m) {
    for_own_vectors(m, [&](int64_t b, int64_t unit, int64_t lanes) {
      const Real* const* from = run_.T > 0 && reset_at(b, 0) ? run_.reset : run_.start;
      put_h(0, b, unit, load(from[0] + b * run_.H + unit, lanes));
      for (int s = 1; s < S; ++s) store(other_[s] + b * padded() + unit, load(from[s] + b * run_.H + unit, lanes));
    });
    m.wait();
  }

  void finish(const Member& m) {
    for_own_vectors(m, [&](int64_t b, int64_t unit, int64_t lanes) {
      store(run_.last[0] + b * run_.H + unit, load(h_[run_.T % 2] + b * padded() + unit), lanes);
      for (int s = 1; s < S; ++s) store(run_.last[s] + b * run_.H + unit, load(other_[s] + b * padded() + unit), lanes);
    });
  }

  template <class Visit>
  void for_own_vectors(const Member& m, Visit visit) {
    for (int64_t b = m.rows.begin; b < m.rows.end; ++b)
      for (int64_t panel = m.panels.begin; panel < m.panels.end; ++panel)
        visit(b, panel * L, std::min<int64_t>(L, run_.H - panel * L));
  }

  // h as the products of the next step will read it: times its dropout, gate by gate, where there is one.
  EVERYSTEP_INLINE void put_h(int64_t buffer, int64_t b, int64_t unit, Vec<Real> h) {
    store(h_[buffer] + b * padded() + unit, h);
    if (run_.recurrent_dropout)
      for (int g = 0; g < G; ++g) {
        const Vec<Real> kept =
            load(run_.recurrent_dropout + (g * run_.B + b) * run_.H + unit, std::min<int64_t>(L, run_.H - unit));
        store(dropped_h_[buffer] + (g * run_.B + b) * padded() + unit, h * kept);
      }
  }

  Real* z(int64_t panel, int64_t chunk_row) const { return z_ + (panel * chunk_ * run_.B + chunk_row) * G * L; }

  // z = b + x W for all steps of a chunk. Rows of this product are (step, row of the batch) pairs.
  template <bool kDropout>
  void input_products(const Member& m, int64_t first, int64_t steps) {
    const int64_t B = run_.B, I = run_.I, own = m.rows.size();
    const auto x = [&](int64_t row) {
      return run_.x + ((m.rows.begin + row % own) * run_.T + time(first + row / own)) * I;
    };
    const int64_t gate = chunk_ * B * I;
    if constexpr (kDropout) {
      // Members that share units also share the work of multiplying by the dropout.
      const Range mine = m.barrier ? share(own * steps, m.member, m.members) : Range{0, own * steps};
      for (int64_t row = mine.begin; row < mine.end; ++row) {
        const int64_t b = m.rows.begin + row % own;
        for (int g = 0; g < G; ++g)
          for (int64_t i = 0; i < I; ++i)
            dropped_x_[g * gate + ((row / own) * B + b) * I + i] = x(row)[i] * run_.dropout[(g * B + b) * I + i];
      }
      m.wait();
    }
    for_tiles<G>(own * steps, m.panels.size(), [&](auto R, auto U, int64_t row, int64_t panel) {
      panel += m.panels.begin;
      const Real* a[R()];
      for (int r = 0; r < R(); ++r)
        a[r] = kDropout ? dropped_x_ + (((row + r) / own) * B + m.rows.begin + (row + r) % own) * I : x(row + r);
      Tile<Real, R(), U(), G> acc;
      for (int u = 0; u < U(); ++u)
        for (int g = 0; g < G; ++g) {
          const Vec<Real> bias = load(run_.packed + packed_.bias(panel + u) + g * L);
          for (int r = 0; r < R(); ++r) acc[r][u][g] = bias;
        }
      multiply<kDropout, Real, R(), U(), G>(acc, a, gate, run_.packed + packed_.input(panel), packed_.panel_size(), I);
      for (int r = 0; r < R(); ++r)
        for (int u = 0; u < U(); ++u) {
          const int64_t b = m.rows.begin + (row + r) % own;
          Real* const to = z(panel + u, (row + r) / own * B + b);
          for (int g = 0; g < G; ++g) store(to + g * L, acc[r][u][g]);
        }
    });
  }

  // z += h R, then the cell, for every row and unit of this member.
  template <bool kDropout>
  void one_step(const Member& m, int64_t step, int64_t chunk_step) {
    const int64_t Hp = padded(), now = step % 2;
    const Real* const h = kDropout ? dropped_h_[now] : h_[now];
    if constexpr (kTwoProducts) {
      constexpr int kFirst = Cell::kFirst;
      const Real* const candidates_h = kDropout ? h + kFirst * run_.B * Hp : h;
      recurrent_products<kDropout, 0, kFirst>(
          m, chunk_step, h, [&](Vec<Real>(&sums)[kFirst], int64_t b, int64_t unit, Real* from_x) {
            for (int g = 0; g < kFirst; ++g) store(from_x + g * L, sums[g]);
            store(reset_h_ + b * Hp + unit,
                  Cell::template reset<Real>(policy_, sums) * load(candidates_h + b * Hp + unit));
          });
      m.wait();
      recurrent_products<false, kFirst, G>(
          m, chunk_step, reset_h_, [&](Vec<Real>(&sums)[G - kFirst], int64_t b, int64_t unit, const Real* from_x) {
            Vec<Real> z[G];
            for (int g = 0; g < G; ++g) z[g] = g < kFirst ? load(from_x + g * L) : sums[g - kFirst];
            one_vector(z, b, unit, step);
          });
    } else {
      recurrent_products<kDropout, 0, G>(m, chunk_step, h,
                                         [&](Vec<Real>(&sums)[G], int64_t b, int64_t unit, const Real* from_x) {
                                           if constexpr (Cell::kApart) {
                                             Vec<Real> z[G + 1];
                                             for (int g = 0; g < G; ++g) z[g] = sums[g];
                                             z[G] = load(from_x + (G - 1) * L);
                                             one_vector(z, b, unit, step);
                                           } else {
                                             one_vector(sums, b, unit, step);
                                           }
                                         });
    }
  }

  // Adds a R to what gates [begin, end) have from x, and hands on each vector of units; a is h, or what stands for it.
  template <bool kDropout, int begin, int end, class Finish>
  EVERYSTEP_INLINE void recurrent_products(const Member& m, int64_t chunk_step, const Real* h, Finish finish) {
    constexpr int N = end - begin;
    constexpr bool kOwnBias = Cell::kApart && end == G;  // the last gate begins with its recurrent bias, x's part waits
    const int64_t B = run_.B, Hp = padded();
    for_tiles<N>(m.rows.size(), m.panels.size(), [&](auto R, auto U, int64_t row, int64_t panel) {
      row += m.rows.begin, panel += m.panels.begin;
      const Real* a[R()];
      Tile<Real, R(), U(), N> acc;
      for (int r = 0; r < R(); ++r) {
        a[r] = h + (row + r) * Hp;
        for (int u = 0; u < U(); ++u) {
          const Real* const from_x = z(panel + u, chunk_step * B + row + r);
          for (int n = 0; n < N; ++n)
            acc[r][u][n] = kOwnBias && n == N - 1 ? load(run_.packed + packed_.bias(panel + u) + G * L)
                                                  : load(from_x + (begin + n) * L);
        }
      }
      multiply<kDropout, Real, R(), U(), N>(acc, a, B * Hp, run_.packed + packed_.recurrent(panel, begin),
                                            packed_.panel_size(), run_.H);
      for (int r = 0; r < R(); ++r)
        for (int u = 0; u < U(); ++u)
          finish(acc[r][u], row + r, (panel + u) * L, z(panel + u, chunk_step * B + row + r));
    });
  }

  // One vector of units of one row: the cell, or nothing where the step is masked, and everything that is stored.
  EVERYSTEP_INLINE void one_vector(Vec<Real> (&z)[G + Cell::kApart], int64_t b, int64_t unit, int64_t step) {
    const int64_t H = run_.H, Hp = padded(), lanes = std::min<int64_t>(L, H - unit), at = b * run_.T + step;
    const bool seen = !run_.mask || run_.mask[b * run_.T + time(step)];
    const bool again = step + 1 < run_.T && reset_at(b, step + 1);
    Vec<Real> state[S], tape[Cell::kTaped] = {};
    state[0] = load(h_[step % 2] + b * Hp + unit);
    for (int s = 1; s < S; ++s) state[s] = load(other_[s] + b * Hp + unit);
    if (seen)
      Cell::template step<Real>(policy_, z, state, tape);
    else
      for (Vec<Real>& gate : z) gate = Vec<Real>{};
    if (run_.h) store(run_.h + at * H + unit, state[0], lanes);
    if constexpr (S > 1)
      if (run_.c) store(run_.c + at * H + unit, state[1], lanes);
    if (run_.gates)
      for (int g = 0; g < G; ++g) store(run_.gates + (at * G + g) * H + unit, z[g], lanes);
    if (run_.tape)
      for (int k = 0; k < Cell::kTaped; ++k) store(run_.tape + (at * Cell::kTaped + k) * H + unit, tape[k], lanes);
    if (again)
      for (int s = 0; s < S; ++s) state[s] = load(run_.reset[s] + b * H + unit, lanes);
    put_h((step + 1) % 2, b, unit, state[0]);
    for (int s = 1; s < S; ++s) store(other_[s] + b * Hp + unit, state[s]);
  }

  const Run<Real>& run_;
  const Policy policy_;
  const Packed<Cell, Real> packed_;
  Split split_;
  int64_t chunk_;
  Real* h_[2];                 // (B,Hp) before and after the step
  Real* other_[S] = {};        // (B,Hp) the other states, in place; [0] is unused
  Real* dropped_h_[2] = {};    // (G,B,Hp)
  Real* dropped_x_ = nullptr;  // (G,chunk,B,I)
  Real* reset_h_ = nullptr;    // (B,Hp) what the second product of a step reads
  Real* z_;                    // [panel][chunk step][row][gate][lane]
};

}  // namespace everystep::EVERYSTEP_ISA
