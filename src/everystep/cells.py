"""Each recurrent cell as data: its gates, its states, the shapes of its weights.

Words and letters used everywhere: B batch, T time steps, I input features, H units, G gates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Cell:
    """A recurrent cell.

    Attributes:
        name: what the engine calls it.
        gates: one letter per gate, in the order of the columns of its kernels.
        gate_names: what each gate is called in words, in the same order.
        states: one letter per state, in the order in which Keras returns them.
        state_names: what each state is called in words, in the same order.
        biases: 1, or 2 where the recurrent kernel has a bias of its own.
        taped: how many numbers a unit leaves for the gradient at each step.
    """

    name: str
    gates: tuple[str, ...]
    gate_names: tuple[str, ...]
    states: tuple[str, ...]
    state_names: tuple[str, ...]
    biases: int
    taped: int

    def weight_shapes(self, inputs: int, units: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the weights, in Keras's order: kernel (I,GH), recurrent_kernel (H,GH), bias (GH) or (2,GH)."""
        columns = len(self.gates) * units
        return {
            "kernel": (inputs, columns),
            "recurrent_kernel": (units, columns),
            "bias": (columns,) if self.biases == 1 else (self.biases, columns),
        }


LSTM = Cell(
    name="lstm",
    gates=("i", "f", "g", "o"),
    gate_names=("input gate", "forget gate", "candidate", "output gate"),
    states=("h", "c"),
    state_names=("hidden state", "cell state"),
    biases=1,
    taped=4,
)

GRU = Cell(
    name="gru",  # Keras's reset_after=True
    gates=("z", "r", "g"),
    gate_names=("update gate", "reset gate", "candidate"),
    states=("h",),
    state_names=("hidden state",),
    biases=2,
    taped=4,
)

GRU_RESET_BEFORE = replace(GRU, name="gru_reset_before", biases=1, taped=3)  # Keras's reset_after=False

SIMPLE = Cell(
    name="simple",
    gates=("h",),
    gate_names=("new state",),
    states=("h",),
    state_names=("hidden state",),
    biases=1,
    taped=1,
)

# In the order of `enum class CellKind` in engine/everystep.h.
CELLS = {cell.name: cell for cell in (LSTM, GRU, GRU_RESET_BEFORE, SIMPLE)}

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
