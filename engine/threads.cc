#include "threads.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace everystep {
namespace {

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// Spins for a few microseconds, then gives the CPU to others between looks: whoever is waited for may need it.
template <class Done>
void wait_until(Done done) {
  for (int look = 0; !done(); ++look) {
    if (look < 500)
      relax();
    else
      sched_yield();
  }
}

// The share of CPUs that a container may use, or a large number: "quota period" in version 2, two files in version 1.
int cgroup_cpus() {
  double quota = -1, period = -1;
  std::ifstream v2("/sys/fs/cgroup/cpu.max");
  std::string text;
  if (v2 >> text >> period) {
    if (text != "max") quota = std::atof(text.c_str());
  } else {
    std::ifstream q("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), p("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    if (!(q >> quota) || !(p >> period)) quota = -1;
  }
  return quota > 0 && period > 0 ? std::max(1, static_cast<int>(quota / period)) : 1 << 20;
}

int default_threads() {
  if (const char* text = std::getenv("EVERYSTEP_NUM_THREADS"))
    if (const int n = std::atoi(text); n > 0) return std::min(n, kMostThreads);
  cpu_set_t set;
  const int cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return std::max(1, std::min({cpus, cgroup_cpus(), kMostThreads}));
}

struct Job {
  void (*work)(void*, int, int, Barrier&) = nullptr;
  void* argument = nullptr;
  int members = 0;
  Barrier* barrier = nullptr;
};

class Pool {
 public:
  ~Pool() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  // False, and nothing done, where another caller holds the pool or the system gives no more threads.
  bool run(int members, void (*work)(void*, int, int, Barrier&), void* argument) {
    std::unique_lock owner(owner_, std::try_to_lock);
    if (!owner) return false;
    Barrier barrier(members);
    {
      std::lock_guard lock(mutex_);
      if (!grow(members - 1)) return false;
      job_ = {work, argument, members, &barrier};
      running_.store(members - 1, std::memory_order_relaxed);
      ticket_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    work(argument, 0, members, barrier);
    wait_until([this] { return running_.load(std::memory_order_acquire) == 0; });
    return true;
  }

 private:
  bool grow(int workers) try {
    while (static_cast<int>(workers_.size()) < workers) {
      const int member = static_cast<int>(workers_.size()) + 1;
      workers_.emplace_back([this, member, seen = ticket_.load()] { serve(member, seen); });
    }
    return true;
  } catch (const std::system_error&) {
    return false;
  }

  void serve(int member, uint64_t seen) {
    const FloatModes modes;
    for (;;) {
      for (int look = 0; look < 2000 && ticket_.load(std::memory_order_acquire) == seen; ++look) relax();
      Job job;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return stop_ || ticket_.load(std::memory_order_relaxed) != seen; });
        if (stop_) return;
        seen = ticket_.load(std::memory_order_relaxed);
        job = job_;
      }
      if (member >= job.members) continue;
      job.work(job.argument, member, job.members, *job.barrier);
      running_.fetch_sub(1, std::memory_order_release);
    }
  }

  std::mutex owner_, mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> workers_;
  Job job_;
  bool stop_ = false;
  std::atomic<uint64_t> ticket_{0};
  std::atomic<int> running_{0};
};

std::atomic<int> chosen_threads{0};
std::unique_ptr<Pool> pool;
std::once_flag fork_handler;
std::mutex pool_mutex;

// A child of fork has none of its parent's threads: it leaves the old pool alone and makes a new one when it needs one.
Pool& the_pool() {
  std::lock_guard lock(pool_mutex);
  std::call_once(fork_handler, [] {
    pthread_atfork([] { pool_mutex.lock(); }, [] { pool_mutex.unlock(); },
                   [] {
                     pool.release();  // NOLINT(bugprone-unused-return-value): its threads and locks are not ours
                     pool_mutex.unlock();
                   });
  });
  if (!pool) pool = std::make_unique<Pool>();
  return *pool;
}

}  // namespace

#if defined(__x86_64__)
constexpr unsigned kControl = 0xffc0, kRounding = 0x6000, kFlags = 0x3f, kFlush = 0x8040;  // FTZ and DAZ

FloatModes::FloatModes() : saved_(_mm_getcsr()) {
  const unsigned wanted = (saved_ & ~(kRounding | kFlags)) | kFlush;
  changed_ = ((saved_ ^ wanted) & kControl) != 0;  // to write them takes as long as a hundred numbers
  if (changed_) _mm_setcsr(wanted);
}

FloatModes::~FloatModes() {
  if (changed_) _mm_setcsr(saved_);
}
#else
FloatModes::FloatModes() : saved_(0), changed_(false) {}
FloatModes::~FloatModes() = default;
#endif

Barrier::Barrier(int members) : members_(members) {
  for (int k = 0; k < members; ++k) flags_[k].times = 0;
}

void Barrier::wait(int member) {
  if (members_ == 1) return;
  const auto flag = [&](int k) { return std::atomic_ref(flags_[k].times); };
  const uint32_t times = flag(member).load(std::memory_order_relaxed) + 1;
  flag(member).store(times, std::memory_order_release);
  for (int k = 0; k < members_; ++k)
    wait_until([&] { return static_cast<int32_t>(flag(k).load(std::memory_order_acquire) - times) >= 0; });
}

void parallel(int n, void (*work)(void*, int, int, Barrier&), void* argument) {
  const FloatModes modes;
  if (n > 1 && the_pool().run(n, work, argument)) return;
  Barrier alone(1);
  work(argument, 0, 1, alone);
}

int num_threads() {
  int n = chosen_threads.load(std::memory_order_relaxed);
  if (n == 0) chosen_threads.store(n = default_threads(), std::memory_order_relaxed);
  return n;
}

void set_num_threads(int n) { chosen_threads.store(std::clamp(n, 1, kMostThreads), std::memory_order_relaxed); }

}  // namespace everystep
