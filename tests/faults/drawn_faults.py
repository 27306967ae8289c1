"""Faults that models drawn from all layers should show."""

from __future__ import annotations

from fault import Fault

_DRAWN = ("tests/drawn/test_drawn_parity.py::test_everything_drawn_once_beside_keras_on_numpy[0]",)

DRAWN_FAULTS = [
    Fault(
        "drawn: both directions carry the output over masked steps",
        "src/everystep/layers/bidirectional.py",
        "each.zero_output_for_mask = each.return_sequences",
        "each.zero_output_for_mask = False",
        _DRAWN,
    ),
    Fault(
        "drawn: epsilon beside the root",
        "src/everystep/layers/batch_normalization.py",
        "np.sqrt(variance + np.asarray(self.epsilon, inputs.dtype))",
        "(np.sqrt(variance) + np.asarray(self.epsilon, inputs.dtype))",
        _DRAWN,
    ),
    Fault(
        "drawn: a step's own mask reaches no layer in TimeDistributed",
        "src/everystep/layers/time_distributed.py",
        "takes = mask is not None and mask.ndim > 1 and",
        "takes = mask is not None and mask.ndim > 2 and",
        _DRAWN,
    ),
]
