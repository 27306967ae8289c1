#include "runs.h"

#include <nanobind/stl/optional.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "arrays.h"
#include "everystep.h"
#include "program.h"

namespace nb = nanobind;

namespace everystep {
namespace {

// Multiply-adds of a run.
template <class Real>
int64_t products(const Run<Real>& run) {
  return run.B * run.T * (run.I + run.H) * run.H * gates(run.cell.kind);
}

// What a tuple holds, one after the other.
class Items {
 public:
  explicit Items(nb::handle tuple) : tuple_(tuple) {}
  nb::handle next() { return PyTuple_GET_ITEM(tuple_.ptr(), at_++); }
  int64_t number() { return PyLong_AsLongLong(next().ptr()); }

 private:
  nb::handle tuple_;
  Py_ssize_t at_ = 0;
};

// What forward and backward runs share: `Arguments` of everystep/engine/arguments.py, in its order.
template <class Real>
Run<Real> shared(Reader& reader, Items arguments) {
  Run<Real> run{};
  run.cell.kind = static_cast<CellKind>(arguments.number());
  run.cell.activation = static_cast<Activation>(arguments.number());
  run.cell.recurrent_activation = static_cast<Activation>(arguments.number());
  const int64_t B = run.B = arguments.number(), T = run.T = arguments.number();
  const int64_t I = run.I = arguments.number(), H = run.H = arguments.number();
  const int G = gates(run.cell.kind), S = states(run.cell.kind);
  reader.read(arguments.next(), {B, T, I}, run.x);
  const nb::handle start = arguments.next();
  reader.read_each(start, S, {B, H}, run.start);
  reader.read_or_none(arguments.next(), {B, T}, run.mask);
  reader.read_or_none(arguments.next(), {B, T}, run.resets);
  if (const nb::handle reset = arguments.next(); reset.ptr() == start.ptr())
    std::copy(run.start, run.start + S, run.reset);
  else
    reader.read_each(reset, S, {B, H}, run.reset);
  reader.read_or_none(arguments.next(), {G, B, I}, run.dropout);
  reader.read_or_none(arguments.next(), {G, B, H}, run.recurrent_dropout);
  run.backwards = PyObject_IsTrue(arguments.next().ptr()) == 1;
  return run;
}

// A call of a run is a tuple: `Arguments`, packed, h, c, gates, tape, last.
template <class Real>
Run<Real> forward(Reader& reader, nb::handle call) {
  Items given(call);
  Run<Real> run = shared<Real>(reader, Items(given.next()));
  const int64_t B = run.B, T = run.T, H = run.H;
  const CellKind kind = run.cell.kind;
  reader.read(given.next(), {packed_size<Real>(kind, run.I, H)}, run.packed);
  reader.read_or_none(given.next(), {B, T, H}, run.h);
  reader.read_or_none(given.next(), {B, T, H}, run.c);
  reader.read_or_none(given.next(), {B, T, gates(kind), H}, run.gates);
  reader.read_or_none(given.next(), {B, T, taped(kind), H}, run.tape);
  reader.read_each(given.next(), states(kind), {B, H}, run.last);
  return run;
}

nb::handle packed_of(nb::handle call) { return PyTuple_GET_ITEM(call.ptr(), 1); }

bool run_call(nb::tuple call) {
  const auto go = [&]<class Real>(Real) {
    Reader reader;
    const Run<Real> one = forward<Real>(reader, call);
    if (reader.fits()) work_unlocked(products(one), [&] { run<Real>(&one); });
    return reader.fits();
  };
  return with_real(packed_of(call), go, false);
}

// Calls of one dtype.
bool run_together(nb::list calls) {
  const auto go = [&]<class Real>(Real) {
    Reader reader;
    std::vector<Run<Real>> runs;
    for (nb::handle call : calls) runs.push_back(forward<Real>(reader, call));
    if (!reader.fits()) return false;
    const nb::gil_scoped_release unlocked;
    run<Real>(runs.data(), static_cast<int>(runs.size()));
    return true;
  };
  return with_real(packed_of(calls[0]), go, false);
}

std::optional<Bound> bind_run(nb::tuple call) {
  const auto go = [&]<class Real>(Real) -> std::optional<Bound> {
    Reader reader;
    const Run<Real> one = forward<Real>(reader, call);
    if (!reader.fits()) return std::nullopt;
    return bound(products(one), [one] { run<Real>(&one); }, call);
  };
  return with_real(packed_of(call), go, std::optional<Bound>());
}

// A call of a gradient is a tuple: `Arguments`, the weights, h, c, tape, the gradients that arrive, `Gradients`.
bool run_backward_call(nb::tuple call) {
  const auto go = [&]<class Real>(Real) {
    Reader reader;
    Items given(call);
    RunBackward<Real> one{};
    Run<Real>& run = one.run = shared<Real>(reader, Items(given.next()));
    const int64_t B = run.B, T = run.T, I = run.I, H = run.H;
    const CellKind kind = run.cell.kind;
    const int G = gates(kind), S = states(kind);
    const auto read_bias = [&](auto*& to) {
      if (biases(kind) == 1)
        reader.read_or_none(given.next(), {G * H}, to);
      else
        reader.read_or_none(given.next(), {biases(kind), G * H}, to);
    };
    reader.read(given.next(), {I, G * H}, one.kernels.kernel);
    reader.read(given.next(), {H, G * H}, one.kernels.recurrent_kernel);
    read_bias(one.kernels.bias);
    reader.read(given.next(), {B, T, H}, run.h);
    reader.read_or_none(given.next(), {B, T, H}, run.c);
    reader.read(given.next(), {B, T, taped(kind), H}, run.tape);
    reader.read_or_none(given.next(), {B, T, H}, one.d_h);
    reader.read_or_none(given.next(), {B, T, H}, one.d_c);
    reader.read_or_none(given.next(), {B, T, G, H}, one.d_gates);
    reader.read_each_or_none(given.next(), S, {B, H}, one.d_last);
    reader.read(given.next(), {B, T, I}, one.d_x);
    reader.read_each(given.next(), S, {B, H}, one.d_start);
    reader.read(given.next(), {I, G * H}, one.d_kernel);
    reader.read(given.next(), {H, G * H}, one.d_recurrent_kernel);
    read_bias(one.d_bias);
    if (const nb::handle d_reset = given.next(); !d_reset.is_none()) reader.read_each(d_reset, S, {B, H}, one.d_reset);
    reader.read_or_none(given.next(), {G, B, I}, one.d_dropout);
    reader.read_or_none(given.next(), {G, B, H}, one.d_recurrent_dropout);
    if (reader.fits()) work_unlocked(2 * products(run), [&] { run_backward<Real>(&one); });
    return reader.fits();
  };
  return with_real(PyTuple_GET_ITEM(call.ptr(), 4), go, false);
}

}  // namespace

void define_runs(nb::module_& m) {
  m.def("run", run_call);
  m.def("run_together", run_together);
  m.def("bind_run", bind_run);
  m.def("run_backward", run_backward_call);
}

}  // namespace everystep
