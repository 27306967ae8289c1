// The gradient of a run of any cell, by reverse accumulation through time.
//
// A step back has two parts: the cell's own gradient dz, unit by unit, and dh = dz R', one product. What does not have
// to wait for the step before (dx = dz W', dW, dR, db) is done in large products, a chunk of steps at a time. The
// chunks depend on B and T alone and each adds one sum to the gradients of the weights, so those do not depend on the
// threads.
#pragma once

#include "product.h"
#include "scratch.h"

namespace everystep::EVERYSTEP_ISA {

template <class Cell, class Real, class Policy>
class Backward {
 public:
  Backward(const RunBackward<Real>& args, const Policy& policy)
      : args_(args), run_(args.run), policy_(policy), recurrent_{G * run_.H, run_.H}, input_{G * run_.H, run_.I} {
    const double step_work = double(run_.B) * run_.H * G * run_.H;
    split_ =
        split(run_.B, recurrent_.count(), step_work, (step_work + double(run_.B) * run_.I * G * run_.H) * run_.T * 2);
    chunk_ = std::clamp<int64_t>(kChunkRows / std::max<int64_t>(run_.B, 1), 1, std::max<int64_t>(run_.T, 1));
    Carver size(nullptr);
    carve(size);
    Carver block(scratch(size.used()));
    carve(block);
  }

  void operator()() {
    parallel(split_.members, [this](int member, int members, Barrier& barrier) {
      const bool rows = split_.rows || members == 1;
      go({rows ? share(run_.B, member, members) : Range{0, run_.B},
          rows ? Range{0, recurrent_.count()} : share(recurrent_.count(), member, members), member, members, !rows,
          barrier});
    });
  }

 private:
  static constexpr int L = kLanes<Real>, G = Cell::G, S = Cell::S, kFirst = Cell::kFirst;
  static constexpr int kColumns = G + Cell::kApart;  // of dz, H each
  static constexpr int64_t kChunkRows = 256;

  // Where dz of gate g stands as the products with h saw that gate; those with x saw it at g.
  static constexpr int recurrent_column(int g) { return Cell::kApart && g == G - 1 ? G : g; }

  struct Member {
    Range rows, panels;
    int member, members;
    bool shares_units;
    Barrier& barrier;
  };

  // What one thread needs for the gradients of the weights, for the rows of one chunk that are not masked.
  struct Gathered {
    const Real **x, **h, **dz;
    Real *panel, *dropped_x, *changed_h;
  };

  int64_t padded() const { return round_up(run_.H, L); }
  int64_t time(int64_t step) const { return run_.backwards ? run_.T - 1 - step : step; }
  bool reset_at(int64_t b, int64_t step) const { return run_.resets && run_.resets[b * run_.T + time(step)]; }
  bool seen_at(int64_t b, int64_t step) const { return !run_.mask || run_.mask[b * run_.T + time(step)]; }
  Real* dz(int64_t chunk_step, int64_t b) const { return dz_ + (chunk_step * run_.B + b) * kColumns * run_.H; }
  const Real* tape(int64_t b, int64_t step, int k) const {
    return run_.tape + ((b * run_.T + step) * Cell::kTaped + k) * run_.H;
  }

  // State s of row b before a step.
  const Real* before(int s, int64_t b, int64_t step) const {
    if (reset_at(b, step)) return run_.reset[s] + b * run_.H;
    if (step == 0) return run_.start[s] + b * run_.H;
    return (s == 0 ? run_.h : run_.c) + (b * run_.T + step - 1) * run_.H;
  }

  void carve(Carver& block) {
    const int64_t rows = chunk_ * run_.B;
    recurrent_packed_ = block.template take<Real>(recurrent_.size());
    input_packed_ = block.template take<Real>(input_.size());
    for (Real*& d : d_) d = block.template take<Real>(run_.B * padded());
    dz_ = block.template take<Real>(rows * kColumns * run_.H);
    gathered_ = block.template take<Gathered>(split_.members);
    for (int member = 0; member < split_.members; ++member) {
      Gathered g{};
      g.x = block.template take<const Real*>(rows);
      g.h = block.template take<const Real*>(rows);
      g.dz = block.template take<const Real*>(rows);
      g.panel = block.template take<Real>(rows * Panels<Real>::kWide);
      if (run_.dropout) g.dropped_x = block.template take<Real>(rows * run_.I);
      if (run_.recurrent_dropout || kFirst < G) g.changed_h = block.template take<Real>(rows * run_.H);
      if (block.used() > 0 && gathered_ready_) gathered_[member] = g;
    }
    gathered_ready_ = true;
  }

  void go(const Member& m) {
    pack_panels_transposed(recurrent_, args_.kernels.recurrent_kernel, share(recurrent_.count(), m.member, m.members),
                           recurrent_packed_);
    pack_panels_transposed(input_, args_.kernels.kernel, share(input_.count(), m.member, m.members), input_packed_);
    begin(m);
    m.barrier.wait();
    for (int64_t end = run_.T; end > 0; end -= std::min(chunk_, end)) {
      const Range steps{std::max<int64_t>(0, end - chunk_), end};
      for (int64_t step = end - 1; step >= steps.begin; --step) {
        cell_gradients(m, step, step - steps.begin);
        if (m.shares_units) m.barrier.wait();
        if constexpr (kFirst < G) {
          reset_gradients(m, step, step - steps.begin);
          if (m.shares_units) m.barrier.wait();
        }
        recurrent_gradients(m, step, step - steps.begin);
      }
      m.barrier.wait();
      input_gradients(m, steps);
      weight_gradients(m, steps);
      m.barrier.wait();
    }
    finish(m);
  }

  // visit(b, unit, lanes) for every vector of units of this member.
  template <class Visit>
  EVERYSTEP_INLINE void for_own_vectors(const Member& m, Visit visit) {
    const int64_t end = std::min(run_.H, m.panels.end * Panels<Real>::kWide);
    for (int64_t b = m.rows.begin; b < m.rows.end; ++b)
      for (int64_t unit = m.panels.begin * Panels<Real>::kWide; unit < end; unit += L)
        visit(b, unit, std::min<int64_t>(L, run_.H - unit));
  }

  void begin(const Member& m) {
    for_own_vectors(m, [&](int64_t b, int64_t unit, int64_t lanes) {
      for (int s = 0; s < S; ++s) {
        const Real* const from = args_.d_last[s];
        store(d_[s] + b * padded() + unit, from ? load(from + b * run_.H + unit, lanes) : Vec<Real>{});
      }
    });
    const auto clear = [&](Real* p, int64_t n) {
      const Range mine = share(p ? n : 0, m.member, m.members);
      std::fill(p + mine.begin, p + mine.end, Real(0));
    };
    clear(args_.d_kernel, run_.I * G * run_.H);
    clear(args_.d_recurrent_kernel, run_.H * G * run_.H);
    clear(args_.d_bias, (1 + Cell::kApart) * G * run_.H);
    if (run_.resets)
      for (int s = 0; s < S; ++s) clear(args_.d_reset[s], run_.B * run_.H);
    if (run_.dropout) clear(args_.d_dropout, G * run_.B * run_.I);
    if (run_.recurrent_dropout) clear(args_.d_recurrent_dropout, G * run_.B * run_.H);
  }

  void finish(const Member& m) {
    for_own_vectors(m, [&](int64_t b, int64_t unit, int64_t lanes) {
      for (int s = 0; s < S; ++s) store(args_.d_start[s] + b * run_.H + unit, load(d_[s] + b * padded() + unit), lanes);
    });
  }

  // A row that starts afresh before this step owes what has arrived to its reset state, not to the step before.
  EVERYSTEP_INLINE Vec<Real> before_reset(int s, int64_t b, int64_t unit, int64_t lanes, int64_t step, Vec<Real> d) {
    if (!reset_at(b, step)) return d;
    Real* const to = args_.d_reset[s] + b * run_.H + unit;
    store(to, load(to, lanes) + d, lanes);
    return Vec<Real>{};
  }

  // dz of this step, and what goes from the states after it straight to those before it.
  void cell_gradients(const Member& m, int64_t step, int64_t chunk_step) {
    const int64_t H = run_.H;
    for_own_vectors(m, [&](int64_t b, int64_t unit, int64_t lanes) {
      const int64_t at = b * run_.T + step;
      Vec<Real> d[S], dz_vectors[kColumns] = {};
      for (int s = 0; s < S; ++s) {
        const Real* const arriving = s == 0 ? args_.d_h : args_.d_c;
        d[s] = load(d_[s] + b * padded() + unit);
        if (arriving) d[s] += load(arriving + at * H + unit, lanes);
      }
      if (seen_at(b, step)) {
        Vec<Real> taped[Cell::kTaped], d_gates[G], old_state[S], new_state[S];
        for (int k = 0; k < Cell::kTaped; ++k) taped[k] = load(tape(b, step, k) + unit, lanes);
        for (int g = 0; g < G; ++g) d_gates[g] = arriving_at_gate(at, g, unit, lanes);
        for (int s = 0; s < S; ++s) {
          old_state[s] = load(before(s, b, step) + unit, lanes);
          new_state[s] = load((s == 0 ? run_.h : run_.c) + at * H + unit, lanes);
        }
        Cell::template gradient<Real>(policy_, taped, old_state, new_state, d_gates, d, dz_vectors);
      }
      for (int n = 0; n < kColumns; ++n) store(dz(chunk_step, b) + n * H + unit, dz_vectors[n], lanes);
      store(d_[0] + b * padded() + unit, d[0]);
      for (int s = 1; s < S; ++s) store(d_[s] + b * padded() + unit, before_reset(s, b, unit, lanes, step, d[s]));
    });
  }

  Vec<Real> arriving_at_gate(int64_t at, int g, int64_t unit, int64_t lanes) const {
    return args_.d_gates ? load(args_.d_gates + (at * G + g) * run_.H + unit, lanes) : Vec<Real>{};
  }

  Real* dh(int64_t b, int64_t unit) const { return d_[0] + b * padded() + unit; }

  // Products of this step's dz with R', over gates [begin, end), for the units of this member.
  template <class Start, class Finish>
  void recurrent_products(const Member& m, int64_t chunk_step, int begin, int end, Start start, Finish finish) {
    const int64_t H = run_.H, shift = (recurrent_column(begin) - begin) * H;
    multiply_panels(
        recurrent_, recurrent_packed_, m.panels, m.rows.size(), {begin * H, end * H},
        [&](int64_t row) { return dz(chunk_step, m.rows.begin + row) + shift; },
        [&](int64_t row, int64_t unit, int64_t) { return start(m.rows.begin + row, unit); },
        [&](int64_t row, int64_t unit, int64_t lanes, Vec<Real> sum) { finish(m.rows.begin + row, unit, lanes, sum); });
  }

  // dh += dz R'; gate by gate where each gate had its own dropout of h.
  void recurrent_gradients(const Member& m, int64_t step, int64_t chunk_step) {
    const int64_t H = run_.H;
    const auto carried = [&](int64_t b, int64_t unit) { return load(dh(b, unit)); };
    const auto nothing = [&](int64_t, int64_t) { return Vec<Real>{}; };
    const auto kept = [&](int64_t b, int64_t unit, int64_t, Vec<Real> sum) { store(dh(b, unit), sum); };
    const auto finished = [&](int64_t b, int64_t unit, int64_t lanes, Vec<Real> sum) {
      store(dh(b, unit), before_reset(0, b, unit, lanes, step, sum));
    };
    if (!run_.recurrent_dropout) {
      if constexpr (Cell::kApart) {
        recurrent_products(m, chunk_step, 0, G - 1, carried, kept);
        recurrent_products(m, chunk_step, G - 1, G, carried, finished);
      } else {
        recurrent_products(m, chunk_step, 0, kFirst, carried, finished);
      }
      return;
    }
    for (int g = 0; g < kFirst; ++g)
      recurrent_products(m, chunk_step, g, g + 1, nothing, [&](int64_t b, int64_t unit, int64_t lanes, Vec<Real> sum) {
        const int64_t at = (g * run_.B + b) * H + unit;
        add_to_dropout(at, b, unit, lanes, step, sum);
        const Vec<Real> d = fma<Real>(sum, load(run_.recurrent_dropout + at, lanes), load(dh(b, unit)));
        g + 1 < kFirst ? kept(b, unit, lanes, d) : finished(b, unit, lanes, d);
      });
  }

  // Where a step has two products: from dz of the candidate to that of the reset gate, and r d(rh) to dh.
  void reset_gradients(const Member& m, int64_t step, int64_t chunk_step) {
    if constexpr (kFirst < G) {
      constexpr int kReset = kFirst - 1, kCandidate = kFirst;
      recurrent_products(
          m, chunk_step, kCandidate, G, [&](int64_t, int64_t) { return Vec<Real>{}; },
          [&](int64_t b, int64_t unit, int64_t lanes, Vec<Real> d_rh) {
            if (!seen_at(b, step)) return;
            const int64_t at = (kCandidate * run_.B + b) * run_.H + unit;
            const Vec<Real> taped = load(tape(b, step, kReset) + unit, lanes);
            const Vec<Real> r = policy_.recurrent_value(taped);
            Vec<Real> h = load(before(0, b, step) + unit, lanes), kept = broadcast(Real(1));
            if (run_.recurrent_dropout) {
              add_to_dropout(at, b, unit, lanes, step, d_rh * r);
              kept = load(run_.recurrent_dropout + at, lanes);
              h *= kept;
            }
            const Vec<Real> dr = arriving_at_gate(b * run_.T + step, kReset, unit, lanes);
            store(dz(chunk_step, b) + kReset * run_.H + unit,
                  Cell::template reset_gradient<Real>(policy_, taped, h, dr, d_rh), lanes);
            store(dh(b, unit), fma<Real>(d_rh * r, kept, load(dh(b, unit))));
          });
    }
  }

  // The gradient of a recurrent dropout: d, the gradient of what it made of h, times h.
  void add_to_dropout(int64_t at, int64_t b, int64_t unit, int64_t lanes, int64_t step, Vec<Real> d) {
    Real* const to = args_.d_recurrent_dropout + at;
    if (seen_at(b, step)) store(to, fma<Real>(d, load(before(0, b, step) + unit, lanes), load(to, lanes)), lanes);
  }

  // dx = dz W', for all rows of a chunk.
  void input_gradients(const Member& m, Range steps) {
    const int64_t H = run_.H, I = run_.I, B = run_.B;
    const auto dx = [&](int64_t b, int64_t chunk_step) {
      return args_.d_x + (b * run_.T + time(steps.begin + chunk_step)) * I;
    };
    if (!run_.dropout) {
      const Range rows = share(steps.size() * B, m.member, m.members);
      return multiply_panels(
          input_, input_packed_, {0, input_.count()}, rows.size(), {0, G * H},
          [&](int64_t row) { return dz_ + (rows.begin + row) * kColumns * H; },
          [](int64_t, int64_t, int64_t) { return Vec<Real>{}; },
          [&](int64_t row, int64_t i, int64_t lanes, Vec<Real> sum) {
            store(dx((rows.begin + row) % B, (rows.begin + row) / B) + i, sum, lanes);
          });
    }
    const Range rows = share(B, m.member, m.members);  // the gradient of a dropout is a sum over the steps of its row
    for (int64_t chunk_step = steps.size() - 1; chunk_step >= 0; --chunk_step)
      for (int g = 0; g < G; ++g)
        multiply_panels(
            input_, input_packed_, {0, input_.count()}, rows.size(), {g * H, (g + 1) * H},
            [&](int64_t row) { return dz(chunk_step, rows.begin + row); },
            [](int64_t, int64_t, int64_t) { return Vec<Real>{}; },
            [&](int64_t row, int64_t i, int64_t lanes, Vec<Real> sum) {
              const int64_t b = rows.begin + row, step = steps.begin + chunk_step, at = (g * B + b) * I + i;
              Real* const d_mask = args_.d_dropout + at;
              const Vec<Real> x = load(run_.x + (b * run_.T + time(step)) * I + i, lanes);
              if (seen_at(b, step)) store(d_mask, fma<Real>(sum, x, load(d_mask, lanes)), lanes);
              const Vec<Real> others = g == 0 ? Vec<Real>{} : load(dx(b, chunk_step) + i, lanes);
              store(dx(b, chunk_step) + i, fma<Real>(sum, load(run_.dropout + at, lanes), others), lanes);
            });
  }

  // dW += x' dz, dR += h' dz, db += dz, over the rows of a chunk that are not masked: what is in padding, a NaN
  // perhaps, reaches nothing. Members share out panels of columns, each inside one gate.
  void weight_gradients(const Member& m, Range steps) {
    const int64_t H = run_.H, I = run_.I, B = run_.B;
    const Gathered& to = gathered_[m.member];
    int64_t rows = 0;
    const auto for_rows = [&](auto visit) {
      rows = 0;
      for (int64_t chunk_step = steps.size() - 1; chunk_step >= 0; --chunk_step)
        for (int64_t b = 0; b < B; ++b)
          if (seen_at(b, steps.begin + chunk_step)) visit(b, steps.begin + chunk_step, chunk_step), ++rows;
    };
    const Panels<Real> columns{0, H};
    int gathered_gate = -1;
    const Range mine = share(G * columns.count(), m.member, m.members);
    for (int64_t panel = mine.begin; panel < mine.end; ++panel) {
      const int g = static_cast<int>(panel / columns.count());
      const int64_t column = panel % columns.count() * columns.kWide, width = columns.width(panel % columns.count());
      if (g != gathered_gate)
        for_rows([&](int64_t b, int64_t step, int64_t chunk_step) {
          const Real* const x = run_.x + (b * run_.T + time(step)) * I;
          to.dz[rows] = dz(chunk_step, b) + g * H;
          to.x[rows] = times(x, run_.dropout, (g * B + b) * I, I, to.dropped_x + (run_.dropout ? rows * I : 0));
          to.h[rows] = seen_h(g, b, step, to.changed_h + (to.changed_h ? rows * H : 0));
        });
      gathered_gate = g;
      switch ((width + L - 1) / L) {
        case 1: weight_columns<1>(to, rows, g, column, width); break;
        case 2: weight_columns<2>(to, rows, g, column, width); break;
        case 3: weight_columns<3>(to, rows, g, column, width); break;
        default: weight_columns<4>(to, rows, g, column, width);
      }
    }
  }

  // x times its row of a dropout, written to `to`; or x itself where there is none.
  static const Real* times(const Real* x, const Real* dropout, int64_t at, int64_t n, Real* to) {
    if (!dropout) return x;
    for (int64_t i = 0; i < n; ++i) to[i] = x[i] * dropout[at + i];
    return to;
  }

  // h before a step, as the product of gate g saw it: dropped, or scaled by the reset gate; written to `to` if so.
  const Real* seen_h(int g, int64_t b, int64_t step, Real* to) const {
    const int64_t H = run_.H;
    const Real* h = times(before(0, b, step), run_.recurrent_dropout, (g * run_.B + b) * H, H, to);
    if (g < kFirst) return h;
    for (int64_t unit = 0; unit < H; unit += L) {
      const int64_t lanes = std::min<int64_t>(L, H - unit);
      const Vec<Real> r = policy_.recurrent_value(load(tape(b, step, kFirst - 1) + unit, lanes));
      store(to + unit, r * load(h + unit, lanes), lanes);
    }
    return to;
  }

  // The gradients of N vectors of columns of the kernels, and of the biases.
  template <int N>
  void weight_columns(const Gathered& from, int64_t rows, int g, int64_t column, int64_t width) {
    const int64_t GH = G * run_.H, to = g * run_.H + column;
    const int64_t apart = (recurrent_column(g) - g) * run_.H;  // from dz as x saw it to dz as h saw it
    pack_columns<N>(from, rows, column, width, args_.d_bias ? args_.d_bias + to : nullptr);
    one_kernel<N>(from, from.x, rows, run_.I, args_.d_kernel + to, width);
    if (Cell::kApart)
      pack_columns<N>(from, rows, column + apart, width, args_.d_bias ? args_.d_bias + GH + to : nullptr);
    one_kernel<N>(from, from.h, rows, run_.H, args_.d_recurrent_kernel + to, width);
  }

  static void add(Real* to, Vec<Real> v, int64_t lanes) { store(to, load(to, lanes) + v, lanes); }

  // Columns of dz, gathered into a panel, and their sums over the rows.
  template <int N>
  void pack_columns(const Gathered& from, int64_t rows, int64_t column, int64_t width, Real* d_bias) {
    Vec<Real> sums[N] = {};
    for (int64_t row = 0; row < rows; ++row)
      for (int n = 0; n < N; ++n) {
        const Vec<Real> v = load(from.dz[row] + column + n * L, width - n * L);
        store(from.panel + (row * N + n) * L, v);
        sums[n] += v;
      }
    if (d_bias)
      for (int n = 0; n < N; ++n) add(d_bias + n * L, sums[n], width - n * L);
  }

  // to += a' panel, a (rows,M).
  template <int N>
  void one_kernel(const Gathered& from, const Real* const* a, int64_t rows, int64_t M, Real* to, int64_t width) {
    for_tiles<N>(M, 1, [&](auto R, auto U, int64_t row, int64_t) {
      if constexpr (U() == 1) {
        Tile<Real, R(), 1, N> acc = {};
        multiply_transposed<Real, R(), N>(acc, a, row, from.panel, rows);
        for (int r = 0; r < R(); ++r)
          for (int n = 0; n < N; ++n) add(to + (row + r) * G * run_.H + n * L, acc[r][0][n], width - n * L);
      }
    });
  }

  const RunBackward<Real>& args_;
  const Run<Real>& run_;
  const Policy policy_;
  const Panels<Real> recurrent_, input_;  // R' (GH,H) and W' (GH,I)
  Split split_;
  int64_t chunk_;
  Real *recurrent_packed_, *input_packed_;
  Real* d_[S];  // (B,Hp) the gradients of the states, in place
  Real* dz_;    // [chunk step][row] (GH)
  Gathered* gathered_;
  bool gathered_ready_ = false;
};

}  // namespace everystep::EVERYSTEP_ISA
