"""The four models of a well-known tutorial on `return_sequences` and `return_state`, run by everystep.

The code is the tutorial's, with the one word `tensorflow.keras` replaced. It never sets a seed, so the weights behind
its printed numbers are lost; the ones here were solved for, so that the same numbers are printed again (see
`solve_seed_weights.py`). They are weights that a fresh Keras LSTM of one unit could have: a kernel within Glorot's
uniform bound, a recurrent kernel of norm 1, a bias of 0 but for the forget gate's, 1. Others would do as well.

    python examples/seed_cases.py [everystep | everystep.keras] [--save FILE.npz] [--explain] [--without keras ...]
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
DATA = np.array([0.1, 0.2, 0.3]).reshape(1, 3, 1)
BIAS = [0.0, 1.0, 0.0, 0.0]  # i, f, g, o

HEAD = """\
from {namespace}.models import Model
from {namespace}.layers import Input, LSTM
from numpy import array
"""
BUILD = """\
inputs1 = Input(shape=(3, 1))
{call}
model = Model(inputs=inputs1, outputs={outputs})
data = array([0.1, 0.2, 0.3]).reshape((1,3,1))
"""
SHOW = "print(model.predict(data))"


class Case(NamedTuple):
    """One of the tutorial's models.

    Attributes:
        call, outputs: its own lines of code.
        printed: what the tutorial prints.
        kernel, recurrent_kernel: the four numbers of each, columns i, f, g, o.
    """

    call: str
    outputs: str
    printed: str
    kernel: list[float]
    recurrent_kernel: list[float]

    @property
    def build(self) -> str:
        """The code up to the prediction."""
        return BUILD.format(call=self.call, outputs=self.outputs)

    @property
    def weights(self) -> list[Array]:
        """As `set_weights` takes them."""
        rows = [self.kernel], [self.recurrent_kernel], BIAS
        return [np.array(row, np.float32) for row in rows]


CASES = (
    Case(
        call="lstm1 = LSTM(1)(inputs1)",
        outputs="lstm1",
        printed="[[-0.07235589]]",
        kernel=[-0.50237375, -0.5221895, -0.60776037, 0.9548859],
        recurrent_kernel=[-0.36164358, 0.57653123, -0.41566932, 0.60336083],
    ),
    Case(
        call="lstm1 = LSTM(1, return_sequences=True)(inputs1)",
        outputs="lstm1",
        printed="[[[0.00627518]\n  [0.01691228]\n  [0.03039883]]]",
        kernel=[0.40730098, -0.49753883, 0.24129678, 0.39471188],
        recurrent_kernel=[-0.6354123, -0.55179644, -0.36786014, -0.39553875],
    ),
    Case(
        call="lstm1, state_h, state_c = LSTM(1, return_state=True)(inputs1)",
        outputs="[lstm1, state_h, state_c]",
        printed="[array([[0.0659593]], dtype=float32), array([[0.0659593]], dtype=float32), "
        "array([[0.15195765]], dtype=float32)]",
        kernel=[0.013111827, 0.17922154, 0.5892818, -0.7739348],
        recurrent_kernel=[-0.047138438, -0.82257724, 0.22519326, -0.5200318],
    ),
    Case(
        call="lstm1, state_h, state_c = LSTM(1, return_sequences=True, return_state=True)(inputs1)",
        outputs="[lstm1, state_h, state_c]",
        printed="[array([[[0.0187664 ],\n        [0.05030981],\n        [0.0897956 ]]], dtype=float32), "
        "array([[0.0897956]], dtype=float32), array([[0.21259052]], dtype=float32)]",
        kernel=[0.4243438, 0.9536858, 0.77211994, -0.91286033],
        recurrent_kernel=[0.79945344, -0.5321012, 0.09602761, -0.2617659],
    ),
)


class Ran(NamedTuple):
    """A case as it ran: the model, what it printed, and its outputs."""

    model: Any
    printed: str
    outputs: list[Array]


def run(case: Case, namespace: str) -> Ran:
    """Runs the tutorial's code, with its Keras replaced by `namespace`, and the weights set before the prediction."""
    names: dict[str, Any] = {}
    exec(HEAD.format(namespace=namespace) + case.build, names)
    model = names["model"]
    model.set_weights(case.weights)
    if namespace != "everystep":
        model.predict = functools.partial(model.predict, verbose=0)  # without Keras's progress bar for one row
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(SHOW, names)
    outputs = model.predict(names["data"])
    return Ran(model, printed.getvalue().rstrip("\n"), outputs if isinstance(outputs, list) else [outputs])


def forbid(names: Sequence[str]) -> None:
    """From here on, importing these packages is an error."""

    class Forbidden:
        def find_spec(self, name: str, *_: Any) -> None:
            if name.split(".")[0] in names:
                raise ImportError(f"{name} must not be imported here")

    loaded = sorted({name.split(".")[0] for name in sys.modules} & set(names))
    if loaded:
        raise RuntimeError(f"already imported: {', '.join(loaded)}")
    sys.meta_path.insert(0, Forbidden())  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the tutorial's four models.")
    parser.add_argument("namespace", nargs="?", default="everystep")
    parser.add_argument("--save", help="write every output to this .npz file")
    parser.add_argument("--explain", action="store_true", help="print what each model returns, in words")
    parser.add_argument("--without", nargs="*", default=[], help="packages that must not be imported")
    options = parser.parse_args()
    forbid(options.without)
    outputs = {}
    print(HEAD.format(namespace=options.namespace))
    for number, case in enumerate(CASES, 1):
        ran = run(case, options.namespace)
        print(f"# Case {number}\n{case.build}{SHOW}\n\n{ran.printed}\n")
        print("same digits as the tutorial's" if ran.printed == case.printed else f"the tutorial's:\n{case.printed}")
        if options.explain:
            import everystep

            print(f"\n{everystep.explain(ran.model)}\n")
        outputs |= {f"case{number}_output{k}": array for k, array in enumerate(ran.outputs)}
    if options.save:
        np.savez(options.save, **outputs)


if __name__ == "__main__":
    main()
