"""The faults that `plant.py` plants: in the loops, the vectors and Python here, in cells, oracle and layers beside."""

from __future__ import annotations

from adapter_faults import ADAPTER_FAULTS
from benchmark_faults import BENCHMARK_FAULTS
from cell_faults import CELL_FAULTS
from cli_faults import CLI_FAULTS
from convolution_faults import CONVOLUTION_FAULTS
from drawn_faults import DRAWN_FAULTS
from fault import ACTIVATIONS, BACKWARD, ERRORS, FORWARD, KERAS, Fault
from forecast_faults import FORECAST_FAULTS
from g2p_faults import G2P_FAULTS
from generation_faults import GENERATION_FAULTS
from layer_faults import LAYER_FAULTS
from legacy_faults import LEGACY_FAULTS
from loading_faults import LOADING_FAULTS
from merging_faults import MERGING_FAULTS
from operation_faults import OPERATION_FAULTS
from oracle_faults import ORACLE_FAULTS
from seq2seq_faults import SEQ2SEQ_FAULTS
from stream_faults import STREAM_FAULTS
from trace_faults import TRACE_FAULTS

FAULTS = [
    *CELL_FAULTS,
    *ADAPTER_FAULTS,
    *OPERATION_FAULTS,
    *LOADING_FAULTS,
    *ORACLE_FAULTS,
    *LAYER_FAULTS,
    *CONVOLUTION_FAULTS,
    *MERGING_FAULTS,
    *STREAM_FAULTS,
    *TRACE_FAULTS,
    *GENERATION_FAULTS,
    *SEQ2SEQ_FAULTS,
    *FORECAST_FAULTS,
    *DRAWN_FAULTS,
    *LEGACY_FAULTS,
    *CLI_FAULTS,
    *BENCHMARK_FAULTS,
    *G2P_FAULTS,
    # ---- Forward ----
    Fault(
        "a masked step carries c and forgets h",
        FORWARD,
        "state[s] = load(other_[s] + b * padded() + unit);\n      put_out",
        "state[s] = load(other_[s] + b * padded() + unit);\n      state[0] = Vec<Real>{};\n      put_out",
    ),
    Fault(
        "gates of masked steps are not 0",
        FORWARD,
        "store(run_.gates + (at * G + g) * H + unit, Vec<Real>{}, lanes);",
        "store(run_.gates + (at * G + g) * H + unit, state[0], lanes);",
    ),
    Fault(
        "resets ignored after the first step",
        FORWARD,
        "return step + 1 < run_.T && reset_at(run_, b, step + 1);",
        "return step + 1 < 0 && reset_at(run_, b, step + 1);",
    ),
    Fault(
        "a reset before the first step ignored",
        FORWARD,
        "run_.T > 0 && reset_at(run_, b, 0) ? run_.reset : run_.start",
        "run_.T < 0 && reset_at(run_, b, 0) ? run_.reset : run_.start",
    ),
    Fault(
        "a reset of a masked step ignored",
        FORWARD,
        "return step + 1 < run_.T && reset_at(run_, b, step + 1);",
        "return step + 1 < run_.T && reset_at(run_, b, step + 1) && seen_at(run_, b, step + 1);",
    ),
    Fault(
        "dropout of x: the mask of another gate",
        FORWARD,
        "* run_.dropout[(g * B + m.pairs.row[pair]) * I + i]",
        "* run_.dropout[((g + 1) % G * B + m.pairs.row[pair]) * I + i]",
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
        "const Vec<Real> bias = load(biases[panel + u] + g * L);",
        "const Vec<Real> bias = Real(0) * load(biases[panel + u] + g * L);",
    ),
    Fault(
        "a chunk of time starts one step early",
        FORWARD,
        "m.pairs.list(run_, m.rows, first, steps.size());",
        "m.pairs.list(run_, m.rows, first > 0 ? first - 1 : first, steps.size());",
    ),
    Fault(
        "backwards ignored",
        "engine/pairs.h",
        "return run.backwards ? run.T - 1 - step : step;",
        "return step;",
    ),
    Fault(
        "last states those of the step before",
        FORWARD,
        "load(h(m.now[b], b) + unit), lanes);",
        "load(h(m.now[b] ^ 1, b) + unit), lanes);",
    ),
    # ---- Backward ----
    Fault(
        "gradient: runs on through a reset",
        BACKWARD,
        "store(to, load(to, lanes) + v, lanes);\n    return Vec<Real>{};",
        "store(to, load(to, lanes) + v, lanes);\n    return v;",
    ),
    Fault(
        "gradient: what arrives at a masked step is dropped",
        BACKWARD,
        "before_reset(s, b, unit, lanes, step, after(s, b, unit, lanes, step))",
        "before_reset(s, b, unit, lanes, step, load(d(s, b, unit)))",
    ),
    Fault(
        "gradient: the state before a reset, for the reset's",
        BACKWARD,
        "if (reset_at(run_, b, step)) return run_.reset[s] + b * run_.H;",
        "",
    ),
    Fault(
        "a member's pairs begin a row late",
        "engine/pairs.h",
        "if (before < all * member / members) rows.begin = b + 1;",
        "if (before <= all * member / members) rows.begin = b + 1;",
    ),
    Fault(
        "gradient: dx of masked steps is not 0",
        BACKWARD,
        "if (run_.mask) clear(args_.d_x, run_.B * run_.T * run_.I);",
        "if (run_.mask) clear(args_.d_x, 0);",
    ),
    Fault(
        "two runs side by side take each other's memory",
        "engine/jobs.cc",
        "block += job->place(block);",
        "job->place(block);",
    ),
    Fault(
        "a row that ends early goes on from the wrong place of h",
        FORWARD,
        "m.now[m.pairs.row[pair]] ^= 1;",
        "m.now[pair - pairs.begin + m.rows.begin] ^= 1;",
    ),
    Fault(
        "gradient: padding takes part in those of the weights",
        "engine/pairs.h",
        "if (seen_at(run, b, step)) row[pair]",
        "if (seen_at(run, b, step) || descending) row[pair]",
    ),
    Fault(
        "gradient of the bias: the last chunk only",
        BACKWARD,
        "store(to, load(to, width - n * L) + sums[n], width - n * L);",
        "store(to, sums[n], width - n * L);",
    ),
    Fault(
        "gradient: sums over the batch depend on the threads",
        BACKWARD,
        "chunk_ = std::clamp<int64_t>(kChunkRows / std::max",
        "chunk_ = std::clamp<int64_t>(kChunkRows / split.members / std::max",
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
        "  for (int64_t k = 0; k < K; ++k) {\n#pragma GCC unroll 16\n    for (int u = 0; u < U; ++u) {",
        "  for (int64_t j = 0; j < K; ++j) {\n    const int64_t k = R > 1 ? K - 1 - j : j;\n"
        "    for (int u = 0; u < U; ++u) {",
    ),
    Fault(
        "narrow tiles cover the first panels again",
        "engine/tile.h",
        "visit(R_, U_, row, tiles * U + panel);",
        "visit(R_, U_, row, panel);",
    ),
    Fault(
        "backwards, the group of panels before the right one",
        "engine/tile.h",
        "(backwards ? groups - 1 - k : k) * together",
        "(backwards ? groups - 1 - (k ? k - 1 : k) : k) * together",
    ),
    Fault(
        "parts of a product read the numbers of the first",
        "engine/tile.h",
        "reads == Reads::parts ? u * apart : 0",
        "0",
    ),
    Fault(
        "one row's parts are added in another order",
        "engine/product.h",
        "sum[0][0][v] += parts[0][p][v];",
        "sum[0][0][v] += parts[0][P - 1 - p][v];",
    ),
    Fault(
        "a square is transposed but for its last stage",
        "engine/simd.h",
        "if constexpr (apart < L) {",
        "if constexpr (2 * apart < L) {",
    ),
    Fault(
        "sigmoid without its Newton step",
        "engine/activations.h",
        "return fma<Real>(fma<Real>(-ys, p, one - y - ys), y, y);",
        "return y;",
        ACTIVATIONS,
    ),
    Fault(
        "tanh corrected by a residual without its q e",
        "engine/activations.h",
        "fma<Real>(-q, e, fma<Real>(broadcast(Real(-2)), q, e)) + rest",
        "fma<Real>(broadcast(Real(-2)), q, e) + rest",
        ACTIVATIONS,
    ),
    Fault(
        "subnormal numbers are not zero",
        "engine/threads.cc",
        "kFlush = 0x8040;",
        "kFlush = 0;",
        ("tests/engine/test_engine_process.py",),
    ),
    Fault(
        "the caller's rounding is kept",
        "engine/threads.cc",
        "kRounding = 0x6000,",
        "kRounding = 0,",
        ("tests/engine/test_engine_process.py",),
    ),
    Fault(
        "the caller's modes do not come back",
        "engine/threads.cc",
        "if (changed_) _mm_setcsr(saved_);",
        "",
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
        "engine: resets go back to the first states always",
        "src/everystep/engine/arguments.py",
        "start if reset_states is None else as_tuple(reset_states),",
        "start,",
    ),
    Fault(
        "engine: nobody asks whether a run was refused",
        "src/everystep/engine/forward.py",
        "if not _engine.run(call):",
        "if _engine.run(call) is None:",
        ERRORS,
    ),
    Fault(
        "engine: the states' gradients change places",
        "src/everystep/engine/backward.py",
        "arriving = (d_h, d_cells, d_gates, d_last)",
        "arriving = (d_h, d_cells, d_gates, d_last[::-1])",
    ),
    Fault(
        "engine: the gradient of a state that a cell has not is dropped",
        "src/everystep/engine/backward.py",
        "if d_cells is not None and len(cell.states) == 1:",
        "if False:",
        ERRORS,
    ),
    Fault(
        "keras/recurrent.py: the mask is dropped",
        "src/everystep/keras/recurrent.py",
        "mask=mask if backwards else mask_in_order,",
        "mask=None,",
        KERAS,
    ),
    Fault(
        "keras/loop.py: gates swapped",
        "src/everystep/keras/loop.py",
        "    i, f, g, o = gates\n",
        "    f, i, g, o = gates\n",
        KERAS,
    ),
    Fault(
        "keras/loop.py: a masked step forgets c",
        "src/everystep/keras/loop.py",
        "ops.where(seen_t[:, None], n, o) for n, o in zip(new, old, strict=True)]",
        "ops.where(seen_t[:, None], n, 0 * o) for n, o in zip(new, old, strict=True)]",
        KERAS,
    ),
]
