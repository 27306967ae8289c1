// The limits of this machine: float32 multiply-adds a second, and bytes read a second from footprints of several sizes.
// Prints one JSON object. Usage: roofline [threads]; it measures 1 thread and that many.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int kBytes = 64, kChains = 24;  // of 32 registers
#elif defined(__AVX__)
constexpr int kBytes = 32, kChains = 12;  // of 16
#else
constexpr int kBytes = 16, kChains = 12;
#endif
constexpr int kLanes = kBytes / sizeof(float);
using Vec = float __attribute__((vector_size(kBytes)));

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Runs work(thread) on every thread at once and returns the time from the common start to the last one's end.
double timed(int threads, const std::function<void(int)>& work) {
  std::atomic<int> ready{0};
  std::vector<double> start(threads), end(threads);
  std::vector<std::thread> pool;
  for (int thread = 0; thread < threads; ++thread) {
    pool.emplace_back([&, thread] {
      for (++ready; ready < threads;) {
      }
      start[thread] = seconds();
      work(thread);
      end[thread] = seconds();
    });
  }
  for (auto& thread : pool) thread.join();
  return *std::max_element(end.begin(), end.end()) - *std::min_element(start.begin(), start.end());
}

volatile float sink;

float sum(Vec v) {
  float total = 0;
  for (int lane = 0; lane < kLanes; ++lane) total += v[lane];
  return total;
}

// Independent chains, enough of them to hide the latency of one multiply-add.
void multiply_add(long repeats) {
  Vec chain[kChains];
  for (int k = 0; k < kChains; ++k) chain[k] = Vec{} + float(k);
  const Vec factor = Vec{} + 0.5f, term = Vec{} + 1.f;
  for (long i = 0; i < repeats; ++i) {
#pragma GCC unroll 24
    for (int k = 0; k < kChains; ++k) chain[k] = chain[k] * factor + term;
  }
  Vec total{};
  for (const Vec& v : chain) total += v;
  sink = sum(total);
}

// In several streams, each through its own part of the data, in lockstep: what a cache gives depends on the order too.
template <int streams>
void read(const Vec* data, long vectors, long repeats) {
  constexpr int chains = 8, step = chains / streams;
  const long part = vectors / streams;
  Vec chain[chains] = {};
  for (long i = 0; i < repeats; ++i) {
    for (long at = 0; at + step <= part; at += step) {
#pragma GCC unroll 8
      for (int k = 0; k < chains; ++k) chain[k] += data[k % streams * part + at + k / streams];
    }
    asm volatile("" ::: "memory");
  }
  Vec total{};
  for (const Vec& v : chain) total += v;
  sink = sum(total);
}

double gflops(int threads) {
  constexpr long repeats = 2'000'000;
  double best = 0;
  for (int trial = 0; trial < 15; ++trial) {
    const double time = timed(threads, [&](int) { multiply_add(repeats); });
    best = std::max(best, 2.0 * kLanes * kChains * repeats * threads / time * 1e-9);
  }
  return best;
}

// Zeros, on huge pages where the system has them, so that no time goes into finding pages.
std::unique_ptr<std::byte, decltype(&std::free)> memory(size_t bytes) {
  constexpr size_t page = 2 << 20;
  const size_t whole = (bytes + page - 1) / page * page;
  auto* data = static_cast<std::byte*>(std::aligned_alloc(page, whole));
  if (!data) std::abort();
#ifdef __linux__
  madvise(data, whole, MADV_HUGEPAGE);
#endif
  std::memset(data, 0, whole);
  return {data, std::free};
}

// `bytes` in all: each thread reads its own share of it, again and again, as each reads the weights of its own units.
// In the fastest order.
double gigabytes(int threads, long bytes) {
  const long share = bytes / threads / kBytes;
  const long repeats = std::max(1L, (512L << 20) / bytes);
  std::vector<decltype(memory(0))> shares;
  for (int thread = 0; thread < threads; ++thread) shares.push_back(memory(share * kBytes));
  double best = 0;
  for (int trial = 0; trial < 10; ++trial) {
    for (const auto reader : {read<1>, read<2>, read<4>, read<8>}) {
      const double time = timed(
          threads, [&](int thread) { reader(reinterpret_cast<const Vec*>(shares[thread].get()), share, repeats); });
      best = std::max(best, double(share) * kBytes * threads * repeats / time * 1e-9);
    }
  }
  return best;
}

}  // namespace

int main(int argc, char** argv) {
  const int most = argc > 1 ? std::atoi(argv[1]) : int(std::thread::hardware_concurrency());
  std::printf("[");
  for (int threads = 1; threads <= most; threads += std::max(1, most - 1)) {
    std::printf("%s{\"threads\": %d, \"gflops\": %.1f, \"read\": [", threads > 1 ? ", " : "", threads, gflops(threads));
    for (long kib = 16; kib <= 64L << 10; kib *= 2) {
      std::printf("%s{\"bytes\": %ld, \"gbps\": %.1f}", kib > 16 ? ", " : "", kib << 10, gigabytes(threads, kib << 10));
    }
    std::printf("]}");
  }
  std::printf("]\n");
}
