"""Each recurrent cell as data: its gates, its states, the shapes of its weights.

Words and letters used everywhere: B batch, T time steps, I input features, H units, G gates.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """A recurrent cell.

    Attributes:
        name: what the engine calls it.
        gates: one letter per gate, in the order of the columns of its kernels.
        gate_names: what each gate is called in words, in the same order.
        states: one letter per state, in the order in which Keras returns them.
        state_names: what each state is called in words, in the same order.
    """

    name: str
    gates: tuple[str, ...]
    gate_names: tuple[str, ...]
    states: tuple[str, ...]
    state_names: tuple[str, ...]

    def weight_shapes(self, inputs: int, units: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the weights, in Keras's order: kernel (I,GH), recurrent_kernel (H,GH), bias (GH)."""
        columns = len(self.gates) * units
        return {
            "kernel": (inputs, columns),
            "recurrent_kernel": (units, columns),
            "bias": (columns,),
        }


LSTM = Cell(
    name="lstm",
    gates=("i", "f", "g", "o"),
    gate_names=("input gate", "forget gate", "candidate", "output gate"),
    states=("h", "c"),
    state_names=("hidden state", "cell state"),
)

CELLS = {cell.name: cell for cell in (LSTM,)}

# Every elementwise activation that Keras names, and hard_sigmoid as Keras 2 defined it.
# The order is that of `enum class Activation` in engine/everystep.h.
ACTIVATIONS = (
    "linear",
    "sigmoid",
    "tanh",
    "relu",
    "leaky_relu",
    "relu6",
    "elu",
    "selu",
    "celu",
    "exponential",
    "softplus",
    "softsign",
    "squareplus",
    "soft_shrink",
    "hard_shrink",
    "tanh_shrink",
    "sparse_plus",
    "sparse_sigmoid",
    "silu",
    "gelu",
    "mish",
    "log_sigmoid",
    "hard_sigmoid",
    "hard_sigmoid_keras2",
    "hard_silu",
    "hard_tanh",
)

ACTIVATION_ALIASES = {"swish": "silu", "hard_swish": "hard_silu"}
