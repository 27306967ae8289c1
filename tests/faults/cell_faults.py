"""Faults in the cells, and in what the loops do for one cell alone."""

from __future__ import annotations

from fault import BACKWARD, FORWARD, Fault

LSTM, GRU, SIMPLE = (f"engine/cells/{name}.h" for name in ("lstm", "gru", "simple"))

CELL_FAULTS = [
    # ---- LSTM ----
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
    # ---- GRU ----
    Fault("GRU: z in the place of r", GRU, "fma<Real>(r, z[U], z[X])", "fma<Real>(update, z[U], z[X])"),
    Fault("GRU: r scales the part of x", GRU, "fma<Real>(r, z[U], z[X])", "fma<Real>(r, z[X], z[U])"),
    Fault(
        "GRU: z and 1 - z exchanged",
        GRU,
        "tape[U_TAPED] = z[U];\n    state[0] = fma<Real>(update, state[0], (Real(1) - update) * g);",
        "tape[U_TAPED] = z[U];\n    state[0] = fma<Real>(Real(1) - update, state[0], update * g);",
    ),
    Fault("GRU: the part of x taped for u", GRU, "tape[U_TAPED] = z[U];", "tape[U_TAPED] = z[X];"),
    Fault("GRU gradient: du not scaled by r", GRU, "dz[G] = dz[C] * r;", "dz[G] = dz[C];"),
    Fault(
        "GRU gradient: what arrives at r dropped",
        GRU,
        "dz[R] = fma<Real>(dz[C], tape[U_TAPED], d_gates[R])",
        "dz[R] = (dz[C] * tape[U_TAPED])",
    ),
    Fault(
        "GRU gradient: the candidate missing in that of z",
        GRU,
        "fma<Real>(d[0], before[0] - g, d_gates[Z]) * policy.recurrent_slope(tape[Z], update);\n    dz[R]",
        "fma<Real>(d[0], before[0], d_gates[Z]) * policy.recurrent_slope(tape[Z], update);\n    dz[R]",
    ),
    Fault(
        "GRU: the second bias of z and r forgotten",
        FORWARD,
        "load(bias + g * L) + load(w.bias + (G + g) * H",
        "load(bias + g * L) + Real(0) * load(w.bias + (G + g) * H",
    ),
    Fault(
        "GRU: the second bias of the candidate forgotten",
        FORWARD,
        "row(w.bias ? w.bias + G * H : nullptr, G - 1, G,",
        "row(static_cast<const Real*>(nullptr), G - 1, G,",
    ),
    Fault(
        "GRU gradient: the second bias has that of the first",
        BACKWARD,
        "pack_columns<N>(from, recurrent_column(g) * run_.H + column, width,",
        "pack_columns<N>(from, to, width,",
    ),
    Fault(
        "GRU gradient: that of the second bias dropped",
        BACKWARD,
        "args_.d_bias ? args_.d_bias + GH + to : nullptr",
        "nullptr",
    ),
    # ---- GRU, reset before ----
    Fault(
        "GRU reset before: z in the place of r", GRU, "return policy.recurrent(z[R]);", "return policy.recurrent(z[Z]);"
    ),
    Fault(
        "GRU reset before: 1 - z forgotten",
        GRU,
        "tape[C] = policy.tape(z[C], g);\n    state[0] = fma<Real>(update, state[0], (Real(1) - update) * g);",
        "tape[C] = policy.tape(z[C], g);\n    state[0] = fma<Real>(update, state[0], g);",
    ),
    Fault(
        "GRU reset before gradient: h goes back by 1 - z",
        GRU,
        "policy.recurrent_slope(tape[Z], update);\n    d[0] = d[0] * update;",
        "policy.recurrent_slope(tape[Z], update);\n    d[0] = d[0] * (Real(1) - update);",
    ),
    Fault("GRU reset before gradient: what arrives at r dropped", GRU, "fma<Real>(d_rh, h, dr)", "(d_rh * h)"),
    Fault(
        "GRU reset before: r scales the h that another gate's dropout left",
        FORWARD,
        "load(seen_h(b) + candidate + unit)",
        "load(seen_h(b) + 0 * candidate + unit)",
    ),
    Fault(
        "GRU reset before gradient: of the weights by h, not by r h",
        BACKWARD,
        "if (g < kFirst) return h;",
        "if (g <= kFirst) return h;",
    ),
    Fault(
        "GRU reset before gradient: the dropout of r h forgotten",
        BACKWARD,
        "fma<Real>(d_rh * r, kept, load(d(0, b, unit)))",
        "fma<Real>(d_rh * r, broadcast(Real(1)), load(d(0, b, unit)))",
    ),
    Fault(
        "GRU reset before gradient: of that dropout without r",
        BACKWARD,
        "add_to_dropout(at, b, unit, lanes, step, d_rh * r);",
        "add_to_dropout(at, b, unit, lanes, step, d_rh);",
    ),
    # ---- Simple ----
    Fault(
        "simple gradient: the slope missing",
        SIMPLE,
        "(d[0] + d_gates[0]) * policy.act_slope(tape[0], policy.act_value(tape[0]))",
        "d[0] + d_gates[0]",
    ),
    Fault("simple gradient: what arrives at the gate dropped", SIMPLE, "(d[0] + d_gates[0])", "d[0]"),
    Fault("simple gradient: h goes straight back", SIMPLE, "    d[0] = Vec<Real>{};\n", ""),
]
