// The engine's own threads: a small pool that runs one job at a time, and the barrier inside a job.
#pragma once

#include <cstdint>

namespace everystep {

// Flush-to-zero, denormals-are-zero and round-to-nearest while it lives; the caller's modes come back with it.
// XLA's threads flush and Python's do not: without this the same call would give two results.
class FloatModes {
 public:
  FloatModes();
  ~FloatModes();
  FloatModes(const FloatModes&) = delete;
  FloatModes& operator=(const FloatModes&) = delete;

 private:
  unsigned saved_;
  bool changed_;  // one inside another changes nothing
};

constexpr int kMostThreads = 256;

// Waits until all members have come. Each has a flag of its own, in a cache line that only it writes, and looks at
// those of the others: from one core to another goes one line, once. (With a common counter it would be three.) Spins
// briefly, because steps are microseconds apart, then yields the CPU.
class Barrier {
 public:
  explicit Barrier(int members);
  void wait(int member);

 private:
  struct alignas(64) Flag {
    uint32_t times;  // that this member has come
  };
  const int members_;
  Flag flags_[kMostThreads];  // of which the first `members_` are used, and set
};

// Runs work(argument, member, barrier) for members 0 to n-1 at once, member 0 on the calling thread, and returns when
// all are done. Where the pool is at work for another caller, or n is 1, the caller does it alone: work must therefore
// be told how many members there are by `members`, which is 1 then.
void parallel(int n, void (*work)(void* argument, int member, int members, Barrier&), void* argument);

template <class Work>
void parallel(int n, Work&& work) {
  parallel(
      n,
      [](void* argument, int member, int members, Barrier& barrier) {
        (*static_cast<Work*>(argument))(member, members, barrier);
      },
      &work);
}

int num_threads();
void set_num_threads(int n);

}  // namespace everystep
