// Everything that is compiled once per instruction set and precision: EVERYSTEP_ISA is the name of the first and the
// namespace that it all lives in, EVERYSTEP_REAL the second.
#include "kernels.h"

#include "cells/gru.h"
#include "cells/lstm.h"
#include "cells/simple.h"
#include "product.h"
#include "sequence_backward.h"
#include "sequence_forward.h"

namespace everystep::EVERYSTEP_ISA {
namespace {

// visit(cell type) for a cell's kind.
template <class Visit>
auto with_cell(CellKind kind, Visit visit) {
  switch (kind) {
    case CellKind::lstm: return visit(Lstm{});
    case CellKind::gru: return visit(Gru{});
    case CellKind::gru_reset_before: return visit(GruResetBefore{});
    case CellKind::simple: return visit(Simple{});
  }
  __builtin_unreachable();
}

// visit(policy) for a cell's two activations.
template <class Real, class Visit>
void with_policy(const Cell& cell, Visit visit) {
  if (cell.activation == Activation::tanh && cell.recurrent_activation == Activation::sigmoid)
    visit(Usual<Real>{});
  else
    visit(Listed<Real>{cell.activation, cell.recurrent_activation});
}

constexpr double kPackedInNanosecond = 10;  // numbers, by one core

template <class Real>
int64_t packed_size_of(CellKind kind, int64_t I, int64_t H) {
  return with_cell(kind, [&](auto cell) { return Packed<decltype(cell), Real>{I, H}.size(); });
}

template <class Real>
void pack_any(CellKind kind, int64_t I, int64_t H, const Kernels<Real>& kernels, Real* packed) {
  with_cell(kind, [&](auto cell) {
    using C = decltype(cell);
    const int64_t panels = Packed<C, Real>{I, H}.panels();
    const bool large = double(I + H) * C::G * H / kPackedInNanosecond > kWorthWaking;
    parallel(large ? static_cast<int>(std::min<int64_t>(num_threads(), panels)) : 1,
             [&](int member, int members, Barrier&) {
               pack<C, Real>(I, H, kernels, share(panels, member, members), packed);
             });
  });
}

CellSizes sizes_of(CellKind kind) {
  return with_cell(kind, [](auto cell) {
    using C = decltype(cell);
    return CellSizes{C::G, C::S, 1 + C::kApart, C::kTaped};
  });
}

template <class Real>
const Run<Real>& run_of(const Run<Real>& run) {
  return run;
}

template <class Real>
const Run<Real>& run_of(const RunBackward<Real>& args) {
  return args.run;
}

// Multiply-adds, about, that a run makes: whether it is worth a thread of its own.
template <class Real>
double work(const Run<Real>& run) {
  return double(run.B) * run.T * run.H * sizes_of(run.cell.kind).gates * (run.I + run.H);
}

// Runs are set up one inside the other, so that nothing is allocated, and the innermost call does them all.
template <template <class, class, class> class Pass, class Real, class Args>
void set_up(const Args* calls, int n, int threads, Job* others) {
  if (n == 0) return do_together(*others);
  const Run<Real>& run = run_of(*calls);
  with_cell(run.cell.kind, [&](auto cell) {
    with_policy<Real>(run.cell, [&](auto policy) {
      Pass<decltype(cell), Real, decltype(policy)> job(*calls, policy, threads, others);
      set_up<Pass, Real>(calls + 1, n - 1, threads, &job);
    });
  });
}

template <template <class, class, class> class Pass, class Real, class Args>
void do_all(const Args* calls, int n) {
  double least = work(run_of(calls[0]));
  for (int k = 1; k < n; ++k) least = std::min(least, work(run_of(calls[k])));
  const int threads = num_threads();
  if (n > 1 && n <= threads && least / 50 > kWorthWaking) return set_up<Pass, Real>(calls, n, threads / n, nullptr);
  for (int k = 0; k < n; ++k) set_up<Pass, Real>(calls + k, 1, threads, nullptr);
}

template <class Real>
void run_any(const Run<Real>* runs, int n) {
  do_all<Forward, Real>(runs, n);
}

template <class Real>
void run_backward_any(const RunBackward<Real>* calls, int n) {
  do_all<Backward, Real>(calls, n);
}

template <class Real>
int64_t packed_matrix_size_of(int64_t K, int64_t N) {
  return Panels<Real>{K, N}.size();
}

template <class Real>
void pack_matrix_any(int64_t K, int64_t N, const Real* matrix, Real* packed) {
  const Panels<Real> panels{K, N};
  pack_panels(panels, matrix, N, {0, panels.count()}, packed);
}

template <class Real>
void activate_any(Activation which, int64_t n, const Real* x, Real* out) {
  const FloatModes modes;
  activate_all<Real>(which, n, x, out);
}

}  // namespace

template <>
const Functions<EVERYSTEP_REAL>& functions<EVERYSTEP_REAL>() {
  using Real = EVERYSTEP_REAL;
  static constexpr Functions<Real> all{sizes_of,
                                       packed_size_of<Real>,
                                       pack_any<Real>,
                                       run_any<Real>,
                                       run_backward_any<Real>,
                                       packed_matrix_size_of<Real>,
                                       pack_matrix_any<Real>,
                                       product<Real>,
                                       activate_any<Real>};
  return all;
}

}  // namespace everystep::EVERYSTEP_ISA
