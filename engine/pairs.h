// What is to be done in some steps: the pairs of a step and a row of the batch that are not masked there. All work is
// done for these alone, so a batch of sequences of different lengths costs its true steps.
#pragma once

#include <algorithm>

#include "everystep.h"
#include "split.h"

namespace everystep {

// Steps are counted in the order in which they are done, times as they lie in x.
template <class Real>
int64_t time(const Run<Real>& run, int64_t step) {
  return run.backwards ? run.T - 1 - step : step;
}

template <class Real>
bool seen_at(const Run<Real>& run, int64_t b, int64_t step) {
  return !run.mask || run.mask[b * run.T + time(run, step)];
}

template <class Real>
bool reset_at(const Run<Real>& run, int64_t b, int64_t step) {
  return run.resets && run.resets[b * run.T + time(run, step)];
}

// Pairs in the order of the steps, then of the rows. Its arrays are the owner's.
struct Pairs {
  int64_t* row;    // of each pair: b
  int64_t* x;      // of each pair: b T + t, the row of x
  int64_t* first;  // of each step: its first pair; and, after the last step, how many there are

  // Lists the steps [from, from + n), or, with `descending`, those from `from` down.
  template <class Real>
  void list(const Run<Real>& run, Range rows, int64_t from, int64_t n, bool descending = false) const {
    int64_t pair = 0;
    for (int64_t k = 0; k < n; ++k) {
      const int64_t step = descending ? from - k : from + k;
      first[k] = pair;
      for (int64_t b = rows.begin; b < rows.end; ++b)
        if (seen_at(run, b, step)) row[pair] = b, x[pair++] = b * run.T + time(run, step);
    }
    first[n] = pair;
  }

  // The pairs of the k-th step.
  Range of(int64_t k) const { return {first[k], first[k + 1]}; }

  // Those of some rows.
  Range of(int64_t k, Range rows) const {
    const auto find = [&](int64_t b) { return std::lower_bound(row + first[k], row + first[k + 1], b) - row; };
    return {find(rows.begin), find(rows.end)};
  }
};

// A member's share of the rows: about as many pairs for each.
template <class Real>
Range share_rows(const Run<Real>& run, int member, int members) {
  if (!run.mask || members == 1) return share(run.B, member, members);
  const auto steps_of = [&](int64_t b) {
    const bool* const mask = run.mask + b * run.T;
    return 1 + std::count(mask, mask + run.T, true);
  };
  int64_t all = 0, before = 0;
  for (int64_t b = 0; b < run.B; ++b) all += steps_of(b);
  Range rows{0, 0};
  for (int64_t b = 0; b < run.B; ++b) {
    if (before < all * member / members) rows.begin = b + 1;
    if (before < all * (member + 1) / members) rows.end = b + 1;
    before += steps_of(b);
  }
  return rows;
}

}  // namespace everystep
