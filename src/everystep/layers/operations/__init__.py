"""The functions that Keras enters in a model's graph between the layers: slices, arithmetic, reductions, reshapes.

One is made of the name of Keras's class and the options in its config, and called as Keras's is:

    Function("Mean", name="pool", axis=1, keepdims=False)(x)
    Function("Add")(x, 2.0)
    Function("GetItem")(x, (slice(None), -1))

`KINDS` is the table of all of them: in it stand the names, the options with their defaults, and the names of a call's
arguments. `x + 2`, `x[:, -1]` and the like on symbolic tensors make the same. Called on arrays, all run at once.
"""

from everystep.layers.operations.function import Function, apply
from everystep.layers.operations.table import BY_CLASS, KINDS

__all__ = ["BY_CLASS", "KINDS", "Function", "apply"]
