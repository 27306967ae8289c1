"""Faults of what stands around the cells in the half that runs."""

from __future__ import annotations

from fault import Fault

LAYER_FAULTS = [
    Fault(
        "Bidirectional: what is added of the backward direction stays in its own order",
        "src/everystep/layers/bidirectional.py",
        "[[np.ascontiguousarray(v[:, ::-1]) for v in some]",
        "[[np.ascontiguousarray(v) for v in some]",
        ("tests/layers/test_layers_bidirectional.py",),
    ),
    Fault(
        "ragged batches: a step of padding for one of the sequence",
        "src/everystep/models/ragged.py",
        "np.arange(array.shape[1]) < lengths[:, None]",
        "np.arange(array.shape[1]) <= lengths[:, None]",
        ("tests/models/test_models_ragged.py",),
    ),
    Fault(
        "from_torch: the gates of a GRU in PyTorch's order",
        "src/everystep/saved/torch_weights.py",
        "np.concatenate([gates[k] for k in GATES[kind]])",
        "np.concatenate(gates)",
        ("tests/saved/test_saved_torch.py",),
    ),
]
