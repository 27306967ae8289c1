// The engine's contract. It knows no Python, no XLA and no NumPy.
//
// Letters: B batch, T time steps, I input features, H units, G gates. Every array is dense and row-major, of the shape
// that its comment ends with; the caller owns all of them. An output may alias no input except where it says so.
// A pointer marked "or null" may be null; an array one of whose dimensions is 0 may be null as well.
// Shapes are the caller's promise: the engine checks nothing. It throws std::bad_alloc only.
//
// Bits. On one machine, for one instruction set and one Real, every output, state and gate, and the gradients of x, h0
// and c0, have the same bits whatever B, the number of threads, how T is cut into calls, and run or step. So have the
// gradients of the reset states and the dropouts, but each call gives the share of its own steps. What goes into a gate
// is one SIMD lane that accumulates the bias, then x in feature order, then h in unit order (the candidate of a GRU is
// made of two such sums); the gradient of h is one such sum for each gate. The gradients of the weights are sums over B
// and T in an order that depends on the shapes and the mask, never on the threads. Inside every call subnormal numbers
// are zero and rounding is to nearest; the caller's own modes are restored.
#pragma once

#include <cstddef>
#include <cstdint>

namespace everystep {

enum class Activation : int32_t {
  linear,
  sigmoid,
  tanh,
  relu,
  leaky_relu,
  relu6,
  elu,
  selu,
  celu,
  exponential,
  softplus,
  softsign,
  squareplus,
  soft_shrink,
  hard_shrink,
  tanh_shrink,
  sparse_plus,
  sparse_sigmoid,
  silu,
  gelu,
  mish,
  log_sigmoid,
  hard_sigmoid,
  hard_sigmoid_keras2,
  hard_silu,
  hard_tanh,
};
constexpr int32_t kActivations = static_cast<int32_t>(Activation::hard_tanh) + 1;

// gru: the reset gate scales what the recurrent kernel makes of h (Keras's reset_after=True, cuDNN's GRU).
// gru_reset_before: it scales h itself, before the recurrent kernel, as in the first paper.
enum class CellKind : int32_t { lstm, gru, gru_reset_before, simple };
constexpr int32_t kCells = static_cast<int32_t>(CellKind::simple) + 1;
constexpr int kMaxStates = 2;

struct Cell {
  CellKind kind = CellKind::lstm;
  Activation activation = Activation::tanh;
  Activation recurrent_activation = Activation::sigmoid;
};

int gates(CellKind);   // G
int states(CellKind);  // how many states a cell carries; the first is its output h
int biases(CellKind);  // 1, or 2 where the recurrent kernel has a bias of its own
int taped(CellKind);   // how many numbers a unit leaves on the tape at each step

// ---- Weights -------------------------------------------------------------------------------------------------------

// A cell's weights in Keras's layout: the columns of a kernel are gate by gate, H for each.
template <class Real>
struct Kernels {
  const Real* kernel;            // (I,GH)
  const Real* recurrent_kernel;  // (H,GH)
  const Real* bias;              // (biases,GH) or null for 0
};

// How many Reals `pack` writes. The packed layout is the instruction set's own: never store it.
template <class Real>
int64_t packed_size(CellKind, int64_t I, int64_t H);

template <class Real>
void pack(CellKind, int64_t I, int64_t H, const Kernels<Real>&, Real* packed);  // packed is 64-byte aligned

// ---- Run and step --------------------------------------------------------------------------------------------------

template <class Real>
struct Run {
  Cell cell;
  int64_t B, T, I, H;
  const Real* packed;                  // from `pack`
  const Real* x;                       // (B,T,I)
  const Real* start[kMaxStates];       // the state before the first step, (B,H) each
  const Real* reset[kMaxStates] = {};  // what a reset goes back to, (B,H) each; read only where `resets` is given
  const bool* mask = nullptr;          // (B,T) or null: a row steps where it is true and carries its state where not
  const bool* resets = nullptr;        // (B,T) or null: a row starts afresh before this step, masked or not
  const Real* dropout = nullptr;       // (G,B,I) or null: x is multiplied by it, gate by gate
  const Real* recurrent_dropout = nullptr;  // (G,B,H) or null: and h
  bool backwards = false;                   // process the last step of x first; sequences come out in processing order

  Real* h = nullptr;       // (B,T,H) or null: h after every step, carried on masked ones
  Real* c = nullptr;       // (B,T,H) or null: and c
  Real* gates = nullptr;   // (B,T,G,H) or null: gates after their activation, 0 on masked steps
  Real* tape = nullptr;    // (B,T,taped,H) or null: what `run_backward` reads of the steps that are not masked
  Real* last[kMaxStates];  // the state after the last step, (B,H) each; may alias `start`
};

// n runs, side by side where there are threads enough. None may write what another one reads or writes.
template <class Real>
void run(const Run<Real>* runs, int n = 1);

// One time step is a run with T = 1. It allocates nothing once a thread has made a step of that size.

// ---- Gradients -----------------------------------------------------------------------------------------------------

// Reverse mode: from the gradients of a run's outputs to the gradients of its inputs. Each of the latter may be null:
// it is not wanted, and what only it takes is not computed. The others keep their bits.
template <class Real>
struct RunBackward {
  Run<Real> run;                        // as it was called; `h`, `c` and `tape` hold what it wrote and are only read
  Kernels<Real> kernels;                // the weights themselves; run.packed is not read
  const Real* d_h = nullptr;            // (B,T,H) or null for 0
  const Real* d_c = nullptr;            // (B,T,H) or null for 0
  const Real* d_gates = nullptr;        // (B,T,G,H) or null for 0
  const Real* d_last[kMaxStates] = {};  // (B,H) each, or null for 0

  Real* d_x = nullptr;                  // (B,T,I)
  Real* d_start[kMaxStates] = {};       // (B,H) each
  Real* d_kernel = nullptr;             // (I,GH)
  Real* d_recurrent_kernel = nullptr;   // (H,GH)
  Real* d_bias = nullptr;               // (biases,GH)
  Real* d_reset[kMaxStates] = {};       // (B,H) each; written only where run.resets is given
  Real* d_dropout = nullptr;            // (G,B,I); written only where run.dropout is given
  Real* d_recurrent_dropout = nullptr;  // (G,B,H); written only where run.recurrent_dropout is given
};

template <class Real>
void run_backward(const RunBackward<Real>* calls, int n = 1);

// ---- Dense layers --------------------------------------------------------------------------------------------------

template <class Real>
int64_t packed_matrix_size(int64_t K, int64_t N);

template <class Real>
void pack_matrix(int64_t K, int64_t N, const Real* matrix, Real* packed);  // (K,N)

// out = activation(a matrix + bias), each number in the order bias, a in the order of K.
template <class Real>
void product(int64_t M, int64_t K, int64_t N, const Real* a, const Real* packed, const Real* bias, Activation,
             Real* out);  // a (M,K), bias (N) or null, out (M,N)

template <class Real>
void activate(Activation, int64_t n, const Real* x, Real* out);  // (n); may alias

// ---- The machine ---------------------------------------------------------------------------------------------------

const char* instruction_set();  // "avx512", "avx2" or "baseline"; EVERYSTEP_INSTRUCTION_SET chooses one
int num_threads();              // EVERYSTEP_NUM_THREADS, else the CPUs that this process may use
void set_num_threads(int n);

}  // namespace everystep
