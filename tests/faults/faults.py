"""The faults that `plant.py` plants: in the loops, the vectors and Python here, in each cell and the oracle beside."""

from __future__ import annotations

from cell_faults import CELL_FAULTS
from fault import ACTIVATIONS, BACKWARD, ERRORS, FORWARD, KERAS, Fault
from oracle_faults import ORACLE_FAULTS

FAULTS = [
    *CELL_FAULTS,
    *ORACLE_FAULTS,
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
        "engine.py: the states' gradients change places",
        "src/everystep/engine.py",
        'd_last=tuple(checked[f"d_states[{k}]"] for k in range(len(cell.states))),',
        'd_last=tuple(checked[f"d_states[{k}]"] for k in reversed(range(len(cell.states)))),',
    ),
    Fault(
        "engine.py: the gradient of a state that a cell has not is dropped",
        "src/everystep/engine.py",
        "if d_cells is not None and len(cell.states) == 1:",
        "if False:",
        ERRORS,
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
]
