"""Faults of layers that merge arrays, attend, and rectify."""

from __future__ import annotations

from fault import Fault

MERGING = ("tests/layers/test_layers_merging.py",)
MASKS = ("tests/models/test_models_tensor_masks.py",)
ATTENTION = ("tests/layers/test_layers_attention.py",)
ODD_CALLS = ("tests/layers/test_layers_odd_calls.py",)

MERGING_FAULTS = [
    Fault(
        "Multiply: a masked step counts as 0",
        "src/everystep/layers/merging.py",
        "one, zero = np.ones((), self.dtype)",
        "one, zero = np.zeros((), self.dtype)",
        MERGING,
    ),
    Fault(
        "merge: the output has a mask where any input has one",
        "src/everystep/layers/merging.py",
        "if mask is None or any(one is None for one in mask):\n            return None",
        "mask = [one for one in mask or [] if one is not None]\n        if not mask:\n            return None",
        MERGING,
    ),
    Fault(
        "Dot: normalized along another axis",
        "src/everystep/layers/dot.py",
        "normalized(x, -1), normalized(y, 1)",
        "normalized(x, 1), normalized(y, 1)",
        MERGING,
    ),
    Fault(
        "attention: a causal query sees one step more",
        "src/everystep/layers/attention.py",
        "np.tri(*scores.shape[1:], dtype=np.bool_)",
        "np.tri(*scores.shape[1:], k=1, dtype=np.bool_)",
        ATTENTION,
    ),
    Fault(
        "attention: a masked query step is not made 0",
        "src/everystep/layers/attention.py",
        "found = np.where(of_query[..., None], found, np.zeros((), found.dtype))",
        "found = np.where(of_query[..., None], found, found)",
        ATTENTION,
    ),
    Fault(
        "MultiHeadAttention: scaled by the value's size",
        "src/everystep/layers/multi_head_attention.py",
        "math.sqrt(self.key_dim)",
        "math.sqrt(self.value_dim)",
        ATTENTION,
    ),
    Fault(
        "masks: MultiHeadAttention leaves them on what it attends with",
        "src/everystep/models/tensor_masks.py",
        "self._found.pop(self._key(tensor), None)",
        "self._found.get(self._key(tensor), None)",
        MASKS,
    ),
    Fault(
        "masks: calls run as a search meets them, not in Keras's order",
        "src/everystep/models/graph.py",
        "self.nodes = sorted(node_depths, key=lambda node: -node_depths[node])",
        "self.nodes = [*found, *(node for node in node_depths if node not in inside)]",
        MASKS,
    ),
    Fault(
        "masks: any Permute keeps them",
        "src/everystep/layers/permute.py",
        "return self.dims == tuple(range(1, len(self.dims) + 1))",
        "return bool(self.dims)",
        MASKS,
    ),
    Fault(
        "Softmax: axes are counted as in the first call",
        "src/everystep/layers/softmax.py",
        "return self._along(inputs.ndim, inputs, mask)",
        "return self._along(self._rank if self.built else inputs.ndim, inputs, mask)",
        ODD_CALLS,
    ),
    Fault(
        "weights: what was packed of the old ones stays",
        "src/everystep/layers/weighted.py",
        "if kept is None or kept[0] is not weight:",
        "if kept is None:",
        ODD_CALLS,
    ),
    Fault(
        "LayerNormalization: weights lie in the order of the axes",
        "src/everystep/layers/layer_normalization.py",
        "for axis in sorted(axes_of(self.name, self.axis)))",
        "for axis in self._axes)",
        ODD_CALLS,
    ),
    Fault(
        "MultiHeadAttention: a sliding window one step wider",
        "src/everystep/layers/multi_head_attention.py",
        "np.arange(S)) < self.sliding_window",
        "np.arange(S)) <= self.sliding_window",
        ("tests/layers/test_layers_attention.py::test_several_heads",),
    ),
]
