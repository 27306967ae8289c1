// The gradient of a run of any cell, by reverse accumulation through time.
//
// A step back has two parts: the cell's own gradient dz, unit by unit, and dh = dz R', for each gate a sum of its own,
// which are added in the order of the gates. What does not have to wait for the step before (dx = dz W', dW, dR, db) is
// done in large products, a chunk of steps at a time. The chunks depend on B and T alone and each adds one sum to the
// gradients of the weights, so those do not depend on the threads.
#pragma once

#include "jobs.h"
#include "pairs.h"
#include "product.h"
#include "scratch.h"

namespace everystep::EVERYSTEP_ISA {

template <class Cell, class Real, class Policy>
class Backward final : public Job {
 public:
  Backward(const RunBackward<Real>& args, const Policy& policy, int threads, Job* next)
      : Job(split_of(args.run, threads), next),
        args_(args),
        run_(args.run),
        policy_(policy),
        recurrent_{G * run_.H, run_.H},
        input_{G * run_.H, run_.I} {
    chunk_ = std::clamp<int64_t>(kChunkRows / std::max<int64_t>(run_.B, 1), 1, std::max<int64_t>(run_.T, 1));
  }

  std::size_t place(void* block) override {
    Carver carver(block);
    carve(carver);
    return carver.used();
  }

  void go(int member, int members, Barrier& barrier) override {
    const bool rows = split.rows || members == 1;
    const int64_t most = chunk_ * run_.B;
    const Member m{rows ? share_rows(run_, member, members) : Range{0, run_.B},
                   rows ? Range{0, recurrent_.count()} : share(recurrent_.count(), member, members),
                   member,
                   members,
                   !rows,
                   barrier,
                   {pair_row_ + member * most, pair_x_ + member * most, first_pair_ + member * (chunk_ + 1)}};
    pack_panels_transposed(recurrent_, args_.kernels.recurrent_kernel, share(recurrent_.count(), member, members),
                           recurrent_packed_);
    if (wants_dx())
      pack_panels_transposed(input_, args_.kernels.kernel, share(input_.count(), member, members), input_packed_);
    begin(m);
    barrier.wait(member);
    for (int64_t end = run_.T; end > 0; end -= std::min(chunk_, end)) {
      const Range steps{std::max<int64_t>(0, end - chunk_), end};
      m.pairs.list(run_, {0, run_.B}, end - 1, steps.size(), true);
      for (int64_t step = end - 1; step >= steps.begin; --step) {
        const Range pairs = m.pairs.of(end - 1 - step, m.rows);
        cell_gradients(m, step, pairs);
        if (m.shares_units) barrier.wait(member);
        if constexpr (kFirst < G) {
          reset_gradients(m, step, pairs);
          if (m.shares_units) barrier.wait(member);
        }
        recurrent_gradients(m, step, pairs);
        if (pairs.size() < m.rows.size()) carry(m, step);
      }
      barrier.wait(member);
      if (wants_dx()) input_gradients(m, steps);
      if (args_.d_kernel || args_.d_recurrent_kernel || args_.d_bias) weight_gradients(m, steps);
      barrier.wait(member);
    }
    finish(m);
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
    Pairs pairs;  // of all rows
  };

  // Where the steps cannot be shared out, the products that do not wait for them still can.
  static Split split_of(const Run<Real>& run, int threads) {
    const double step_work = double(run.B) * run.H * G * run.H;
    const double all_work = (step_work + double(run.B) * run.I * G * run.H) * run.T * 2;
    const Split steps = everystep::split(threads, run.B, Panels<Real>{G * run.H, run.H}.count(), step_work, all_work,
                                         double(run.H) * G * run.H * sizeof(Real));
    if (steps.members > 1 || all_work / 100 < kWorthWaking) return steps;
    return {static_cast<int>(std::min<int64_t>(threads, G * Panels<Real>{0, run.H}.count())), true};
  }

  // Whether dz W' is wanted: for itself, or for the gradient of what scales x.
  bool wants_dx() const { return args_.d_x || (run_.dropout && args_.d_dropout); }

  // Where a gradient is written; null where it is not wanted.
  static Real* wanted(Real* gradient, int64_t at) { return gradient ? gradient + at : nullptr; }

  int64_t padded() const { return round_up(run_.H, L); }
  int64_t columns_next() const { return round_up(chunk_ * run_.B, L); }
  Real* dz(int64_t pair) const { return dz_ + pair * dz_next(); }
  int64_t dz_next() const { return kColumns * run_.H; }
  Real* d(int s, int64_t b, int64_t unit) const { return d_[s] + b * padded() + unit; }
  const Real* tape(int64_t b, int64_t step, int k) const {
    return run_.tape + ((b * run_.T + step) * Cell::kTaped + k) * run_.H;
  }

  // State s of row b before a step.
  const Real* before(int s, int64_t b, int64_t step) const {
    if (reset_at(run_, b, step)) return run_.reset[s] + b * run_.H;
    if (step == 0) return run_.start[s] + b * run_.H;
    return (s == 0 ? run_.h : run_.c) + (b * run_.T + step - 1) * run_.H;
  }

  void carve(Carver& block) {
    const int64_t most = chunk_ * run_.B, all = split.members * most;
    recurrent_packed_ = block.template take<Real>(recurrent_.size());
    input_packed_ = block.template take<Real>(input_.size());
    for (Real*& d : d_) d = block.template take<Real>(run_.B * padded());
    dz_ = block.template take<Real>(most * dz_next());
    if (run_.recurrent_dropout || kFirst < G) part_h_ = block.template take<Real>(run_.B * padded());
    if (run_.dropout) part_x_ = block.template take<Real>(run_.B * run_.I);
    pair_row_ = block.template take<int64_t>(all);
    pair_x_ = block.template take<int64_t>(all);
    first_pair_ = block.template take<int64_t>(split.members * (chunk_ + 1));
    rows_ = block.template take<const Real*>(all);
    panels_ = block.template take<Real>(all * Panels<Real>::kWide);
    x_columns_ = block.template take<Real>(split.members * run_.I * columns_next());
    h_columns_ = block.template take<Real>(split.members * run_.H * columns_next());
    if (run_.dropout) dropped_x_ = block.template take<Real>(all * run_.I);
    if (run_.recurrent_dropout || kFirst < G) changed_h_ = block.template take<Real>(all * run_.H);
  }

  // visit(unit, lanes) for every vector of units of this member.
  template <class Visit>
  EVERYSTEP_INLINE void for_own_units(const Member& m, Visit visit) {
    const int64_t end = std::min(run_.H, m.panels.end * Panels<Real>::kWide);
    for (int64_t unit = m.panels.begin * Panels<Real>::kWide; unit < end; unit += L)
      visit(unit, std::min<int64_t>(L, run_.H - unit));
  }

  void begin(const Member& m) {
    for (int64_t b = m.rows.begin; b < m.rows.end; ++b)
      for_own_units(m, [&](int64_t unit, int64_t lanes) {
        for (int s = 0; s < S; ++s) {
          const Real* const from = args_.d_last[s];
          store(d(s, b, unit), from ? load(from + b * run_.H + unit, lanes) : Vec<Real>{});
        }
      });
    const auto clear = [&](Real* p, int64_t n) {
      const Range mine = share(p ? n : 0, m.member, m.members);
      std::fill(p + mine.begin, p + mine.end, Real(0));
    };
    clear(args_.d_kernel, run_.I * G * run_.H);
    clear(args_.d_recurrent_kernel, run_.H * G * run_.H);
    clear(args_.d_bias, (1 + Cell::kApart) * G * run_.H);
    if (run_.mask) clear(args_.d_x, run_.B * run_.T * run_.I);  // masked steps keep that
    if (run_.resets)
      for (int s = 0; s < S; ++s) clear(args_.d_reset[s], run_.B * run_.H);
    if (run_.dropout) clear(args_.d_dropout, G * run_.B * run_.I);
    if (run_.recurrent_dropout) clear(args_.d_recurrent_dropout, G * run_.B * run_.H);
  }

  void finish(const Member& m) {
    for (int64_t b = m.rows.begin; b < m.rows.end; ++b)
      for_own_units(m, [&](int64_t unit, int64_t lanes) {
        for (int s = 0; s < S; ++s)
          if (Real* const to = wanted(args_.d_start[s], b * run_.H + unit)) store(to, load(d(s, b, unit)), lanes);
      });
  }

  // A row that starts afresh before this step owes what has arrived to its reset state, not to the step before.
  EVERYSTEP_INLINE Vec<Real> before_reset(int s, int64_t b, int64_t unit, int64_t lanes, int64_t step, Vec<Real> v) {
    if (!reset_at(run_, b, step)) return v;
    if (Real* const to = wanted(args_.d_reset[s], b * run_.H + unit)) store(to, load(to, lanes) + v, lanes);
    return Vec<Real>{};
  }

  // The gradient of state s after a step: from the step after it, and what arrives from outside.
  EVERYSTEP_INLINE Vec<Real> after(int s, int64_t b, int64_t unit, int64_t lanes, int64_t step) const {
    const Real* const arriving = s == 0 ? args_.d_h : args_.d_c;
    const Vec<Real> v = load(d(s, b, unit));
    return arriving ? v + load(arriving + (b * run_.T + step) * run_.H + unit, lanes) : v;
  }

  // dz of this step, and what goes from the states after it straight to those before it.
  void cell_gradients(const Member& m, int64_t step, Range pairs) {
    const int64_t H = run_.H;
    for (int64_t pair = pairs.begin; pair < pairs.end; ++pair) {
      const int64_t b = m.pairs.row[pair], at = b * run_.T + step;
      for_own_units(m, [&](int64_t unit, int64_t lanes) __attribute__((always_inline)) {
        Vec<Real> taped[Cell::kTaped], d_gates[G], old_state[S], new_state[S], d_state[S], dz_vectors[kColumns] = {};
        for (int k = 0; k < Cell::kTaped; ++k) taped[k] = load(tape(b, step, k) + unit, lanes);
        for (int g = 0; g < G; ++g) d_gates[g] = arriving_at_gate(at, g, unit, lanes);
        for (int s = 0; s < S; ++s) {
          old_state[s] = load(before(s, b, step) + unit, lanes);
          new_state[s] = load((s == 0 ? run_.h : run_.c) + at * H + unit, lanes);
          d_state[s] = after(s, b, unit, lanes, step);
        }
        Cell::template gradient<Real>(policy_, taped, old_state, new_state, d_gates, d_state, dz_vectors);
        for (int n = 0; n < kColumns; ++n) store(dz(pair) + n * H + unit, dz_vectors[n], lanes);
        store(d(0, b, unit), d_state[0]);
        for (int s = 1; s < S; ++s) store(d(s, b, unit), before_reset(s, b, unit, lanes, step, d_state[s]));
      });
    }
  }

  // Rows that are masked at a step hand on what arrives.
  void carry(const Member& m, int64_t step) {
    for (int64_t b = m.rows.begin; b < m.rows.end; ++b)
      if (!seen_at(run_, b, step))
        for_own_units(m, [&](int64_t unit, int64_t lanes) {
          for (int s = 0; s < S; ++s)
            store(d(s, b, unit), before_reset(s, b, unit, lanes, step, after(s, b, unit, lanes, step)));
        });
  }

  Vec<Real> arriving_at_gate(int64_t at, int g, int64_t unit, int64_t lanes) const {
    return args_.d_gates ? load(args_.d_gates + (at * G + g) * run_.H + unit, lanes) : Vec<Real>{};
  }

  // out = dz R' over gates [begin, end), or out += it, for some pairs of one step and the units of this member. Each
  // gate's part is a sum of its own.
  template <int begin, int end>
  void recurrent_products(const Member& m, int64_t step, Range pairs, Real* out, bool add) {
    const int64_t H = run_.H;
    multiply_panels_in_parts<end - begin, Real>(recurrent_, recurrent_packed_, m.panels, {begin * H, end * H},
                                                pairs.size(),
                                                {dz(pairs.begin) + recurrent_column(begin) * H, dz_next()},
                                                {out, padded(), m.pairs.row + pairs.begin}, add, step % 2 == 1);
  }

  // visit(pair, b, unit, lanes) for every vector of some pairs.
  template <class Visit>
  void for_pairs(const Member& m, Range pairs, Visit visit) {
    for (int64_t pair = pairs.begin; pair < pairs.end; ++pair)
      for_own_units(m, [&](int64_t unit, int64_t lanes) { visit(pair, m.pairs.row[pair], unit, lanes); });
  }

  // visit(g) for the first n gates, g a Constant.
  template <int n, class Visit>
  static void for_gates(Visit visit) {
    [&]<int... g>(std::integer_sequence<int, g...>) {
      (visit(Constant<g>{}), ...);
    }(std::make_integer_sequence<int, n>{});
  }

  // dh += dz R'; gate by gate where each gate had its own dropout of h.
  void recurrent_gradients(const Member& m, int64_t step, Range pairs) {
    const int64_t H = run_.H;
    if (run_.recurrent_dropout) {
      for_gates<kFirst>([&](auto g) {
        recurrent_products<g(), g() + 1>(m, step, pairs, part_h_, false);
        for_pairs(m, pairs, [&](int64_t, int64_t b, int64_t unit, int64_t lanes) {
          const Vec<Real> part = load(part_h_ + b * padded() + unit, lanes);
          const int64_t at = (g() * run_.B + b) * H + unit;
          add_to_dropout(at, b, unit, lanes, step, part);
          store(d(0, b, unit), fma<Real>(part, load(run_.recurrent_dropout + at, lanes), load(d(0, b, unit))));
        });
      });
    } else if constexpr (Cell::kApart) {
      recurrent_products<0, G - 1>(m, step, pairs, d_[0], true);
      recurrent_products<G - 1, G>(m, step, pairs, d_[0], true);
    } else {
      recurrent_products<0, kFirst>(m, step, pairs, d_[0], true);
    }
    if (run_.resets)
      for_pairs(m, pairs, [&](int64_t, int64_t b, int64_t unit, int64_t lanes) {
        store(d(0, b, unit), before_reset(0, b, unit, lanes, step, load(d(0, b, unit))));
      });
  }

  // Where a step has two products: from dz of the candidate to that of the reset gate, and r d(rh) to dh.
  void reset_gradients(const Member& m, int64_t step, Range pairs) {
    if constexpr (kFirst < G) {
      constexpr int kReset = kFirst - 1, kCandidate = kFirst;
      recurrent_products<kCandidate, G>(m, step, pairs, part_h_, false);
      for_pairs(m, pairs, [&](int64_t pair, int64_t b, int64_t unit, int64_t lanes) {
        const int64_t at = (kCandidate * run_.B + b) * run_.H + unit;
        const Vec<Real> d_rh = load(part_h_ + b * padded() + unit, lanes);
        const Vec<Real> taped = load(tape(b, step, kReset) + unit, lanes);
        const Vec<Real> r = policy_.recurrent_value(taped);
        Vec<Real> h = load(before(0, b, step) + unit, lanes), kept = broadcast(Real(1));
        if (run_.recurrent_dropout) {
          add_to_dropout(at, b, unit, lanes, step, d_rh * r);
          kept = load(run_.recurrent_dropout + at, lanes);
          h *= kept;
        }
        const Vec<Real> dr = arriving_at_gate(b * run_.T + step, kReset, unit, lanes);
        store(dz(pair) + kReset * run_.H + unit, Cell::template reset_gradient<Real>(policy_, taped, h, dr, d_rh),
              lanes);
        store(d(0, b, unit), fma<Real>(d_rh * r, kept, load(d(0, b, unit))));
      });
    }
  }

  // The gradient of a recurrent dropout: v, the gradient of what it made of h, times h.
  void add_to_dropout(int64_t at, int64_t b, int64_t unit, int64_t lanes, int64_t step, Vec<Real> v) {
    if (Real* const to = wanted(args_.d_recurrent_dropout, at))
      store(to, fma<Real>(v, load(before(0, b, step) + unit, lanes), load(to, lanes)), lanes);
  }

  // dx = dz W', for all pairs of a chunk of steps.
  void input_gradients(const Member& m, Range steps) {
    const int64_t H = run_.H, I = run_.I, B = run_.B;
    const Pairs& all = m.pairs;
    if (!run_.dropout) {
      const Range pairs = share(all.first[steps.size()], m.member, m.members);
      return multiply_panels<Real>(input_, input_packed_, {0, input_.count()}, {0, G * H}, pairs.size(),
                                   {dz(pairs.begin), dz_next()}, {args_.d_x, I, all.x + pairs.begin});
    }
    const Range rows = share(B, m.member, m.members);  // the gradient of a dropout is a sum over the steps of its row
    for (int64_t k = 0; k < steps.size(); ++k) {
      const Range pairs = all.of(k, rows);
      for (int g = 0; g < G; ++g) {
        multiply_panels<Real>(input_, input_packed_, {0, input_.count()}, {g * H, (g + 1) * H}, pairs.size(),
                              {dz(pairs.begin) + g * H, dz_next()}, {part_x_, I, all.row + pairs.begin});
        for (int64_t pair = pairs.begin; pair < pairs.end; ++pair)
          for (int64_t i = 0; i < I; i += L) {
            const int64_t b = all.row[pair], at = (g * B + b) * I + i, lanes = std::min<int64_t>(L, I - i);
            const Vec<Real> part = load(part_x_ + b * I + i, lanes), x = load(run_.x + all.x[pair] * I + i, lanes);
            if (Real* const d_mask = wanted(args_.d_dropout, at))
              store(d_mask, fma<Real>(part, x, load(d_mask, lanes)), lanes);
            if (Real* const dx = wanted(args_.d_x, all.x[pair] * I + i))
              store(dx, fma<Real>(part, load(run_.dropout + at, lanes), g == 0 ? Vec<Real>{} : load(dx, lanes)), lanes);
          }
      }
    }
  }

  // What one thread has of the pairs of a chunk for one gate: x and h as its products saw them, column by column, so
  // that the products read them front to back; and dz.
  struct Gathered {
    int64_t rows;
    Rows<Real> x, h;
    Real* panel;
  };

  // dW += x' dz, dR += h' dz, db += dz, over the pairs of a chunk: what is in padding, a NaN perhaps, reaches nothing.
  // Members share out panels of columns, each inside one gate.
  void weight_gradients(const Member& m, Range steps) {
    const int64_t H = run_.H, I = run_.I, most = m.member * chunk_ * run_.B;
    const Pairs& all = m.pairs;
    const Gathered to{all.first[steps.size()],
                      {x_columns_ + m.member * I * columns_next(), columns_next()},
                      {h_columns_ + m.member * H * columns_next(), columns_next()},
                      panels_ + most * Panels<Real>::kWide};
    const Panels<Real> columns{0, H};
    int gathered = -1;  // the gate
    const Range mine = share(G * columns.count(), m.member, m.members);
    for (int64_t panel = mine.begin; panel < mine.end; ++panel) {
      const int g = static_cast<int>(panel / columns.count());
      const int64_t column = panel % columns.count() * columns.kWide, width = columns.width(panel % columns.count());
      const bool first = gathered < 0, next_gate = g != gathered;
      if (args_.d_kernel && (first || (next_gate && run_.dropout))) gather_x(m, g, steps, to.x);
      if (args_.d_recurrent_kernel &&
          (first || (next_gate && (run_.recurrent_dropout || (g < kFirst) != (gathered < kFirst)))))
        gather_h(m, g, steps, to.h);
      gathered = g;
      switch ((width + L - 1) / L) {
        case 1: weight_columns<1>(to, g, column, width); break;
        case 2: weight_columns<2>(to, g, column, width); break;
        case 3: weight_columns<3>(to, g, column, width); break;
        default: weight_columns<4>(to, g, column, width);
      }
    }
  }

  // visit(pair, b, step) for the pairs of a chunk, from its last step to its first.
  template <class Visit>
  void for_chunk(const Member& m, Range steps, Visit visit) const {
    for (int64_t k = 0; k < steps.size(); ++k)
      for (int64_t pair = m.pairs.first[k]; pair < m.pairs.first[k + 1]; ++pair)
        visit(pair, m.pairs.row[pair], steps.end - 1 - k);
  }

  void gather_x(const Member& m, int g, Range steps, Rows<Real> to) {
    const int64_t I = run_.I, most = m.member * chunk_ * run_.B;
    const Real** const rows = rows_ + most;
    Real* const dropped = run_.dropout ? dropped_x_ + most * I : nullptr;
    for_chunk(m, steps, [&](int64_t pair, int64_t b, int64_t) {
      rows[pair] = times(run_.x + m.pairs.x[pair] * I, run_.dropout, (g * run_.B + b) * I, I,
                         dropped ? dropped + pair * I : nullptr);
    });
    transpose_rows(m.pairs.first[steps.size()], I, rows, to.first, to.next);
  }

  void gather_h(const Member& m, int g, Range steps, Rows<Real> to) {
    const int64_t H = run_.H, most = m.member * chunk_ * run_.B;
    const Real** const rows = rows_ + most;
    Real* const changed = changed_h_ ? changed_h_ + most * H : nullptr;
    for_chunk(m, steps, [&](int64_t pair, int64_t b, int64_t step) {
      rows[pair] = seen_h(g, b, step, changed ? changed + pair * H : nullptr);
    });
    transpose_rows(m.pairs.first[steps.size()], H, rows, to.first, to.next);
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
  void weight_columns(const Gathered& from, int g, int64_t column, int64_t width) {
    const int64_t GH = G * run_.H, to = g * run_.H + column;
    pack_columns<N>(from, to, width, args_.d_bias ? args_.d_bias + to : nullptr);
    if (args_.d_kernel)
      add_product<N, Real>(from.rows, run_.I, {from.x.first, from.x.next}, from.panel, {args_.d_kernel + to, GH},
                           width);
    if (Cell::kApart)
      pack_columns<N>(from, recurrent_column(g) * run_.H + column, width,
                      args_.d_bias ? args_.d_bias + GH + to : nullptr);
    if (args_.d_recurrent_kernel)
      add_product<N, Real>(from.rows, run_.H, {from.h.first, from.h.next}, from.panel,
                           {args_.d_recurrent_kernel + to, GH}, width);
  }

  // Columns of dz, gathered into a panel, and their sums over the pairs.
  template <int N>
  void pack_columns(const Gathered& from, int64_t column, int64_t width, Real* d_bias) {
    Vec<Real> sums[N] = {};
    for (int64_t pair = 0; pair < from.rows; ++pair)
      for (int n = 0; n < N; ++n) {
        const Vec<Real> v = load(dz(pair) + column + n * L, width - n * L);
        store(from.panel + (pair * N + n) * L, v);
        sums[n] += v;
      }
    if (d_bias)
      for (int n = 0; n < N; ++n) {
        Real* const to = d_bias + n * L;
        store(to, load(to, width - n * L) + sums[n], width - n * L);
      }
  }

  const RunBackward<Real>& args_;
  const Run<Real>& run_;
  const Policy policy_;
  const Panels<Real> recurrent_, input_;  // R' (GH,H) and W' (GH,I)
  int64_t chunk_;
  Real *recurrent_packed_, *input_packed_;
  Real* d_[S];                                  // (B,Hp) the gradients of the states, in place
  Real* dz_;                                    // (chunk pairs,columns,H)
  Real *part_h_ = nullptr, *part_x_ = nullptr;  // (B,Hp) and (B,I): one gate's part
  int64_t *pair_row_, *pair_x_, *first_pair_;   // of each member's Pairs
  const Real** rows_;                           // (members,chunk pairs), as are the next three
  Real *panels_, *dropped_x_ = nullptr, *changed_h_ = nullptr;
  Real *x_columns_, *h_columns_;  // (members,I,chunk pairs) and (members,H,chunk pairs)
};

}  // namespace everystep::EVERYSTEP_ISA
