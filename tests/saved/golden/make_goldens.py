"""Makes goldens.zip: files of Keras 2, each with what Keras 2 itself computes for it, in float64.

Keras 2 is tf_keras, which lives on beside TensorFlow. In an environment of its own:

    python -m venv keras2 && keras2/bin/pip install tensorflow tf_keras
    TF_USE_LEGACY_KERAS=1 keras2/bin/python tests/saved/golden/make_goldens.py

CASE.npz holds the inputs and the outputs by name. CASE.h5 is a whole model, CASE.keras too, and CASE.weights_only.h5
are the weights for CASE.json. Files of `MIMICKED` are what older versions wrote: their configs, names and layouts are
edited here. Each is loaded in tf_keras, and must give equal outputs there, before it is kept; `made.json` says so.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tensorflow as tf
import tf_keras as keras
from tf_keras import layers as k
from tf_keras.src.layers.rnn.gru_v1 import GRU as GRU1
from tf_keras.src.layers.rnn.lstm_v1 import LSTM as LSTM1

GOLDENS = Path(__file__).parent / "goldens.zip"
T, I, H, VOCABULARY = 5, 3, 2, 6
keras.backend.set_floatx("float64")


# ---- Models ----


def stack() -> Any:
    return keras.Sequential(
        [
            k.Embedding(VOCABULARY, I, mask_zero=True, input_length=T, name="embedding_1"),
            k.LSTM(H, return_sequences=True, recurrent_activation="hard_sigmoid", name="lstm_1"),
            k.Dropout(0.5, name="dropout_1"),
            k.GRU(I, reset_after=False, recurrent_activation="hard_sigmoid", name="gru_1"),
            k.Dense(2, activation="hard_sigmoid", name="dense_1"),
        ]
    )


def encoder_decoder() -> Any:
    ids, target = k.Input((T,), dtype="int32", name="ids"), k.Input((None, I), name="target")
    _, h, c = k.LSTM(H, return_state=True, name="encoder")(k.Embedding(VOCABULARY, I, mask_zero=True)(ids))
    y, _, _ = k.LSTM(H, return_sequences=True, return_state=True, name="decoder")(target, initial_state=[h, c])
    return keras.Model([ids, target], [k.TimeDistributed(k.Dense(2, activation="softmax"))(y), h])


def shared_and_nested() -> Any:
    """A layer called twice; a model and a Sequential in a model, called twice; a layer that is not trained."""
    a, b = k.Input((T, I), name="a"), k.Input((T, I), name="b")
    shared = k.GRU(H, return_sequences=True, name="shared")
    one, two = shared(a), shared(b)
    p, q = k.Input((T, H), name="p"), k.Input((T, H), name="q")
    frozen = k.Dense(3, trainable=False, name="frozen")
    inner = keras.Model([p, q], [k.LSTM(H, return_sequences=True)(p), k.Dense(H)(frozen(q))], name="inner")
    tower = keras.Sequential([k.Dense(3, input_shape=(T, H)), k.SimpleRNN(H, return_sequences=True)], name="tower")
    three, four = inner([one, two])
    five, six = inner([four, tower(three)])
    return keras.Model([a, b], [k.Concatenate()([five, one]), k.Dense(1)(tower(six))])


def wrappers() -> Any:
    x = k.Input((T, I), name="x")
    seen = k.Masking(0.5)(x)
    y = k.Bidirectional(k.GRU(H, return_sequences=True))(seen)
    z = k.Bidirectional(k.LSTM(H, return_sequences=True, use_bias=False), merge_mode="sum")(y)
    cells = [k.LSTMCell(H), k.GRUCell(3, reset_after=False, recurrent_activation="hard_sigmoid"), k.SimpleRNNCell(2)]
    last = k.RNN(cells, go_backwards=True)(z)
    simple = k.SimpleRNN(3, activation="relu", return_state=True)(seen)
    return keras.Model(x, [y, last, *simple, k.TimeDistributed(k.Dense(2, activation="tanh"))(z)])


def operations() -> Any:
    """Functions of TensorFlow between the layers."""
    x, ids = k.Input((T, I), name="x"), k.Input((T,), dtype="int32", name="ids")
    y = k.LSTM(H, return_sequences=True)(x)
    last, some = y[:, -1], y[:, 1:4, ::-1]
    mean = tf.reduce_mean(y * 2.0 - 1.0, axis=1)
    mask = tf.not_equal(ids, 0)
    masked = k.GRU(H)(x, mask=mask)
    return keras.Model([x, ids], [last + mean / 3.0, some, masked, tf.maximum(-masked, tf.reduce_sum(y, [1]))])


def convolutions() -> Any:
    """Convolutions, pooling and normalization, frozen in part, in a model of their own too."""
    x = k.Input((T, I), name="x")
    y = k.Conv1D(4, 3, padding="causal", dilation_rate=2, activation="hard_sigmoid")(k.ZeroPadding1D(1)(x))
    tower = keras.Sequential(
        [
            k.Conv1D(4, 2, padding="same", groups=2, input_shape=(None, 4)),
            k.BatchNormalization(),
            k.LeakyReLU(0.25),  # TensorFlow rounds it to float32
            k.LayerNormalization(trainable=False),
            k.SeparableConv1D(3, 2),
            k.BatchNormalization(scale=False),
        ],
        name="tower",
    )
    z = tower(y)
    return keras.Model(x, [k.GlobalMaxPooling1D()(z), k.AveragePooling1D(2)(tower(k.Cropping1D(1)(y)))])


def shapes() -> Any:
    """Layers that move numbers about, and those that join several."""
    x, y = k.Input((T, I), name="x"), k.Input((T, I), name="y")
    turned = k.Permute((2, 1))(k.Reshape((I, T))(k.Flatten()(x)))
    joined = k.Average()([k.Multiply()([turned, y]), k.Subtract()([x, k.Maximum()([x, y])])])
    last = k.LSTM(H, return_sequences=True)(k.SpatialDropout1D(0.5)(k.ELU(0.7)(joined)))
    again = k.RepeatVector(2)(k.Dot(axes=(1, 1), normalize=True)([k.Flatten()(x), k.Flatten()(y)]))
    return keras.Model([x, y], [k.PReLU(shared_axes=[1])(last), k.Softmax()(last), again, k.Attention()([x, y])])


def masks() -> Any:
    """Masks that come together, and a decoder that starts from states: equal in Keras 3 once it is told of them."""
    x, ids, other = k.Input((T, I), name="x"), k.Input((T,), dtype="int32"), k.Input((T,), dtype="int32")
    seen = k.Masking(0.5)(x)
    one = k.Embedding(VOCABULARY, I, mask_zero=True)(ids)
    two = k.Embedding(VOCABULARY, I, mask_zero=True)(other)
    _, h, c = k.LSTM(H, return_state=True)(one)
    decoded = k.LSTM(H)(two, initial_state=[h, c])
    return keras.Model(
        [x, ids, other],
        [
            k.GRU(H)(k.Concatenate()([one, two])),
            k.GRU(H)(k.Dense(3)(k.Add()([one, x]))),
            k.LSTM(H, return_sequences=True)(k.Concatenate()([x, k.Average()([two, seen])])),
            decoded,
            k.LSTM(H)(seen),
        ],
    )


def masks_of_keras_2() -> Any:
    """What Keras 3 computes otherwise: numbers of masked steps, and masks handed on."""
    ids, other = k.Input((T,), dtype="int32"), k.Input((T,), dtype="int32")
    one = k.Embedding(VOCABULARY, I, mask_zero=True)(ids)
    two = k.Embedding(VOCABULARY, I, mask_zero=True)(other)
    attended = k.MultiHeadAttention(2, 3)(one, two)
    return keras.Model(
        [ids, other],
        [
            k.Multiply(name="product")([one, two]),
            k.Maximum(name="largest")([one, two]),
            k.LSTM(H)(k.Rescaling(2.0, name="scaled")(one)),
            k.LSTM(H)(k.Reshape((T, I), name="same")(one)),
            k.GlobalAveragePooling1D()(k.Subtract(name="difference")([one, two])),
            k.GlobalAveragePooling1D()(two),
            k.GRU(H)(attended),
        ],
    )


def more_operations() -> Any:
    """More functions of TensorFlow, and layers whose configs Keras 3 reads otherwise."""
    x, ids = k.Input((T, I), name="x"), k.Input((T,), dtype="int32", name="ids")
    normalize = k.Normalization()
    normalize.build((None, T, I))
    y = normalize(x)
    last = tf.squeeze(y[:, -1:], 1)
    turned = tf.transpose(y, [0, 2, 1])
    chosen = tf.where(y > 0, tf.nn.leaky_relu(y), tf.nn.softmax(y))
    return keras.Model(
        [x, ids],
        [
            tf.matmul(y, turned),
            tf.stack([last, tf.clip_by_value(last, -0.1, 0.1)], axis=1),
            tf.reverse(tf.cumsum(chosen, axis=1), [2]),
            tf.tile(tf.one_hot(ids, VOCABULARY, dtype="float64"), [1, 2, 1]),
            tf.math.reduce_std(y, 1) + tf.math.softplus(last) + tf.nn.silu(last) * tf.nn.relu6(last),
            tf.cast(ids, "float64") * tf.math.floormod(y[:, :, 0], 2.0) + y[:, :, 1] // 2.0,
            k.ThresholdedReLU(0.3)(tf.repeat(y, 2, axis=1)),
        ],
    )


def gates_of_cudnn() -> Any:
    """What CuDNN's layers compute: the usual functions, the reset gate after the recurrent kernel."""
    x = k.Input((T, I), name="x")
    y, h, c = k.LSTM(H, return_sequences=True, return_state=True, name="lstm")(x)
    z = k.Bidirectional(k.GRU(3, return_sequences=True, name="gru"), name="both")(y)
    inner = keras.Sequential([k.LSTM(H, input_shape=(T, 6), name="lstm_2")], name="inner")
    return keras.Model(x, [h, c, inner(z), k.GRU(H, name="gru_2")(z)])


REAL: list[Callable[[], Any]] = [
    *(stack, encoder_decoder, shared_and_nested, wrappers, operations, convolutions, shapes),
    *(masks, masks_of_keras_2, more_operations),
]


# ---- Older files ----


def keras_2_0(config: Any, arrays: Any) -> None:
    """A Sequential is a bare list; no dtype but beside an input shape; one scaled initializer; no reset_after."""
    config["config"] = config["config"]["layers"][1:]
    for entry in config["config"]:
        entry["config"] = _old(entry["config"], dtype=True)
        for key in ("reset_after", "time_major"):
            entry["config"].pop(key, None)
        if "implementation" in entry["config"]:
            entry["config"]["implementation"] = 0


def keras_2_3(config: Any, arrays: Any) -> None:
    """A functional model is a Model."""
    config["class_name"] = "Model"
    for entry in config["config"]["layers"]:
        entry["class_name"] = {"Functional": "Model"}.get(entry["class_name"], entry["class_name"])
        entry["config"] = _old(entry["config"], dtype=True)
        entry["config"].pop("time_major", None)


def cudnn(config: Any, arrays: Any) -> None:
    """LSTM and GRU become CuDNN's, in their config and in their weights."""

    def convert(entry: Any) -> None:
        config = entry["config"]
        for inner in (config.get("layer"), *(config.get("layers") or ())):
            if inner:
                convert(inner)
        if entry["class_name"] in ("LSTM", "GRU"):
            entry["class_name"] = f"CuDNN{entry['class_name']}"
            for key in ("activation", "recurrent_activation", "use_bias", "dropout", "recurrent_dropout", "unroll",
                        "implementation", "reset_after", "time_major"):  # fmt: skip
                config.pop(key, None)

    convert(config)
    cudnn_weights(arrays)


def cudnn_weights(arrays: Any) -> None:
    for path, recurrent in list(arrays.items()):
        if not path.endswith("recurrent_kernel:0"):
            continue
        G = recurrent.shape[1] // len(recurrent)
        place = path.removesuffix("recurrent_kernel:0")
        kernel, bias = arrays[f"{place}kernel:0"], arrays[f"{place}bias:0"]
        theirs = [gate.T.ravel().reshape(gate.shape) for gate in np.split(kernel, G, axis=1)]
        arrays[f"{place}kernel:0"] = np.concatenate(theirs, axis=1)
        arrays[path] = np.concatenate([gate.T for gate in np.split(recurrent, G, axis=1)], axis=1)
        share = np.linspace(-1, 1, bias.size)  # two biases that add up
        arrays[f"{place}bias:0"] = np.concatenate([share, bias - share]) if G == 4 else bias.ravel()


def _old(value: Any, dtype: bool = False) -> Any:
    """Initializers without a module, and scaled ones by the one class of that time."""
    if isinstance(value, list):
        return [_old(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    value = {
        key: _old(inner) for key, inner in value.items() if key not in ("module", "registered_name", "build_config")
    }
    if value.get("class_name") == "GlorotUniform":
        config = {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform", "seed": None}
        return {"class_name": "VarianceScaling", "config": config}
    return value


class Mimicked:
    """A file edited from that of a model, how it is loaded in tf_keras, and what Keras it is said to be of."""

    def __init__(self, name: str, model: Any, edit: Any, version: str, classes: Any) -> None:
        self.name, self.model, self.edit, self.version, self.classes = name, model, edit, version, classes


THEN = {"LSTM": LSTM1, "GRU": GRU1}  # with the defaults of their time
MIMICKED = [
    Mimicked("keras_2_0", stack, keras_2_0, "2.0.8", THEN),
    Mimicked("keras_2_3", encoder_decoder, keras_2_3, "2.3.1", {}),
    Mimicked("cudnn", gates_of_cudnn, cudnn, "2.2.4", {"CuDNNLSTM": k.LSTM, "CuDNNGRU": k.GRU}),
]


# ---- Making ----


def with_numbers(make: Callable[[], Any]) -> tuple[Any, list[Any], list[Any]]:
    """A model with random weights, inputs with masked steps among them, and its outputs."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(7)
    rng = np.random.default_rng(7)
    model = make()
    drawn = {weight.name: rng.normal(0, 0.7, weight.shape) for weight in model.weights}
    variances = {name: abs(value) for name, value in drawn.items() if "variance" in name}
    model.set_weights(list((drawn | variances).values()))
    inputs = []
    for tensor in model.inputs:
        shape = (3, *(T if size is None else size for size in tensor.shape[1:]))
        ids = tensor.dtype == "int32" or "embedding" in tensor.name
        inputs.append(rng.integers(0, 3, shape) if ids else rng.normal(size=shape))
        if not ids:
            inputs[-1][0, -2:] = 0.5
    return model, inputs, outputs_of(model, inputs)


def outputs_of(model: Any, inputs: list[Any]) -> list[Any]:
    outputs = model.predict(inputs, verbose=0)
    return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]


def assert_equal(ours: list[Any], theirs: list[Any]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


def edited(source: Path, target: Path, edit: Any, version: str) -> None:
    """A whole model's file, written anew with another config and other numbers."""
    with h5py.File(source) as old, h5py.File(target, "w") as new:
        config = json.loads(old.attrs["model_config"])
        weights = old["model_weights"]
        names = [str(name) for name in weights.attrs["layer_names"]]
        order = {name: [str(one) for one in weights[name].attrs["weight_names"]] for name in names}
        arrays = {f"{name}/{one}": weights[name][one][()] for name in names for one in order[name]}
        edit(config, arrays)
        new.attrs["keras_version"] = version.encode()
        new.attrs["backend"] = b"tensorflow"
        new.attrs["model_config"] = json.dumps(config).encode()
        made = new.create_group("model_weights")
        made.attrs["layer_names"] = np.array([name.encode() for name in names])
        made.attrs["keras_version"] = version.encode()
        made.attrs["backend"] = b"tensorflow"
        for name in names:
            group = made.create_group(name)
            group.attrs["weight_names"] = np.array([one.encode() for one in order[name]])
            for one in order[name]:
                group[one] = arrays[f"{name}/{one}"]


def make_all(folder: Path) -> None:
    """Writes every file into a folder."""

    record: dict[str, Any] = {"tf_keras": keras.__version__, "tensorflow": tf.__version__, "mimicked": {}}

    def keep(name: str, inputs: list[Any], outputs: list[Any]) -> None:
        arrays = {f"x{n}": a for n, a in enumerate(inputs)} | {f"y{n}": a for n, a in enumerate(outputs)}
        np.savez(folder / f"{name}.npz", **arrays)

    for make in REAL:
        name = make.__name__
        model, inputs, outputs = with_numbers(make)
        model.save(folder / f"{name}.h5", include_optimizer=False)
        model.save(folder / f"{name}.keras")
        model.save_weights(folder / f"{name}.weights_only.h5")
        (folder / f"{name}.json").write_text(model.to_json())
        keep(name, inputs, outputs)
        assert_equal(outputs_of(keras.models.load_model(folder / f"{name}.h5", compile=False), inputs), outputs)
    for case in MIMICKED:
        model, inputs, outputs = with_numbers(case.model)
        source, target = folder / "source.h5", folder / f"{case.name}.h5"
        model.save(source, include_optimizer=False)
        edited(source, target, case.edit, case.version)
        source.unlink()
        with keras.utils.custom_object_scope(case.classes):
            again = keras.models.load_model(target, compile=False)
        assert_equal(outputs_of(again, inputs), outputs)
        record["mimicked"][target.name] = f"Keras {case.version}: loads in tf_keras, and outputs are equal to 1e-12"
        keep(case.name, inputs, outputs)
    (folder / "made.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made, zipfile.ZipFile(GOLDENS, "w", zipfile.ZIP_DEFLATED) as archive:
        make_all(Path(made))
        for path in sorted(Path(made).iterdir()):
            archive.write(path, path.name)
