// A call of the engine with random numbers: every array on the heap and exactly as long as everystep.h says, so that
// the address sanitizer sees whatever is read or written beside it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
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

  Call(Shape shape, Options options, unsigned seed) : shape_(shape), options_(options), random_(seed) {
    const auto [B, T, I, H] = shape;
    fill("x", B * T * I), fill("h0", B * H), fill("c0", B * H);
    fill("kernel", I * G * H), fill("recurrent_kernel", H * G * H);
    if (options.bias) fill("bias", G * H);
    if (options.reset_states) fill("reset_h", B * H), fill("reset_c", B * H);
    if (options.dropout) fill("dropout", G * B * I);
    if (options.recurrent_dropout) fill("recurrent_dropout", G * B * H);
    mask_ = flags(B * T), resets_ = flags(B * T);
  }

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
      : in(other.in),
        out(other.out),
        shape_(other.shape_),
        options_(other.options_),
        random_(other.random_),
        mask_(flags_of(other.mask_.get(), 0, shape_.B * shape_.T)),
        resets_(flags_of(other.resets_.get(), 0, shape_.B * shape_.T)) {}

  // Runs; `wanted` has bits for h, c, gates and tape. Their arrays are NaN before, so that a gap would show.
  void run(int wanted = 15) {
    const auto [B, T, I, H] = shape_;
    std::vector<Real> unaligned(packed_size<Real>(CellKind::lstm, I, H) + 64 / sizeof(Real));
    Real* const packed = aligned(unaligned.data());
    pack<Real>(CellKind::lstm, I, H, kernels(), packed);
    out.clear();
    Run<Real> call = arguments();
    call.packed = packed;
    if (wanted & 1) call.h = room("h", B * T * H);
    if (wanted & 2) call.c = room("c", B * T * H);
    if (wanted & 4) call.gates = room("gates", B * T * G * H);
    if (wanted & 8) call.tape = room("tape", B * T * G * H);
    call.last[0] = room("last_h", B * H);
    call.last[1] = room("last_c", B * H);
    everystep::run(&call);
  }

  // The gradients of sum(d * out), after a run; `d` by the names of `out`, a missing one standing for zeros.
  Arrays gradients(const Arrays& d) {
    const auto [B, T, I, H] = shape_;
    Arrays found;
    const auto to = [&](const char* name, int64_t n) {
      found[name].assign(n, nan());
      return found[name].data();
    };
    const auto of = [&](const char* name) { return d.count(name) ? d.at(name).data() : nullptr; };
    RunBackward<Real> call{};
    call.run = arguments();
    call.run.h = out["h"].data(), call.run.c = out["c"].data(), call.run.tape = out["tape"].data();
    call.kernels = kernels();
    call.d_h = of("h"), call.d_c = of("c"), call.d_gates = of("gates");
    call.d_last[0] = of("last_h"), call.d_last[1] = of("last_c");
    call.d_x = to("x", B * T * I);
    call.d_start[0] = to("h0", B * H), call.d_start[1] = to("c0", B * H);
    call.d_kernel = to("kernel", I * G * H);
    call.d_recurrent_kernel = to("recurrent_kernel", H * G * H);
    if (options_.bias) call.d_bias = to("bias", G * H);
    if (options_.resets && options_.reset_states)
      call.d_reset[0] = to("reset_h", B * H), call.d_reset[1] = to("reset_c", B * H);
    else if (options_.resets)  // what they go back to is then h0 and c0, whose gradients these are a part of
      call.d_reset[0] = to("also h0", B * H), call.d_reset[1] = to("also c0", B * H);
    if (options_.dropout) call.d_dropout = to("dropout", G * B * I);
    if (options_.recurrent_dropout) call.d_recurrent_dropout = to("recurrent_dropout", G * B * H);
    run_backward(&call);
    return found;
  }

  // Random gradients of every output, as long as the outputs of a run with everything.
  Arrays arriving() {
    const auto [B, T, I, H] = shape_;
    Arrays d;
    for (const auto& [name, n] : std::map<std::string, int64_t>{
             {"h", B * T * H}, {"c", B * T * H}, {"gates", B * T * G * H}, {"last_h", B * H}, {"last_c", B * H}})
      d[name] = numbers(n);
    return d;
  }

  static constexpr int G = 4;

 private:
  static Real nan() { return std::numeric_limits<Real>::quiet_NaN(); }

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
    call.cell = {CellKind::lstm, options_.activation, options_.recurrent_activation};
    call.B = shape_.B, call.T = shape_.T, call.I = shape_.I, call.H = shape_.H;
    call.x = find("x");
    call.start[0] = find("h0"), call.start[1] = find("c0");
    call.reset[0] = options_.reset_states ? find("reset_h") : call.start[0];
    call.reset[1] = options_.reset_states ? find("reset_c") : call.start[1];
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
  std::unique_ptr<bool[]> mask_, resets_;
};

template <class Real>
bool same_bits(const std::vector<Real>& a, const std::vector<Real>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(Real)) == 0);
}

// The options whose bits are set in n, from 0 to 127.
inline Options options_of(int n) {
  return {(n & 1) != 0, (n & 2) != 0, (n & 4) != 0, (n & 8) != 0, (n & 16) != 0, (n & 32) != 0, (n & 64) != 0};
}

}  // namespace everystep::tests
