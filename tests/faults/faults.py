"""The faults that `plant.py` plants: each a text that stands exactly once in its file, and what takes its place."""

from __future__ import annotations

from typing import NamedTuple

ENGINE = tuple(f"tests/engine/test_engine_{part}.py" for part in ("gradients", "values", "bits", "process"))
ACTIVATIONS = ("tests/engine/test_engine_activations.py",)
ORACLE = ("tests/test_equations.py",)
KERAS = tuple(f"tests/keras/test_keras_{part}.py" for part in ("route", "additions", "lstm"))

LSTM, FORWARD, BACKWARD = "engine/cells/lstm.h", "engine/sequence_forward.h", "engine/sequence_backward.h"


class Fault(NamedTuple):
    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ENGINE


FAULTS = [
    # ---- The cell ----
    Fault(
        "input and forget gates swapped",
        LSTM,
        "const Vec<Real> i = policy.recurrent(z[I]);\n    const Vec<Real> f = policy.recurrent(z[F]);",
        "const Vec<Real> i = policy.recurrent(z[F]);\n    const Vec<Real> f = policy.recurrent(z[I]);",
    ),
    Fault("no tanh on the way out", LSTM, "state[h] = o * policy.act(state[c]);", "state[h] = o * state[c];"),
    Fault(
        "gradient: the forget gate's term missing",
        LSTM,
        "dz[F] = fma<Real>(dc, before[c], d_gates[F])",
        "dz[F] = d_gates[F]",
    ),
    Fault(
        "gradient: h's way into c missing",
        LSTM,
        "const Vec<Real> dc = fma<Real>(d[h] * o, policy.act_slope(a_tape, a), d[c]);",
        "const Vec<Real> dc = d[c];",
    ),
    Fault("gradient: what arrives at a gate dropped", LSTM, "dz[C] = fma<Real>(dc, i, d_gates[C])", "dz[C] = dc * i"),
    Fault("gradient: c goes back through the wrong gate", LSTM, "d[c] = dc * f;", "d[c] = dc * o;"),
    Fault(
        "gradient: c of after the step, for c of before",
        LSTM,
        "fma<Real>(dc, before[c], d_gates[F])",
        "fma<Real>(dc, after[c], d_gates[F])",
    ),
    # ---- Forward ----
    Fault(
        "a masked step carries c and forgets h",
        FORWARD,
        "for (Vec<Real>& gate : z) gate = Vec<Real>{};",
        "for (Vec<Real>& gate : z) gate = state[0] = Vec<Real>{};",
    ),
    Fault(
        "gates of masked steps are not 0",
        FORWARD,
        "    else\n      for (Vec<Real>& gate : z) gate = Vec<Real>{};",
        "",
    ),
    Fault(
        "resets ignored after the first step",
        FORWARD,
        "const bool again = step + 1 < run_.T && reset_at(b, step + 1);",
        "const bool again = false;",
    ),
    Fault(
        "a reset before the first step ignored",
        FORWARD,
        "run_.T > 0 && reset_at(b, 0) ? run_.reset : run_.start",
        "run_.start",
    ),
    Fault(
        "a reset of a masked step ignored",
        FORWARD,
        "const bool again = step + 1 < run_.T && reset_at(b, step + 1);",
        "const bool again = step + 1 < run_.T && reset_at(b, step + 1) &&"
        " (!run_.mask || run_.mask[b * run_.T + time(step + 1)]);",
    ),
    Fault(
        "dropout of x: the mask of another gate",
        FORWARD,
        "* run_.dropout[(g * B + b) * I + i]",
        "* run_.dropout[((g + 1) % G * B + b) * I + i]",
    ),
    Fault(
        "dropout of h: the mask of another gate",
        FORWARD,
        "load(run_.recurrent_dropout + (g * run_.B + b) * run_.H + unit,",
        "load(run_.recurrent_dropout + ((G - 1 - g) * run_.B + b) * run_.H + unit,",
    ),
    Fault(
        "bias forgotten",
        FORWARD,
        "const Vec<Real> bias = load(run_.packed + packed_.bias(panel + u) + g * L);",
        "const Vec<Real> bias{};",
    ),
    Fault(
        "a chunk of time starts one step early",
        FORWARD,
        "time(first + row / own)",
        "time((first > 0 ? first - 1 : first) + row / own)",
    ),
    Fault(
        "backwards ignored",
        FORWARD,
        "return run_.backwards ? run_.T - 1 - step : step;",
        "return step;",
    ),
    Fault(
        "last states those of the step before",
        FORWARD,
        "load(h_[run_.T % 2] + b * padded() + unit)",
        "load(h_[(run_.T + 1) % 2] + b * padded() + unit)",
    ),
    # ---- Backward ----
    Fault(
        "gradient: runs on through a reset",
        BACKWARD,
        "store(to, load(to, lanes) + d, lanes);\n    return Vec<Real>{};",
        "store(to, load(to, lanes) + d, lanes);\n    return d;",
    ),
    Fault(
        "gradient: masked steps take part",
        BACKWARD,
        "if (seen_at(b, step)) {\n        Vec<Real> taped[",
        "if (true) {\n        Vec<Real> taped[",
    ),
    Fault(
        "gradient: the state before a reset, for the reset's",
        BACKWARD,
        "if (reset_at(b, step)) return run_.reset[s] + b * run_.H;",
        "",
    ),
    Fault(
        "gradient: padding takes part in those of the weights",
        BACKWARD,
        "if (seen_at(b, steps.begin + chunk_step)) visit(",
        "visit(",
    ),
    Fault(
        "gradient: backwards ignored",
        BACKWARD,
        "return run_.backwards ? run_.T - 1 - step : step;",
        "return step;",
    ),
    Fault(
        "gradient of the bias: the last chunk only",
        BACKWARD,
        "for (int n = 0; n < N; ++n) add(d_bias + n * L, sums[n], width - n * L);",
        "for (int n = 0; n < N; ++n) store(d_bias + n * L, sums[n], width - n * L);",
    ),
    Fault(
        "gradient: sums over the batch depend on the threads",
        BACKWARD,
        "chunk_ = std::clamp<int64_t>(kChunkRows / std::max",
        "chunk_ = std::clamp<int64_t>(kChunkRows / split_.members / std::max",
    ),
    # ---- Vectors, modes, activations ----
    Fault(
        "the last lane of a row is not written",
        "engine/simd.h",
        "for (int64_t i = 0; i < n; ++i) p[i] = v[i];",
        "for (int64_t i = 0; i < n - 1; ++i) p[i] = v[i];",
    ),
    Fault(
        "several rows are summed in another order than one",
        "engine/tile.h",
        "  for (int64_t k = 0; k < K; ++k) {\n#pragma GCC unroll 8\n    for (int u = 0; u < U; ++u) {",
        "  for (int64_t j = 0; j < K; ++j) {\n    const int64_t k = R > 1 ? K - 1 - j : j;\n"
        "    for (int u = 0; u < U; ++u) {",
    ),
    Fault(
        "subnormal numbers are not zero",
        "engine/threads.cc",
        "_mm_setcsr((saved_ & ~0x603fu) | 0x8040u);",
        "_mm_setcsr(saved_ & ~0x603fu);",
        ("tests/engine/test_engine_process.py",),
    ),
    Fault(
        "the caller's rounding is kept",
        "engine/threads.cc",
        "_mm_setcsr((saved_ & ~0x603fu) | 0x8040u);",
        "_mm_setcsr((saved_ & ~0x3fu) | 0x8040u);",
        ("tests/engine/test_engine_process.py",),
    ),
    Fault(
        "the caller's modes do not come back",
        "engine/threads.cc",
        "  _mm_setcsr(saved_);",
        "  (void)saved_;",
        ("tests/engine/test_engine_process.py",),
    ),
    Fault(
        "the slope of a hard sigmoid",
        "engine/activations.h",
        "case Activation::hard_sigmoid: return inside(-3, 3) / Real(6);",
        "case Activation::hard_sigmoid: return inside(-3, 3) / Real(5);",
        ACTIVATIONS,
    ),
    # ---- Python ----
    Fault(
        "engine.py: resets go back to the first states always",
        "src/everystep/engine.py",
        '"reset": start if reset_states is None else _check_states("reset_states", packed, reset_states, B),',
        '"reset": start,',
    ),
    Fault(
        "keras/lstm.py: the mask is dropped",
        "src/everystep/keras/lstm.py",
        "            mask=mask,\n            resets=resets,",
        "            mask=None,\n            resets=resets,",
        KERAS,
    ),
    Fault(
        "keras/loop.py: gates swapped",
        "src/everystep/keras/loop.py",
        "i, f, g, o = gates_of(xW_t, h)",
        "f, i, g, o = gates_of(xW_t, h)",
        KERAS,
    ),
    Fault(
        "keras/loop.py: a masked step forgets c",
        "src/everystep/keras/loop.py",
        "for new, old in ((h_t, h), (c_t, c))]",
        "for new, old in ((h_t, h), (c_t, 0 * c))]",
        KERAS,
    ),
    Fault(
        "equations.py: a wrong term in the gradient",
        "tests/equations.py",
        "(df + dc * c) * ds(zf),",
        "(df + dc * c_new) * ds(zf),",
        ORACLE,
    ),
    Fault(
        "equations.py: the gradient runs on through a reset",
        "tests/equations.py",
        "dh, dc = np.where(again, 0, dh), np.where(again, 0, dc)\n    return",
        "pass\n    return",
        ORACLE,
    ),
    Fault(
        "equations.py: the wrong gate lets c out",
        "tests/equations.py",
        "h_new = o * a(c_new)",
        "h_new = f * a(c_new)",
        ORACLE,
    ),
]
