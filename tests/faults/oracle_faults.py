"""Faults in the textbook loop itself."""

from __future__ import annotations

from fault import ORACLE, Fault

CELLS, LOOP = "tests/equations/cells.py", "tests/equations/loop.py"

ORACLE_FAULTS = [
    Fault("oracle, LSTM: the wrong gate lets c out", CELLS, "h_new = o * a(c_new)", "h_new = f * a(c_new)", ORACLE),
    Fault("oracle, LSTM: c of after the step in the gradient", CELLS, "(df + dc * c)", "(df + dc * c_new)", ORACLE),
    Fault("oracle, GRU: r scales the part of x", CELLS, "product.x(2, x) + r * u", "r * product.x(2, x) + u", ORACLE),
    Fault("oracle, GRU: the gradient of u is not scaled", CELLS, "du = dzg * r", "du = dzg", ORACLE),
    Fault("oracle, GRU: du for dz_g in that of r", CELLS, "(dr + dzg * u)", "(dr + du * u)", ORACLE),
    Fault(
        "oracle, GRU reset before: r scales the product",
        CELLS,
        "product.h(2, r * h)",
        "r * product.h(2, h)",
        ORACLE,
    ),
    Fault(
        "oracle, GRU reset before: the way through r h missing",
        CELLS,
        "dh * z + drh * r + back",
        "dh * z + back",
        ORACLE,
    ),
    Fault("oracle, simple: the slope missing", CELLS, "(dg + dh) * a.slope(z)", "(dg + dh)", ORACLE),
    Fault(
        "oracle: the gradient runs on through a reset",
        LOOP,
        "        d_states = [np.where(again, 0, d) for d in d_states]\n",
        "",
        ORACLE,
    ),
    Fault(
        "oracle: the second bias is the first",
        LOOP,
        "_times(h, self.recurrent_dropout, k) @ self.R[k], self.recurrent_bias, k)",
        "_times(h, self.recurrent_dropout, k) @ self.R[k], self.recurrent_bias and self.bias, k)",
        ORACLE,
    ),
    Fault(
        "oracle: the second bias's gradient is the first's", LOOP, 'each("recurrent_bias"))', 'each("bias"))', ORACLE
    ),
    Fault(
        "oracle: dropout goes back to x unmultiplied",
        LOOP,
        "return _times(d_dropped, factors, k)",
        "return d_dropped",
        ORACLE,
    ),
]
