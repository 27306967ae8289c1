#include "jobs.h"

#include "scratch.h"

namespace everystep {

void do_together(Job& first) {
  std::size_t bytes = 0;
  int wanted = 0;
  for (Job* job = &first; job; job = job->next) bytes += job->place(nullptr), wanted += job->split.members;
  char* block = static_cast<char*>(scratch(bytes));
  for (Job* job = &first; job; job = job->next) block += job->place(block);

  parallel(wanted, [&](int member, int members, Barrier& barrier) {
    for (Job* job = &first; job; job = job->next) {
      const int own = job->split.members;
      if (members < wanted)  // the threads are at work for somebody else
        job->go(0, 1, barrier);
      else if (0 <= member && member < own)
        job->go(member, own, job->barrier);
      member -= own;
    }
  });
}

}  // namespace everystep
