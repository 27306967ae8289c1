// How a run is shared out to threads. No choice made here can change a bit of any result.
#pragma once

#include <algorithm>
#include <cstdint>

#include "threads.h"

namespace everystep {

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

inline Range share(int64_t n, int member, int members) { return {n * member / members, n * (member + 1) / members}; }

struct Split {
  int members = 1;
  bool rows =
      true;  // each member has rows of the batch of its own, whose steps wait for nobody; else units, and a wait
};  // for all at every step

// A thread that sleeps takes some ten microseconds to wake; a barrier, and what then comes from another core's cache,
// a tenth of a microsecond.
constexpr double kWorthWaking = 30e3, kWorthWaiting = 200;  // nanoseconds; the second for each other member
// A recurrent kernel from where on each thread had better read a part of it than all of it: twice a core's own cache.
constexpr double kLargeKernel = 2 << 20;  // bytes

// Among at most `threads`. step_work and all_work in multiply-adds, of which a core does about 50 of float32 in a
// nanosecond where it has few rows (and over a hundred where it has many); step_bytes: what each step reads of the
// weights.
inline Split split(int threads, int64_t B, int64_t panels, double step_work, double all_work, double step_bytes) {
  if (threads == 1 || all_work / 50 < kWorthWaking) return {};
  const int members = static_cast<int>(std::min<int64_t>(threads, panels));
  const Split units{members, false};
  const bool even = panels % threads == 0 || panels >= 4 * threads;
  if (B >= 4 * threads) return even && step_bytes > kLargeKernel ? units : Split{threads, true};
  if (members > 1 && step_work / 50 > kWorthWaiting * (members - 1)) return units;
  if (B > 1) return {static_cast<int>(std::min<int64_t>(threads, B)), true};
  return {};
}

}  // namespace everystep
