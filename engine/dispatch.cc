// Chooses the instruction set once and hands every call of `everystep.h` on to it.
#include <cstdlib>
#include <cstring>

#include "kernels.h"

namespace everystep {
namespace {

struct InstructionSet {
  const char* name;
  const Functions<float>& of_float;
  const Functions<double>& of_double;
  bool (*supported)();
};

// The best that this machine has, or the one that EVERYSTEP_INSTRUCTION_SET names if the machine has it.
const InstructionSet& choose() {
#if defined(__x86_64__)
  __builtin_cpu_init();
#endif
  // From the best to the one that every machine has.
  static const InstructionSet sets[] = {
#if defined(__x86_64__)
      {"avx512", avx512::functions<float>(), avx512::functions<double>(),
       [] {
         return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
       }},
      {"avx2", avx2::functions<float>(), avx2::functions<double>(),
       [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }},
#endif
      {"baseline", baseline::functions<float>(), baseline::functions<double>(), [] { return true; }},
  };
  const char* const wanted = std::getenv("EVERYSTEP_INSTRUCTION_SET");
  const InstructionSet* best = nullptr;
  for (const InstructionSet& set : sets) {
    if (!set.supported()) continue;
    if (wanted && std::strcmp(wanted, set.name) == 0) return set;
    if (!best) best = &set;
  }
  return *best;
}

const InstructionSet& chosen() {
  static const InstructionSet& set = choose();
  return set;
}

template <class Real>
const Functions<Real>& functions() {
  if constexpr (sizeof(Real) == 4)
    return chosen().of_float;
  else
    return chosen().of_double;
}

}  // namespace

int gates(CellKind kind) { return chosen().of_float.cell_sizes(kind).gates; }
int states(CellKind kind) { return chosen().of_float.cell_sizes(kind).states; }
int biases(CellKind kind) { return chosen().of_float.cell_sizes(kind).biases; }
int taped(CellKind kind) { return chosen().of_float.cell_sizes(kind).taped; }

template <class Real>
int64_t packed_size(CellKind kind, int64_t I, int64_t H) {
  return functions<Real>().packed_size(kind, I, H);
}

template <class Real>
void pack(CellKind kind, int64_t I, int64_t H, const Kernels<Real>& kernels, Real* packed) {
  functions<Real>().pack(kind, I, H, kernels, packed);
}

template <class Real>
void run(const Run<Real>* runs, int n) {
  functions<Real>().run(runs, n);
}

template <class Real>
void run_backward(const RunBackward<Real>* calls, int n) {
  functions<Real>().run_backward(calls, n);
}

template <class Real>
int64_t packed_matrix_size(int64_t K, int64_t N) {
  return functions<Real>().packed_matrix_size(K, N);
}

template <class Real>
void pack_matrix(int64_t K, int64_t N, const Real* matrix, Real* packed) {
  functions<Real>().pack_matrix(K, N, matrix, packed);
}

template <class Real>
void product(int64_t M, int64_t K, int64_t N, const Real* a, const Real* packed, const Real* bias,
             Activation activation, Real* out) {
  functions<Real>().product(M, K, N, a, packed, bias, activation, out);
}

template <class Real>
void activate(Activation which, int64_t n, const Real* x, Real* out) {
  functions<Real>().activate(which, n, x, out);
}

#define EVERYSTEP_FOR(Real)                                                                                         \
  template int64_t packed_size<Real>(CellKind, int64_t, int64_t);                                                   \
  template void pack<Real>(CellKind, int64_t, int64_t, const Kernels<Real>&, Real*);                                \
  template void run<Real>(const Run<Real>*, int);                                                                   \
  template void run_backward<Real>(const RunBackward<Real>*, int);                                                  \
  template int64_t packed_matrix_size<Real>(int64_t, int64_t);                                                      \
  template void pack_matrix<Real>(int64_t, int64_t, const Real*, Real*);                                            \
  template void product<Real>(int64_t, int64_t, int64_t, const Real*, const Real*, const Real*, Activation, Real*); \
  template void activate<Real>(Activation, int64_t, const Real*, Real*);
EVERYSTEP_FOR(float)
EVERYSTEP_FOR(double)

const char* instruction_set() { return chosen().name; }

}  // namespace everystep
