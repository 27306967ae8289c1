// Every path of the engine once or more, for the address and undefined-behaviour sanitizers to watch: shapes around the
// sizes of vectors, tiles and panels, empty ones, every option, every activation, both precisions. What can be checked
// without another loop is: nothing is left unwritten, a row is the row of a batch, a step is a step of a run.
#include "call.h"
#include "check.h"

namespace everystep::tests {
namespace {

// All but the tape, which is not written where a step is masked.
template <class Real>
bool all_finite(const std::map<std::string, std::vector<Real>>& arrays) {
  for (const auto& [name, values] : arrays)
    for (const Real v : values)
      if (name != "tape" && !std::isfinite(v)) return false;
  return true;
}

template <class Real>
void check_call(CellKind kind, Shape shape, Options options, unsigned seed) {
  Call<Real> call(kind, shape, options, seed);
  auto d = call.arriving();
  call.run();
  CHECK(all_finite(call.out));
  const auto all = call.gradients(d);
  CHECK(all_finite(all));
  if (seed % 2) d.erase("h"), d.erase("last_c");
  if (seed % 3) d.erase("c"), d.erase("gates"), d.erase("last_h");
  CHECK(all_finite(call.gradients(d)));

  Call<Real> less(call);
  less.run(static_cast<int>(seed % 16));
  for (const auto& [name, values] : less.out) CHECK(same_bits(values, call.out[name]));

  if (shape.B == 0) return;
  Call<Real> row = call.row(shape.B - 1);
  row.run();
  for (const auto& [name, values] : row.out) {
    const auto& whole = call.out[name];
    CHECK(same_bits(values, std::vector<Real>(whole.end() - values.size(), whole.end())));
  }
}

template <class Real>
void check_shapes(CellKind kind) {
  unsigned seed = 0;
  for (const int64_t H : {1, 2, 3, 4, 5, 8, 9, 16, 17, 33, 65, 130})
    for (const int64_t B : {0, 1, 2, 3, 4, 5, 7, 13})
      for (const int64_t T : {0, 1, 3}) {
        const int64_t I = static_cast<int64_t>(seed % 7);
        check_call<Real>(kind, {B, T, I, H}, options_of(static_cast<int>(seed * 37 % 128)), seed);
        ++seed;
      }
  for (int n = 0; n < 128; ++n) check_call<Real>(kind, {3, 4, 3, 5}, options_of(n), n);
  for (int n = 0; n < 128; n += 9) check_call<Real>(kind, {2, 300, 3, 5}, options_of(n), n);   // many chunks of time
  for (int n = 0; n < 128; n += 31) check_call<Real>(kind, {300, 3, 3, 5}, options_of(n), n);  // a chunk of one step
  for (int32_t a = 0; a < kActivations; ++a) {
    Options options = options_of(static_cast<int>(a * 11 % 128));
    options.activation = static_cast<Activation>(a);
    check_call<Real>(kind, {3, 2, 3, 5}, options, a);
    options.activation = Activation::tanh, options.recurrent_activation = static_cast<Activation>(a);
    check_call<Real>(kind, {3, 2, 3, 5}, options, a);
  }
}

// last may alias start; and a run is its steps.
template <class Real>
void check_steps_in_place(CellKind kind) {
  const int64_t B = 3, T = 6, I = 4, H = 19;
  Call<Real> call(kind, {B, T, I, H}, {}, 1);
  call.run();
  std::vector<Real> room(packed_size<Real>(kind, I, H) + 64 / sizeof(Real));
  Real* const packed = room.data() + (64 - reinterpret_cast<uintptr_t>(room.data()) % 64) % 64 / sizeof(Real);
  pack<Real>(kind, I, H, {call.in["kernel"].data(), call.in["recurrent_kernel"].data(), call.in["bias"].data()},
             packed);
  std::vector<Real> state[kMaxStates], x(B * I);
  for (int s = 0; s < call.S; ++s) state[s] = call.in[call.kStart[s]];
  for (int64_t t = 0; t < T; ++t) {
    for (int64_t b = 0; b < B; ++b) std::copy_n(call.in["x"].data() + (b * T + t) * I, I, x.data() + b * I);
    Run<Real> step{};
    step.cell.kind = kind;
    step.B = B, step.T = 1, step.I = I, step.H = H;
    step.packed = packed, step.x = x.data();
    for (int s = 0; s < call.S; ++s) step.start[s] = step.last[s] = state[s].data();
    run(&step);
    for (int64_t b = 0; b < B; ++b)
      CHECK(std::memcmp(state[0].data() + b * H, call.out["h"].data() + (b * T + t) * H, H * sizeof(Real)) == 0);
  }
  for (int s = 0; s < call.S; ++s) CHECK(same_bits(state[s], call.out[call.kLast[s]]));
}

// Runs side by side, of all cells and several shapes, are what each is alone; so are their gradients.
template <class Real>
void check_together() {
  std::vector<Call<Real>> calls;
  for (const CellKind kind : kEveryCell)
    for (const Shape shape : {Shape{3, 4, 3, 5}, Shape{13, 6, 4, 33}, Shape{0, 2, 3, 4}, Shape{2, 0, 3, 4}})
      calls.emplace_back(kind, shape, options_of(static_cast<int>(calls.size() * 23 % 128)), calls.size());
  for (const size_t n : {size_t{1}, size_t{2}, size_t{5}, calls.size()}) {
    std::vector<Call<Real>> together(calls.begin(), calls.begin() + n), alone = together;
    std::vector<typename Call<Real>::Arrays> d;
    for (Call<Real>& call : alone) call.run(), d.push_back(call.arriving());
    Call<Real>::run_together(together);
    const auto gradients = Call<Real>::gradients_together(together, d);
    for (size_t k = 0; k < n; ++k) {
      for (const auto& [name, values] : together[k].out) CHECK(same_bits(values, alone[k].out[name]));
      const auto own = alone[k].gradients(d[k]);
      CHECK(own.size() == gradients[k].size());
      for (const auto& [name, values] : gradients[k]) CHECK(same_bits(values, own.at(name)));
    }
  }
}

template <class Real>
void check_products() {
  std::mt19937 random(2);
  const auto numbers = [&](int64_t n) {
    std::vector<Real> v(n);
    for (Real& number : v) number = static_cast<Real>(static_cast<int>(random() % 17) - 8);  // sums of these are exact
    return v;
  };
  for (const int64_t M : {0, 1, 2, 3, 5, 8, 19})
    for (const int64_t K : {0, 1, 7})
      for (const int64_t N : {0, 1, 3, 4, 5, 16, 17, 31, 64, 65, 100}) {
        const auto a = numbers(M * K), matrix = numbers(K * N), bias = numbers(N);
        std::vector<Real> room(packed_matrix_size<Real>(K, N) + 64 / sizeof(Real)), out(M * N);
        Real* const packed = room.data() + (64 - reinterpret_cast<uintptr_t>(room.data()) % 64) % 64 / sizeof(Real);
        pack_matrix<Real>(K, N, matrix.data(), packed);
        product<Real>(M, K, N, a.data(), packed, N % 2 ? bias.data() : nullptr, Activation::linear, out.data());
        for (int64_t m = 0; m < M; ++m)
          for (int64_t n = 0; n < N; ++n) {
            Real sum = N % 2 ? bias[n] : Real(0);
            for (int64_t k = 0; k < K; ++k) sum += a[m * K + k] * matrix[k * N + n];
            CHECK(out[m * N + n] == sum);
          }
      }
  for (int64_t n = 0; n < 70; ++n)
    for (int32_t which = 0; which < kActivations; ++which) {
      const auto x = numbers(n);
      auto out = x;
      activate<Real>(static_cast<Activation>(which), n, x.data(), out.data());
      auto in_place = x;
      activate<Real>(static_cast<Activation>(which), n, in_place.data(), in_place.data());
      CHECK(same_bits(out, in_place));
    }
}

}  // namespace
}  // namespace everystep::tests

int main() {
  using namespace everystep::tests;
  for (const everystep::CellKind kind : kEveryCell) {
    check_shapes<float>(kind);
    check_shapes<double>(kind);
    check_steps_in_place<float>(kind);
    check_steps_in_place<double>(kind);
  }
  check_together<float>();
  check_together<double>();
  check_products<float>();
  check_products<double>();
  return failures() > 0;
}
