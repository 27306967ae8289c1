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
// units.
template <class Cell, class Real>
struct Packed {
  static constexpr int L = kLanes<Real>, G = Cell::G;
  int64_t I, H;
  int64_t panels() const { return (H + L - 1) / L; }
  int64_t panel_size() const { return (I + H) * G * L; }
  int64_t size() const { return panels() * (G * L + panel_size()); }
  int64_t bias(int64_t panel) const { return panel * G * L; }
  int64_t input(int64_t panel) const { return panels() * G * L + panel * panel_size(); }
  int64_t recurrent(int64_t panel) const { return input(panel) + I * G * L; }
};

template <class Cell, class Real>
void pack(int64_t I, int64_t H, const Kernels<Real>& w, Real* packed) {
  constexpr int L = kLanes<Real>, G = Cell::G;
  const Packed<Cell, Real> at{I, H};
  const auto row = [&](const Real* from, int64_t panel, Real* to) {  // one row (GH) of a kernel, or the bias
    for (int g = 0; g < G; ++g) store(to + g * L, from ? load(from + g * H + panel * L, H - panel * L) : Vec<Real>{});
  };
  for (int64_t panel = 0; panel < at.panels(); ++panel) {
    row(w.bias, panel, packed + at.bias(panel));
    for (int64_t k = 0; k < I; ++k) row(w.kernel + k * G * H, panel, packed + at.input(panel) + k * G * L);
    for (int64_t k = 0; k < H; ++k)
      row(w.recurrent_kernel + k * G * H, panel, packed + at.recurrent(panel) + k * G * L);
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
    const int64_t B = run_.B, Hp = padded(), now = step % 2, t = time(step);
    for_tiles<G>(m.rows.size(), m.panels.size(), [&](auto R, auto U, int64_t row, int64_t panel) {
      row += m.rows.begin, panel += m.panels.begin;
      const Real* a[R()];
      Tile<Real, R(), U(), G> acc;
      for (int r = 0; r < R(); ++r) {
        a[r] = (kDropout ? dropped_h_[now] : h_[now]) + (row + r) * Hp;
        for (int u = 0; u < U(); ++u)
          for (int g = 0; g < G; ++g) acc[r][u][g] = load(z(panel + u, chunk_step * B + row + r) + g * L);
      }
      multiply<kDropout, Real, R(), U(), G>(acc, a, B * Hp, run_.packed + packed_.recurrent(panel),
                                            packed_.panel_size(), run_.H);
      for (int r = 0; r < R(); ++r) {
        const bool seen = !run_.mask || run_.mask[(row + r) * run_.T + t];
        const bool again = step + 1 < run_.T && reset_at(row + r, step + 1);
        for (int u = 0; u < U(); ++u) one_vector(acc[r][u], row + r, (panel + u) * L, step, seen, again);
      }
    });
  }

  // One vector of units of one row: the cell, or nothing where the step is masked, and everything that is stored.
  EVERYSTEP_INLINE void one_vector(Vec<Real> (&z)[G], int64_t b, int64_t unit, int64_t step, bool seen, bool again) {
    const int64_t H = run_.H, Hp = padded(), lanes = std::min<int64_t>(L, H - unit), at = b * run_.T + step;
    Vec<Real> state[S], tape[G] = {};
    state[0] = load(h_[step % 2] + b * Hp + unit);
    for (int s = 1; s < S; ++s) state[s] = load(other_[s] + b * Hp + unit);
    if (seen)
      Cell::template step<Real>(policy_, z, state, tape);
    else
      for (Vec<Real>& gate : z) gate = Vec<Real>{};
    if (run_.h) store(run_.h + at * H + unit, state[0], lanes);
    if constexpr (S > 1)
      if (run_.c) store(run_.c + at * H + unit, state[1], lanes);
    for (int g = 0; g < G; ++g) {
      if (run_.gates) store(run_.gates + (at * G + g) * H + unit, z[g], lanes);
      if (run_.tape) store(run_.tape + (at * G + g) * H + unit, tape[g], lanes);
    }
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
  Real* z_;                    // [panel][chunk step][row][gate][lane]
};

}  // namespace everystep::EVERYSTEP_ISA
