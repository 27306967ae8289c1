// The engine's own threads: a small pool that runs one job at a time, and the barrier inside a job.
#pragma once

#include <atomic>
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

// Waits until all members have come. Spins briefly, because steps are microseconds apart, then yields the CPU.
class Barrier {
 public:
  explicit Barrier(int members) : members_(members) {}
  void wait();

 private:
  const int members_;
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<int> generation_{0};
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
