// A call of the engine with random numbers: every array on the heap and exactly as long as everystep.h says, so that
// the address sanitizer sees whatever is read or written beside it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "everystep.h"

namespace everystep::tests {

struct Shape {
  int64_t B, T, I, H;
};

struct Options {
  bool bias = true, mask = false, resets = false, reset_states = false, dropout = false, recurrent_dropout = false;
  bool backwards = false;
  Activation activation = Activation::tanh, recurrent_activation = Activation::sigmoid;
};

// A run, its inputs and its outputs. `in` and `out` are by name, as are the gradients that `gradients` gives.
template <class Real>
class Call {
 public:
  using Arrays = std::map<std::string, std::vector<Real>>;

  Call(CellKind kind, Shape shape, Options options, unsigned seed)
      : kind(kind), shape_(shape), options_(options), random_(seed) {
    const auto [B, T, I, H] = shape;
    fill("x", B * T * I);
    for (int s = 0; s < S; ++s) fill(kStart[s], B * H);
    fill("kernel", I * G * H), fill("recurrent_kernel", H * G * H);
    if (options.bias) fill("bias", biases(kind) * G * H);
    for (int s = 0; s < S; ++s)
      if (options.reset_states) fill(kReset[s], B * H);
    if (options.dropout) fill("dropout", G * B * I);
    if (options.recurrent_dropout) fill("recurrent_dropout", G * B * H);
    mask_ = flags(B * T), resets_ = flags(B * T);
  }

  const CellKind kind;
  const int G = gates(kind), S = states(kind);
  Arrays in, out;

  const Shape& shape() const { return shape_; }

  // The row b alone, or the first steps alone.
  Call row(int64_t b) const {
    Call one(*this);
    one.shape_.B = 1;
    const auto cut = [&](std::vector<Real>& v, int64_t parts) {  // of `parts` blocks, each of B rows
      const int64_t n = static_cast<int64_t>(v.size()) / (parts * shape_.B);
      std::vector<Real> kept;
      for (int64_t part = 0; part < parts; ++part)
        kept.insert(kept.end(), v.begin() + (part * shape_.B + b) * n, v.begin() + (part * shape_.B + b + 1) * n);
      v = kept;
    };
    for (const char* name : {"x", "h0", "c0", "reset_h", "reset_c"})
      if (one.in.count(name)) cut(one.in[name], 1);
    for (const char* name : {"dropout", "recurrent_dropout"})
      if (one.in.count(name)) cut(one.in[name], G);
    one.mask_ = flags_of(mask_.get(), b * shape_.T, shape_.T);
    one.resets_ = flags_of(resets_.get(), b * shape_.T, shape_.T);
    return one;
  }

  Call(const Call& other)
      : kind(other.kind),
        in(other.in),
        out(other.out),
        shape_(other.shape_),
        options_(other.options_),
        random_(other.random_),
        mask_(flags_of(other.mask_.get(), 0, shape_.B * shape_.T)),
        resets_(flags_of(other.resets_.get(), 0, shape_.B * shape_.T)) {}

  // Runs; `wanted` has bits for h, c, gates and tape. Their arrays are NaN before, so that a gap would show.
  void run(int wanted = 15) {
    const Run<Real> call = prepare(wanted);
    everystep::run(&call);
  }

  static void run_together(std::vector<Call>& calls) {
    std::vector<Run<Real>> runs;
    for (Call& call : calls) runs.push_back(call.prepare(15));
    everystep::run(runs.data(), static_cast<int>(runs.size()));
  }

  // The gradients of sum(d * out), after a run; `d` by the names of `out`, a missing one standing for zeros.
  Arrays gradients(const Arrays& d) {
    Arrays found;
    const RunBackward<Real> call = prepare_backward(d, found);
    run_backward(&call);
    return found;
  }

  static std::vector<Arrays> gradients_together(std::vector<Call>& calls, const std::vector<Arrays>& d) {
    std::vector<Arrays> found(calls.size());
    std::vector<RunBackward<Real>> backward;
    for (size_t k = 0; k < calls.size(); ++k) backward.push_back(calls[k].prepare_backward(d[k], found[k]));
    run_backward(backward.data(), static_cast<int>(backward.size()));
    return found;
  }

  // Random gradients of every output, as long as the outputs of a run with everything.
  Arrays arriving() {
    const auto [B, T, I, H] = shape_;
    Arrays d;
    d["h"] = numbers(B * T * H), d["gates"] = numbers(B * T * G * H);
    if (S > 1) d["c"] = numbers(B * T * H);
    for (int s = 0; s < S; ++s) d[kLast[s]] = numbers(B * H);
    return d;
  }

  static constexpr const char* kStart[] = {"h0", "c0"};
  static constexpr const char* kAlsoStart[] = {"also h0", "also c0"};
  static constexpr const char* kReset[] = {"reset_h", "reset_c"};
  static constexpr const char* kLast[] = {"last_h", "last_c"};

 private:
  static Real nan() { return std::numeric_limits<Real>::quiet_NaN(); }

  Run<Real> prepare(int wanted) {
    const auto [B, T, I, H] = shape_;
    packed_.assign(packed_size<Real>(kind, I, H) + 64 / sizeof(Real), nan());
    Real* const packed = aligned(packed_.data());
    pack<Real>(kind, I, H, kernels(), packed);
    out.clear();
    Run<Real> call = arguments();
    call.packed = packed;
    if (wanted & 1) call.h = room("h", B * T * H);
    if (wanted & 2 && S > 1) call.c = room("c", B * T * H);
    if (wanted & 4) call.gates = room("gates", B * T * G * H);
    if (wanted & 8) call.tape = room("tape", B * T * taped(kind) * H);
    for (int s = 0; s < S; ++s) call.last[s] = room(kLast[s], B * H);
    return call;
  }

  RunBackward<Real> prepare_backward(const Arrays& d, Arrays& found) {
    const auto [B, T, I, H] = shape_;
    const auto to = [&](const char* name, int64_t n) {
      found[name].assign(n, nan());
      return found[name].data();
    };
    const auto of = [&](const char* name) { return d.count(name) ? d.at(name).data() : nullptr; };
    RunBackward<Real> call{};
    call.run = arguments();
    call.run.h = out["h"].data(), call.run.tape = out["tape"].data();
    if (S > 1) call.run.c = out["c"].data();
    call.kernels = kernels();
    call.d_h = of("h"), call.d_c = of("c"), call.d_gates = of("gates");
    for (int s = 0; s < S; ++s) call.d_last[s] = of(kLast[s]);
    call.d_x = to("x", B * T * I);
    for (int s = 0; s < S; ++s) call.d_start[s] = to(kStart[s], B * H);
    call.d_kernel = to("kernel", I * G * H);
    call.d_recurrent_kernel = to("recurrent_kernel", H * G * H);
    if (options_.bias) call.d_bias = to("bias", biases(kind) * G * H);
    // Without reset states, resets go back to h0 and c0, and these are a part of their gradients.
    for (int s = 0; s < S && options_.resets; ++s)
      call.d_reset[s] = to(options_.reset_states ? kReset[s] : kAlsoStart[s], B * H);
    if (options_.dropout) call.d_dropout = to("dropout", G * B * I);
    if (options_.recurrent_dropout) call.d_recurrent_dropout = to("recurrent_dropout", G * B * H);
    return call;
  }

  std::vector<Real> numbers(int64_t n) {
    std::normal_distribution<double> normal(0, 0.5);
    std::vector<Real> v(n);
    for (Real& number : v) number = static_cast<Real>(normal(random_));
    return v;
  }

  void fill(const char* name, int64_t n) { in[name] = numbers(n); }

  std::unique_ptr<bool[]> flags(int64_t n) {
    std::unique_ptr<bool[]> v(new bool[n]);
    for (int64_t i = 0; i < n; ++i) v[i] = random_() % 3 != 0;
    return v;
  }

  static std::unique_ptr<bool[]> flags_of(const bool* from, int64_t first, int64_t n) {
    std::unique_ptr<bool[]> v(new bool[n]);
    for (int64_t i = 0; i < n; ++i) v[i] = from[first + i];
    return v;
  }

  static Real* aligned(Real* p) { return p + (64 - reinterpret_cast<uintptr_t>(p) % 64) % 64 / sizeof(Real); }

  Real* room(const char* name, int64_t n) {
    out[name].assign(n, nan());
    return out[name].data();
  }

  const Real* find(const char* name) const { return in.count(name) ? in.at(name).data() : nullptr; }

  Kernels<Real> kernels() const { return {find("kernel"), find("recurrent_kernel"), find("bias")}; }

  Run<Real> arguments() const {
    Run<Real> call{};
    call.cell = {kind, options_.activation, options_.recurrent_activation};
    call.B = shape_.B, call.T = shape_.T, call.I = shape_.I, call.H = shape_.H;
    call.x = find("x");
    for (int s = 0; s < S; ++s) {
      call.start[s] = find(kStart[s]);
      call.reset[s] = options_.reset_states ? find(kReset[s]) : call.start[s];
    }
    call.mask = options_.mask ? mask_.get() : nullptr;
    call.resets = options_.resets ? resets_.get() : nullptr;
    call.dropout = find("dropout");
    call.recurrent_dropout = find("recurrent_dropout");
    call.backwards = options_.backwards;
    return call;
  }

  Shape shape_;
  Options options_;
  std::mt19937 random_;
  std::vector<Real> packed_;
  std::unique_ptr<bool[]> mask_, resets_;
};

constexpr CellKind kEveryCell[] = {CellKind::lstm, CellKind::gru, CellKind::gru_reset_before, CellKind::simple};
static_assert(std::size(kEveryCell) == kCells);

template <class Real>
bool same_bits(const std::vector<Real>& a, const std::vector<Real>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(Real)) == 0);
}

// The options whose bits are set in n, from 0 to 127.
inline Options options_of(int n) {
  return {(n & 1) != 0, (n & 2) != 0, (n & 4) != 0, (n & 8) != 0, (n & 16) != 0, (n & 32) != 0, (n & 64) != 0};
}

}  // namespace everystep::tests
