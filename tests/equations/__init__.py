"""The textbook loop in NumPy, and its gradient by hand: the oracle of the engine.

`cells.py` has one step of each cell and its gradient, line by line as in a textbook; `loop.py` takes the steps, of any
cell; `activations.py` has the activations and their slopes. Slow and meant to be: a line of NumPy a line of algebra.

B batch, T time steps, I input features, H units, G gates of the cell.
"""

from functools import partial

from equations.activations import ACTIVATIONS, Activation
from equations.cells import CELLS
from equations.loop import Run, gradient, run

lstm, gru, gru_reset_before, simple = (partial(run, cell) for cell in CELLS)

__all__ = ["ACTIVATIONS", "CELLS", "Activation", "Run", "gradient", "gru", "gru_reset_before", "lstm", "run", "simple"]
