"""The only importer of the native module: checks, allocates, calls.

Every function refuses an array of the wrong shape, dtype or layout by name; nothing is cast.
"""

from everystep.engine.arguments import activation_code
from everystep.engine.arrays import BOOL, FLOATS, Array
from everystep.engine.backward import Gradients, run_backward
from everystep.engine.bound import Bound, Program, bound_activation, bound_product, bound_runs, bound_step
from everystep.engine.forward import Outputs, Record, Step, run, run_together, step
from everystep.engine.machine import MOST_THREADS, check_environment, engine_info, set_num_threads
from everystep.engine.products import PackedMatrix, activate, pack_matrix, product
from everystep.engine.weights import Packed, pack

check_environment()

__all__ = [
    "BOOL", "FLOATS", "MOST_THREADS", "Array", "Bound", "Gradients", "Outputs", "Packed", "PackedMatrix", "Program",
    "Record", "Step", "activate", "activation_code", "bound_activation", "bound_product", "bound_runs", "bound_step",
    "engine_info", "pack", "pack_matrix", "product", "run", "run_backward", "run_together", "set_num_threads", "step",
]  # fmt: skip
