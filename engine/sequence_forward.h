// A run of any cell over a batch of sequences, forward.
//
// Time goes in chunks whose input products x W + b stay in cache: they are one large product, and only h R is left to
// the steps. A thread owns rows of the batch or panels of units (a panel is one vector of units with all its gates).
#pragma once

#include "jobs.h"
#include "pairs.h"
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

// Packs some panels.
template <class Cell, class Real>
void pack(int64_t I, int64_t H, const Kernels<Real>& w, Range panels, Real* packed) {
  constexpr int L = kLanes<Real>, G = Cell::G;
  constexpr int kFirst = Cell::kFirst;
  const Packed<Cell, Real> at{I, H};
  // Gates [begin, end) of one row (GH) of a kernel, or of a bias.
  const auto row = [&](const Real* from, int begin, int end, int64_t panel, Real* to) {
    for (int g = begin; g < end; ++g, to += L)
      store(to, from ? load(from + g * H + panel * L, H - panel * L) : Vec<Real>{});
  };
  for (int64_t panel = panels.begin; panel < panels.end; ++panel) {
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

// z = b + x W, G vectors for each row of x and each panel. kGate: x of gate g is `gate` numbers further for each g.
template <int G, bool kGate, class Real>
__attribute__((noinline)) void multiply_inputs(int64_t rows, Range panels, Rows<const Real> x, int64_t gate,
                                               Rows<const Real> biases, Rows<const Real> kernels, int64_t I,
                                               Rows<Real> z) {
  constexpr int L = kLanes<Real>;
  for_tiles<G>(rows, panels.size(), [&](auto R, auto U, int64_t row, int64_t panel) {
    panel += panels.begin;
    const Real* a[R()];
    for (int r = 0; r < R(); ++r) a[r] = x[row + r];
    Tile<Real, R(), U(), G> acc;
    for (int u = 0; u < U(); ++u)
      for (int g = 0; g < G; ++g) {
        const Vec<Real> bias = load(biases[panel + u] + g * L);
        for (int r = 0; r < R(); ++r) acc[r][u][g] = bias;
      }
    multiply<kGate ? Reads::gates : Reads::same, Real, R(), U(), G>(acc, a, gate, kernels[panel], kernels.next, I);
    for (int r = 0; r < R(); ++r)
      for (int u = 0; u < U(); ++u)
        for (int g = 0; g < G; ++g) store(z[panel + u] + ((row + r) * G + g) * L, acc[r][u][g]);
  });
}

template <class Cell, class Real, class Policy>
class Forward final : public Job {
 public:
  Forward(const Run<Real>& run, const Policy& policy, int threads, Job* next)
      : Job(split_of(run, threads), next), run_(run), policy_(policy), packed_{run.I, run.H} {
    const int64_t step_bytes = run.B * G * padded() * sizeof(Real);
    chunk_ = std::clamp<int64_t>(kChunkBytes * split.members / std::max<int64_t>(step_bytes, 1), 1,
                                 std::max<int64_t>(run.T, 1));
    streams_tape_ = kStreams && run.tape && run.H % L == 0 &&
                    run.B * run.T * Cell::kTaped * run.H * int64_t{sizeof(Real)} > kLargeTape &&
                    reinterpret_cast<std::uintptr_t>(run.tape) % kVectorBytes == 0;
  }

  std::size_t place(void* block) override {
    Carver carver(block);
    carve(carver);
    return carver.used();
  }

  void go(int member, int members, Barrier& barrier) override {
    const bool rows = split.rows || members == 1;
    const Member m{
        rows ? share_rows(run_, member, members) : Range{0, run_.B},
        rows ? Range{0, packed_.panels()} : share(packed_.panels(), member, members),
        member,
        members,
        rows ? nullptr : &barrier,
        {pair_row_ + member * chunk_ * run_.B, pair_x_ + member * chunk_ * run_.B, first_pair_ + member * (chunk_ + 1)},
        now_ + member * now_next()};
    begin(m);
    for (int64_t first = 0; first < run_.T; first += chunk_) {
      const Range steps{first, std::min(first + chunk_, run_.T)};
      m.pairs.list(run_, m.rows, first, steps.size());
      if (run_.dropout)
        input_products<true>(m, steps);
      else
        input_products<false>(m, steps);
      for (int64_t step = steps.begin; step < steps.end; ++step) {
        const Range pairs = m.pairs.of(step - first);
        if (run_.recurrent_dropout)
          one_step<true>(m, step, pairs);
        else
          one_step<false>(m, step, pairs);
        if (pairs.size() < m.rows.size()) carry(m, step);
        for (int64_t pair = pairs.begin; pair < pairs.end; ++pair) m.now[m.pairs.row[pair]] ^= 1;
        m.wait();
      }
    }
    finish(m);
  }

 private:
  static constexpr int L = kLanes<Real>, G = Cell::G, S = Cell::S;
  static constexpr bool kTwoProducts = Cell::kFirst < G;
  static constexpr int64_t kChunkBytes = 128 << 10;  // of input products for each thread: a part of its L2
  static constexpr int64_t kLargeTape = 2 << 20;     // bytes: no core's own cache keeps it for the backward pass

  struct Member {
    Range rows, panels;
    int member, members;
    Barrier* barrier;  // null where nobody else needs this member's units
    Pairs pairs;
    int64_t* now;  // of each row: in which of its two places h is
    void wait() const {
      if (barrier) barrier->wait(member);
    }
  };

  static Split split_of(const Run<Real>& run, int threads) {
    const double step_work = double(run.B) * run.H * G * run.H;
    return everystep::split(threads, run.B, Packed<Cell, Real>{run.I, run.H}.panels(), step_work,
                            (step_work + double(run.B) * run.I * G * run.H) * run.T,
                            double(run.H) * G * run.H * sizeof(Real));
  }

  int64_t padded() const { return packed_.panels() * L; }
  int64_t now_next() const { return round_up(run_.B, 8); }  // members write theirs at every step: no cache line of two

  void carve(Carver& block) {
    const int64_t B = run_.B, Hp = padded();
    h_ = block.template take<Real>(2 * B * Hp);
    for (int s = 1; s < S; ++s) other_[s] = block.template take<Real>(B * Hp);
    if (kTwoProducts) reset_h_ = block.template take<Real>(B * Hp);
    z_ = block.template take<Real>(chunk_ * B * G * Hp);
    if (run_.dropout) dropped_x_ = block.template take<Real>(G * chunk_ * B * run_.I);
    if (run_.recurrent_dropout) dropped_h_ = block.template take<Real>(2 * G * B * Hp);
    now_ = block.template take<int64_t>(split.members * now_next());
    pair_row_ = block.template take<int64_t>(split.members * chunk_ * B);
    pair_x_ = block.template take<int64_t>(split.members * chunk_ * B);
    first_pair_ = block.template take<int64_t>(split.members * (chunk_ + 1));
  }

  // The states before the first step, or what a reset there puts in their place.
  void begin(const Member& m) {
    std::fill(m.now, m.now + run_.B, 0);
    for_own_vectors(m, [&](int64_t b, int64_t unit, int64_t lanes) {
      const Real* const* from = run_.T > 0 && reset_at(run_, b, 0) ? run_.reset : run_.start;
      put_h(0, b, unit, load(from[0] + b * run_.H + unit, lanes));
      for (int s = 1; s < S; ++s) store(other_[s] + b * padded() + unit, load(from[s] + b * run_.H + unit, lanes));
    });
    m.wait();
  }

  void finish(const Member& m) {
    if (streams_tape_) end_streaming();
    for_own_vectors(m, [&](int64_t b, int64_t unit, int64_t lanes) {
      store(run_.last[0] + b * run_.H + unit, load(h(m.now[b], b) + unit), lanes);
      for (int s = 1; s < S; ++s) store(run_.last[s] + b * run_.H + unit, load(other_[s] + b * padded() + unit), lanes);
    });
  }

  template <class Visit>
  void for_own_vectors(const Member& m, Visit visit) {
    for (int64_t b = m.rows.begin; b < m.rows.end; ++b)
      for (int64_t panel = m.panels.begin; panel < m.panels.end; ++panel)
        visit(b, panel * L, std::min<int64_t>(L, run_.H - panel * L));
  }

  // h of a row has two places: a step reads it in one and writes it to the other, while other members still read.
  Real* h(int64_t place, int64_t b) const { return h_ + (place * run_.B + b) * padded(); }
  Real* dropped_h(int64_t place, int64_t b) const { return dropped_h_ + (place * G * run_.B + b) * padded(); }

  // h as the products of the next step will read it: times its dropout, gate by gate, where there is one.
  EVERYSTEP_INLINE void put_h(int64_t place, int64_t b, int64_t unit, Vec<Real> v) {
    store(h(place, b) + unit, v);
    if (run_.recurrent_dropout)
      for (int g = 0; g < G; ++g) {
        const Vec<Real> kept =
            load(run_.recurrent_dropout + (g * run_.B + b) * run_.H + unit, std::min<int64_t>(L, run_.H - unit));
        store(dropped_h(place, b) + g * run_.B * padded() + unit, v * kept);
      }
  }

  // What a member has of z, one pair after the other. Members that share out rows each have their own part.
  Rows<Real> z(const Member& m) const { return {z_ + chunk_ * m.rows.begin * G * L, chunk_ * run_.B * G * L}; }

  // z = b + x W for all pairs of a chunk of steps.
  template <bool kDropout>
  void input_products(const Member& m, Range steps) {
    const int64_t B = run_.B, I = run_.I, pairs = m.pairs.first[steps.size()], gate = chunk_ * B * I;
    Rows<const Real> x{run_.x, I, m.pairs.x};
    if constexpr (kDropout) {
      Real* const dropped = dropped_x_ + chunk_ * m.rows.begin * I;
      // Members that share units also share the work of multiplying by the dropout.
      const Range mine = m.barrier ? share(pairs, m.member, m.members) : Range{0, pairs};
      for (int64_t pair = mine.begin; pair < mine.end; ++pair)
        for (int g = 0; g < G; ++g)
          for (int64_t i = 0; i < I; ++i)
            dropped[g * gate + pair * I + i] = x[pair][i] * run_.dropout[(g * B + m.pairs.row[pair]) * I + i];
      m.wait();
      x = {dropped, I};
    }
    multiply_inputs<G, kDropout, Real>(pairs, m.panels, x, gate, {run_.packed, packed_.bias(1)},
                                       {run_.packed + packed_.input(0), packed_.panel_size()}, I, z(m));
  }

  // z += h R, then the cell, for every pair of a step and every unit of this member.
  template <bool kDropout>
  void one_step(const Member& m, int64_t step, Range pairs) {
    const auto seen_h = [&](int64_t b) { return kDropout ? dropped_h(m.now[b], b) : h(m.now[b], b); };
    if constexpr (kTwoProducts) {
      constexpr int kFirst = Cell::kFirst;
      const int64_t candidate = kDropout ? kFirst * run_.B * padded() : 0;
      const auto reset_h = [&](int64_t b) { return reset_h_ + b * padded(); };
      recurrent_products<kDropout, 0, kFirst>(
          m, step, pairs, seen_h, [&](Vec<Real>(&sums)[kFirst], int64_t b, int64_t unit, Real* from_x) {
            for (int g = 0; g < kFirst; ++g) store(from_x + g * L, sums[g]);
            store(reset_h(b) + unit, Cell::template reset<Real>(policy_, sums) * load(seen_h(b) + candidate + unit));
          });
      m.wait();
      recurrent_products<false, kFirst, G>(
          m, step, pairs, reset_h, [&](Vec<Real>(&sums)[G - kFirst], int64_t b, int64_t unit, const Real* from_x) {
            Vec<Real> z[G];
            for (int g = 0; g < G; ++g) z[g] = g < kFirst ? load(from_x + g * L) : sums[g - kFirst];
            one_vector(m, z, b, unit, step);
          });
    } else {
      recurrent_products<kDropout, 0, G>(m, step, pairs, seen_h,
                                         [&](Vec<Real>(&sums)[G], int64_t b, int64_t unit, const Real* from_x) {
                                           if constexpr (Cell::kApart) {
                                             Vec<Real> z[G + 1];
                                             for (int g = 0; g < G; ++g) z[g] = sums[g];
                                             z[G] = load(from_x + (G - 1) * L);
                                             one_vector(m, z, b, unit, step);
                                           } else {
                                             one_vector(m, sums, b, unit, step);
                                           }
                                         });
    }
  }

  // Adds h R to what gates [begin, end) have from x, and hands on each vector of units; h_of(b) may be another than h.
  template <bool kDropout, int begin, int end, class HOf, class Finish>
  EVERYSTEP_INLINE void recurrent_products(const Member& m, int64_t step, Range pairs, HOf h_of, Finish finish) {
    constexpr int N = end - begin;
    constexpr bool kOwnBias = Cell::kApart && end == G;  // the last gate begins with its recurrent bias, x's part waits
    const Rows<Real> z = this->z(m);
    for_tiles<N>(
        pairs.size(), m.panels.size(),
        [&](auto R, auto U, int64_t pair, int64_t panel) {
          pair += pairs.begin, panel += m.panels.begin;
          const auto from_x = [&](int r, int u) { return z[panel + u] + (pair + r) * G * L; };
          const Real* a[R()];
          Tile<Real, R(), U(), N> acc;
          for (int r = 0; r < R(); ++r) {
            a[r] = h_of(m.pairs.row[pair + r]);
            for (int u = 0; u < U(); ++u)
              for (int n = 0; n < N; ++n)
                acc[r][u][n] = kOwnBias && n == N - 1 ? load(run_.packed + packed_.bias(panel + u) + G * L)
                                                      : load(from_x(r, u) + (begin + n) * L);
          }
          multiply<kDropout ? Reads::gates : Reads::same, Real, R(), U(), N>(
              acc, a, run_.B * padded(), run_.packed + packed_.recurrent(panel, begin), packed_.panel_size(), run_.H);
          for (int r = 0; r < R(); ++r)
            for (int u = 0; u < U(); ++u) finish(acc[r][u], m.pairs.row[pair + r], (panel + u) * L, from_x(r, u));
        },
        step % 2 == 1);
  }

  // One vector of units of one row: the cell, and everything that is stored.
  EVERYSTEP_INLINE void one_vector(const Member& m, Vec<Real> (&z)[G + Cell::kApart], int64_t b, int64_t unit,
                                   int64_t step) {
    const int64_t H = run_.H, Hp = padded(), lanes = std::min<int64_t>(L, H - unit), at = b * run_.T + step;
    Vec<Real> state[S], tape[Cell::kTaped];
    state[0] = load(h(m.now[b], b) + unit);
    for (int s = 1; s < S; ++s) state[s] = load(other_[s] + b * Hp + unit);
    Cell::template step<Real>(policy_, z, state, tape);
    put_out(state, at, unit, lanes);
    if (run_.gates)
      for (int g = 0; g < G; ++g) store(run_.gates + (at * G + g) * H + unit, z[g], lanes);
    if (run_.tape)
      for (int k = 0; k < Cell::kTaped; ++k) {
        Real* const to = run_.tape + (at * Cell::kTaped + k) * H + unit;
        if (streams_tape_)
          stream(to, tape[k]);
        else
          store(to, tape[k], lanes);
      }
    if (starts_afresh_after(b, step))
      for (int s = 0; s < S; ++s) state[s] = load(run_.reset[s] + b * H + unit, lanes);
    put_h(m.now[b] ^ 1, b, unit, state[0]);
    for (int s = 1; s < S; ++s) store(other_[s] + b * Hp + unit, state[s]);
  }

  bool starts_afresh_after(int64_t b, int64_t step) const { return step + 1 < run_.T && reset_at(run_, b, step + 1); }

  EVERYSTEP_INLINE void put_out(const Vec<Real> (&state)[S], int64_t at, int64_t unit, int64_t lanes) {
    if (run_.h) store(run_.h + at * run_.H + unit, state[0], lanes);
    if constexpr (S > 1)
      if (run_.c) store(run_.c + at * run_.H + unit, state[1], lanes);
  }

  // What rows that are masked at a step have to show for it: their states, in the places where they are, and gates of
  // 0.
  void carry(const Member& m, int64_t step) {
    for_own_vectors(m, [&](int64_t b, int64_t unit, int64_t lanes) {
      if (seen_at(run_, b, step)) return;
      const int64_t H = run_.H, at = b * run_.T + step;
      Vec<Real> state[S];
      state[0] = load(h(m.now[b], b) + unit);
      for (int s = 1; s < S; ++s) state[s] = load(other_[s] + b * padded() + unit);
      put_out(state, at, unit, lanes);
      if (run_.gates)
        for (int g = 0; g < G; ++g) store(run_.gates + (at * G + g) * H + unit, Vec<Real>{}, lanes);
      if (!starts_afresh_after(b, step)) return;
      put_h(m.now[b], b, unit, load(run_.reset[0] + b * H + unit, lanes));
      for (int s = 1; s < S; ++s) store(other_[s] + b * padded() + unit, load(run_.reset[s] + b * H + unit, lanes));
    });
  }

  const Run<Real>& run_;
  const Policy policy_;
  const Packed<Cell, Real> packed_;
  int64_t chunk_;
  bool streams_tape_;
  Real* h_;                                    // (2,B,Hp)
  Real* other_[S] = {};                        // (B,Hp) the other states, in place; [0] is unused
  Real* dropped_h_ = nullptr;                  // (2,G,B,Hp)
  Real* dropped_x_ = nullptr;                  // (G,chunk pairs,I)
  Real* reset_h_ = nullptr;                    // (B,Hp) what the second product of a step reads
  Real* z_;                                    // [panel][chunk pair][gate][lane]
  int64_t* now_;                               // (members,B), each member's at a cache line
  int64_t *pair_row_, *pair_x_, *first_pair_;  // of each member's Pairs
};

}  // namespace everystep::EVERYSTEP_ISA
