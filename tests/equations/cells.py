"""One step of each cell, as a textbook has it, and inside it the step's gradient, by the chain rule.

A step is a function of the products, x and the states before it, of the recurrent activation s and the activation a.
It returns the states after it, its gates, and its gradient: a function of the gradients of the first two, a letter d
before each. Gate by gate, in the order of the kernels' columns,

    product.x(k, x) = (x dropout_k) W_k + b_k             product.h(k, h) = (h recurrent_dropout_k) R_k (+ b'_k)

where b' is the bias of the recurrent kernel, for a cell that has one. Their gradient `back.h(k, h, dz)` returns what it
makes of dz for h, and adds to those of R_k, b'_k and recurrent_dropout_k; the loop does the same for x, from the dz of
every gate, which the gradient returns together with those of the states before.
"""

from __future__ import annotations

from typing import Any


def lstm(product: Any, x: Any, h: Any, c: Any, s: Any, a: Any) -> Any:
    """Hochreiter and Schmidhuber, "Long Short-Term Memory" (1997), with the forget gate of Gers, Schmidhuber and
    Cummins, "Learning to Forget" (2000). Gates i, f, g, o."""
    zi, zf, zg, zo = (product.x(k, x) + product.h(k, h) for k in range(4))
    i, f, g, o = s(zi), s(zf), a(zg), s(zo)
    c_new = f * c + i * g
    h_new = o * a(c_new)

    def gradient(back: Any, dh: Any, dc: Any, di: Any, df: Any, dg: Any, do: Any) -> Any:
        dc = dc + dh * o * a.slope(c_new)
        dzi = (di + dc * g) * s.slope(zi)
        dzf = (df + dc * c) * s.slope(zf)
        dzg = (dg + dc * i) * a.slope(zg)
        dzo = (do + dh * a(c_new)) * s.slope(zo)
        dh = back.h(0, h, dzi) + back.h(1, h, dzf) + back.h(2, h, dzg) + back.h(3, h, dzo)
        dc = dc * f
        return (dzi, dzf, dzg, dzo), (dh, dc)

    return (h_new, c_new), (i, f, g, o), gradient


def gru(product: Any, x: Any, h: Any, s: Any, a: Any) -> Any:
    """Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder" (2014), as cuDNN and Keras
    (reset_after=True) have it: r scales what the recurrent kernel makes of h. Gates z, r, g."""
    zz, zr = (product.x(k, x) + product.h(k, h) for k in (0, 1))
    z, r = s(zz), s(zr)
    u = product.h(2, h)
    zg = product.x(2, x) + r * u
    g = a(zg)
    h_new = z * h + (1 - z) * g

    def gradient(back: Any, dh: Any, dz: Any, dr: Any, dg: Any) -> Any:
        dzg = (dg + dh * (1 - z)) * a.slope(zg)
        du = dzg * r
        dzz = (dz + dh * (h - g)) * s.slope(zz)
        dzr = (dr + dzg * u) * s.slope(zr)
        dh = dh * z + back.h(0, h, dzz) + back.h(1, h, dzr) + back.h(2, h, du)
        return (dzz, dzr, dzg), (dh,)

    return (h_new,), (z, r, g), gradient


def gru_reset_before(product: Any, x: Any, h: Any, s: Any, a: Any) -> Any:
    """Cho et al. (2014), as they have it, and Keras with reset_after=False: r scales h itself."""
    zz, zr = (product.x(k, x) + product.h(k, h) for k in (0, 1))
    z, r = s(zz), s(zr)
    zg = product.x(2, x) + product.h(2, r * h)
    g = a(zg)
    h_new = z * h + (1 - z) * g

    def gradient(back: Any, dh: Any, dz: Any, dr: Any, dg: Any) -> Any:
        dzg = (dg + dh * (1 - z)) * a.slope(zg)
        drh = back.h(2, r * h, dzg)
        dzz = (dz + dh * (h - g)) * s.slope(zz)
        dzr = (dr + drh * h) * s.slope(zr)
        dh = dh * z + drh * r + back.h(0, h, dzz) + back.h(1, h, dzr)
        return (dzz, dzr, dzg), (dh,)

    return (h_new,), (z, r, g), gradient


def simple(product: Any, x: Any, h: Any, s: Any, a: Any) -> Any:
    """Elman, "Finding Structure in Time" (1990). One gate, which is the new state; s is not used."""
    z = product.x(0, x) + product.h(0, h)
    h_new = a(z)

    def gradient(back: Any, dh: Any, dg: Any) -> Any:
        dz = (dg + dh) * a.slope(z)
        return (dz,), (back.h(0, h, dz),)

    return (h_new,), (h_new,), gradient


CELLS = {step.__name__: step for step in (lstm, gru, gru_reset_before, simple)}
