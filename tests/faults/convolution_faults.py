"""Faults of convolutions, pooling and normalisation in the half that runs."""

from __future__ import annotations

from fault import Fault

CONVOLUTION, POOLING = ("tests/layers/test_layers_convolution.py",), ("tests/layers/test_layers_pooling.py",)
CLOCKS = ("tests/models/test_models_stream_clocks.py",)
NORMALIZATION = ("tests/layers/test_layers_normalization.py",)
WINDOWS = "src/everystep/layers/windows.py"

CONVOLUTION_FAULTS = [
    Fault(
        "padding='same': the odd step stands before the sequence",
        WINDOWS,
        "left = missing // 2",
        "left = (missing + 1) // 2",
        CONVOLUTION,
    ),
    Fault(
        "a chunk that ends late forgets the phase",
        WINDOWS,
        "np.full(B, wait + count * w.stride - T, np.int64)",
        "np.full(B, max(0, wait - T) if not count else w.stride - 1, np.int64)",
        CONVOLUTION,
    ),
    Fault(
        "an output that is not complete is returned",
        WINDOWS,
        "output = np.where(fresh[:, None], output, last)",
        "output = output",
        CONVOLUTION,
    ),
    Fault(
        "AveragePooling1D: what stands around the sequence counts",
        "src/everystep/layers/pooling1d.py",
        "if real is None else real",
        "if True else real",
        POOLING,
    ),
    Fault(
        "GlobalAveragePooling1D: masked steps count",
        "src/everystep/layers/global_pooling1d.py",
        "seen = x.shape[1] if mask is None else mask.astype(bool).sum(axis=1)",
        "seen = x.shape[1]",
        POOLING,
    ),
    Fault(
        "normalisation: rows are added as they lie",
        "src/everystep/layers/normalized_axes.py",
        "total = np.add.reduce(rows, axis=-1)",
        "total = np.add.reduce(np.asfortranarray(rows), axis=-1)",
        NORMALIZATION,
    ),
    Fault(
        "a chunk leaves a step fresh that is older than its end",
        "src/everystep/models/stream.py",
        "only_where_fresh(call.own_clock, call.clock)",
        "assert call.own_clock",
        CLOCKS,
    ),
    Fault(
        "Conv1D on arrays that stay: the steps of a window are the newest ones, whatever the dilation",
        "src/everystep/layers/bound.py",
        "steps[:, :: w.dilation]",
        "steps[:, -w.size :]",
        CLOCKS,
    ),
    Fault(
        "a chunk without steps is taken for a sequence that is too short",
        WINDOWS,
        "carries = bool(clock) or w.span > 1",
        "carries = True",
        CLOCKS,
    ),
    Fault(
        "glu leaves a convolution its number of features",
        "src/everystep/layers/separable_conv1d.py",
        "return size_after(self.activation, self.filters)",
        "return self.filters",
        ("tests/layers/test_layers_contract.py",),
    ),
]
