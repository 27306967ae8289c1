"""Faults of what reads Keras 2's files and writes Keras 3's."""

from __future__ import annotations

from fault import Fault

FILES = ("tests/saved/test_saved_legacy_h5.py", "tests/saved/test_saved_weights.py")
CONFIGS = ("tests/models/test_models_keras2_config.py",)

LEGACY_FAULTS = [
    Fault(
        "Keras 2: hard_sigmoid is taken for Keras 3's",
        "src/everystep/models/keras2_config.py",
        'return "hard_sigmoid_keras2" if value == "hard_sigmoid" else value',
        "return value",
        FILES,
    ),
    Fault(
        "Keras 2: the calls of an inner model are counted from 0",
        "src/everystep/models/keras2_calls.py",
        "min(lowest.get(name, 0), 1) if kind in inner else 0",
        "0",
        FILES,
    ),
    Fault(
        "Keras 2: a GRU without a word about it resets after the recurrent kernel",
        "src/everystep/models/keras2_config.py",
        'config.setdefault("reset_after", False)',
        'config.setdefault("reset_after", True)',
        CONFIGS,
    ),
    Fault(
        "legacy .h5: weights that are not trained stay among the others",
        "src/everystep/saved/legacy_h5.py",
        "return (trainable, others) if layer.trainable else ([], trainable + others)",
        "return trainable, others",
        FILES,
    ),
    Fault(
        "CuDNN: each gate's recurrent kernel is not transposed",
        "src/everystep/saved/cudnn_weights.py",
        'arrays["recurrent_kernel"][:, at : at + H].T for',
        'arrays["recurrent_kernel"][:, at : at + H] for',
        FILES,
    ),
    Fault(
        "CuDNN: an LSTM takes but the first of the two biases",
        "src/everystep/saved/cudnn_weights.py",
        "both[0] + both[1]",
        "both[0]",
        FILES,
    ),
    Fault(
        "to Keras 3: an LSTM's candidate is scaled with its gates",
        "src/everystep/saved/keras3_changes.py",
        'return ("i", "f", "o") if',
        'return ("i", "f", "g", "o") if',
        FILES,
    ),
    Fault(
        "strings of an HDF5 attribute are read however much they come to",
        "src/everystep/saved/safe_hdf5.py",
        "if count * each > STRINGS:",
        "if False:",
        FILES,
    ),
    Fault(
        "Keras 2: masks of merged arrays go together as in Keras 3",
        "src/everystep/layers/keras2.py",
        'masks.apply("LogicalAnd", a, b)',
        'masks.apply("LogicalOr", a, b)',
        FILES,
    ),
    Fault(
        "Keras 2: a layer that starts from states loses its mask",
        "src/everystep/models/keras2_calls.py",
        'if kwargs.get("initial_state") and "mask" not in kwargs:',
        "if False:",
        (*FILES, *CONFIGS),
    ),
    Fault(
        "Keras 2: Rescaling hands masks on",
        "src/everystep/layers/keras2.py",
        "passes_mask = False",
        "pass",
        FILES,
    ),
    Fault(
        "names of masks' functions may be those of a config's layers",
        "src/everystep/layers/naming.py",
        "if name not in _given.get():",
        "if True:",
        CONFIGS,
    ),
    Fault(
        "strings of HDF5 attributes that share data are all read",
        "src/everystep/saved/safe_hdf5.py",
        "if self._left < 0:",
        "if False:",
        ("tests/saved/test_saved_safe_hdf5.py",),
    ),
]
