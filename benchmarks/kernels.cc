// The engine's kernels alone, called as the bindings call them: what docs/engine.md tells of each step towards them.
//
//     kernels CELL THREADS B,T,I,H ...        CELL: lstm, gru, simple
//
// For each shape, medians: packing the weights; a run; a run that is recorded; its gradients, all of them; float32.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "everystep.h"

using namespace everystep;

namespace {

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Of calls during about a third of a second; short ones in groups, so that the clock's own time does not count.
template <class Call>
double median(Call&& call) {
  call(), call();
  double start = seconds();
  call();
  const int together = std::max(1, static_cast<int>(20e-6 / (seconds() - start)));
  std::vector<double> taken;
  for (const double end = seconds() + 0.3; seconds() < end || taken.size() < 5;) {
    start = seconds();
    for (int k = 0; k < together; ++k) call();
    taken.push_back((seconds() - start) / together);
  }
  std::nth_element(taken.begin(), taken.begin() + taken.size() / 2, taken.end());
  return taken[taken.size() / 2];
}

// Memory as the engine wants it: aligned to 64 bytes. It lives as long as the program.
float* array(int64_t n) { return static_cast<float*>(std::aligned_alloc(64, (n * sizeof(float) + 127) / 64 * 64)); }

float* normal(int64_t n, double scale) {
  static std::mt19937 random(1);
  std::normal_distribution<float> of(0, static_cast<float>(scale));
  float* const p = array(n);
  std::generate(p, p + n, [&] { return of(random); });
  return p;
}

void measure(CellKind kind, int64_t B, int64_t T, int64_t I, int64_t H) {
  const int64_t GH = gates(kind) * H;
  const Kernels<float> kernels{normal(I * GH, 1 / std::sqrt(I)), normal(H * GH, 0.5 / std::sqrt(H)),
                               normal(biases(kind) * GH, 0.1)};
  float* const packed = array(packed_size<float>(kind, I, H));
  Run<float> plain{};
  plain.cell.kind = kind;
  plain.B = B, plain.T = T, plain.I = I, plain.H = H;
  plain.packed = packed, plain.x = normal(B * T * I, 1), plain.h = array(B * T * H);
  RunBackward<float> back{};
  for (int s = 0; s < states(kind); ++s) {
    plain.start[s] = normal(B * H, 0.5), plain.last[s] = array(B * H);
    back.d_start[s] = array(B * H);
  }
  Run<float> recorded = plain;
  recorded.c = states(kind) > 1 ? array(B * T * H) : nullptr;
  recorded.tape = array(B * T * taped(kind) * H);
  back.run = recorded, back.kernels = kernels, back.d_h = normal(B * T * H, 1), back.d_x = array(B * T * I);
  back.d_kernel = array(I * GH), back.d_recurrent_kernel = array(H * GH), back.d_bias = array(biases(kind) * GH);

  const double packing = median([&] { pack(kind, I, H, kernels, packed); });
  const double forward = median([&] { run(&plain); }), kept = median([&] { run(&recorded); });
  const double backward = median([&] { run_backward(&back); });
  const double flops = 2.0 * B * T * GH * (I + H);
  std::printf(
      "%4ld,%6ld,%4ld,%5ld  pack %9.2f us  run %11.2f us (%4.0f GFLOP/s, %8.3f us a step)  recorded %11.2f us  "
      "gradients %11.2f us (%4.0f GFLOP/s)\n",
      long(B), long(T), long(I), long(H), packing * 1e6, forward * 1e6, flops / forward * 1e-9, forward / T * 1e6,
      kept * 1e6, backward * 1e6, 2 * flops / backward * 1e-9);
}

}  // namespace

int main(int argc, char** argv) {
  const auto is = [&](const char* name) { return argc > 3 && !std::strcmp(argv[1], name); };
  if (!is("lstm") && !is("gru") && !is("simple"))
    return std::fprintf(stderr, "usage: kernels lstm|gru|simple THREADS B,T,I,H ...\n"), 2;
  set_num_threads(std::atoi(argv[2]));
  for (int k = 3; k < argc; ++k) {
    long B, T, I, H;
    if (std::sscanf(argv[k], "%ld,%ld,%ld,%ld", &B, &T, &I, &H) != 4)
      return std::fprintf(stderr, "a shape is B,T,I,H; got %s\n", argv[k]), 2;
    measure(is("lstm") ? CellKind::lstm : is("gru") ? CellKind::gru : CellKind::simple, B, T, I, H);
  }
}
