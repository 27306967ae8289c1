// The gradient of a run against central differences of the run itself, in double, for every number that goes in.
//
// With s = 1e-5 the difference (L(v + s) - L(v - s)) / 2s is off by s^2 / 6 times the third derivative of the loss L
// and by eps |L| / s of rounding: below 1e-8 for losses, slopes and derivatives up to about a hundred.
#include "call.h"
#include "check.h"

namespace everystep::tests {
namespace {

constexpr double kStep = 1e-5, kTolerance = 1e-8;

double loss(Call<double>& call, const Call<double>::Arrays& d) {
  call.run();
  double sum = 0;
  for (const auto& [name, factors] : d)
    for (size_t i = 0; i < factors.size(); ++i) sum += factors[i] * call.out[name][i];
  return sum;
}

void check_gradients(CellKind kind, Shape shape, Options options, unsigned seed) {
  Call<double> call(kind, shape, options, seed);
  const auto d = call.arriving();
  call.run();
  auto found = call.gradients(d);
  for (const char* name : {"h0", "c0"})
    if (found.count(std::string("also ") + name))
      for (size_t i = 0; i < found[name].size(); ++i) found[name][i] += found[std::string("also ") + name][i];
  for (auto& [name, values] : call.in) {
    if (!found.count(name)) continue;  // reset states where there are no resets
    for (size_t i = 0; i < values.size(); ++i) {
      const double kept = values[i];
      values[i] = kept + kStep;
      const double above = loss(call, d);
      values[i] = kept - kStep;
      const double below = loss(call, d);
      values[i] = kept;
      CHECK_NEAR(found[name][i], (above - below) / (2 * kStep), kTolerance);
    }
  }
}

}  // namespace
}  // namespace everystep::tests

int main() {
  using namespace everystep;
  using namespace everystep::tests;
  for (const CellKind kind : kEveryCell) {
    for (int n = 0; n < 128; n += 5) check_gradients(kind, {2, 4, 2, 3}, options_of(n), n);  // every option on and off
    check_gradients(kind, {2, 3, 3, 9}, options_of(127), 1000);  // more than one vector of units
    // Smooth ones, each in both places; those with kinks are compared with the textbook loop in Python.
    for (const Activation smooth : {Activation::linear, Activation::sigmoid, Activation::tanh, Activation::softplus,
                                    Activation::softsign, Activation::squareplus, Activation::silu, Activation::gelu,
                                    Activation::mish, Activation::log_sigmoid, Activation::tanh_shrink}) {
      Options options = options_of(7);
      options.activation = smooth;
      check_gradients(kind, {2, 3, 2, 3}, options, 2000);
      options.activation = Activation::tanh;
      options.recurrent_activation = smooth;
      check_gradients(kind, {2, 3, 2, 3}, options, 3000);
    }
  }
  return failures() > 0;
}
