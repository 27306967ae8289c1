// Pieces of work that do not wait for each other, done side by side: the two directions of a bidirectional layer.
#pragma once

#include <cstddef>

#include "split.h"

namespace everystep {

class Job {
 public:
  // To be done with `next`, if there is one, at the same time.
  Job(const Split& split, Job* next) : split(split), next(next), barrier(split.members) {}
  virtual ~Job() = default;
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  // Lays its arrays out in `block`, or nowhere if that is null; returns how many bytes they take.
  virtual std::size_t place(void* block) = 0;

  // The share of member `member` of `members`. All members call this at once: `split.members` of them, or one alone.
  virtual void go(int member, int members, Barrier& barrier) = 0;

  const Split split;
  Job* const next;
  Barrier barrier;
};

// Does a job and those after it: each by the threads that it is split into, or all one after the other.
void do_together(Job& first);

}  // namespace everystep
