"""Configs of Keras 2 in Keras 3's form: what is renamed, what is counted otherwise, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import everystep
from everystep.errors import EverystepError, FileError, UnsupportedError
from everystep.models.keras2_config import is_keras2, keras3_config
from everystep.models.reader import from_serialized

INPUT = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 5, 3], "dtype": "float32", "name": "x"}}


def layer(kind: str, name: str, *calls: Any, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name, **config}, "name": name, "inbound_nodes": list(calls)}


def functional(*layers: Any, outputs: Any) -> dict[str, Any]:
    first = {**INPUT, "name": "x", "inbound_nodes": []}
    config = {"name": "m", "layers": [first, *layers], "input_layers": [["x", 0, 0]], "output_layers": outputs}
    return {"class_name": "Model", "config": config}


def converted(version: str, kind: str, **config: Any) -> dict[str, Any]:
    """The arguments of the one layer of a Sequential."""
    entry = {"class_name": kind, "config": {"name": "one", **config}}
    made = keras3_config({"class_name": "Sequential", "config": [INPUT, entry]}, version)
    found: dict[str, Any] = made["config"]["layers"][1]
    return found


@pytest.mark.parametrize(
    ("version", "kind", "config", "expected"),
    [
        ("2.2.4", "LSTM", {}, {"recurrent_activation": "hard_sigmoid_keras2"}),
        ("2.2.4-tf", "LSTM", {}, {"recurrent_activation": "sigmoid"}),
        ("2.3.0", "GRU", {}, {"recurrent_activation": "sigmoid", "reset_after": False}),
        ("2.0.9", "GRU", {}, {"recurrent_activation": "hard_sigmoid_keras2", "reset_after": False}),
        ("2.15.0", "LSTM", {"recurrent_activation": "hard_sigmoid"}, {"recurrent_activation": "hard_sigmoid_keras2"}),
        ("2.15.0", "GRU", {"reset_after": True}, {"reset_after": True}),
        ("2.1.0", "CuDNNLSTM", {"units": 2}, {"activation": "tanh", "recurrent_activation": "sigmoid", "units": 2}),
        ("2.1.0", "CuDNNGRU", {}, {"recurrent_activation": "sigmoid", "reset_after": True}),
        ("2.0.0", "Dense", {"activation": "hard_sigmoid"}, {"activation": "hard_sigmoid_keras2"}),
        ("2.0.0", "Dense", {"activation": "relu"}, {"activation": "relu"}),
        ("2.9.0", "BatchNormalization", {"axis": [2]}, {"axis": 2}),
        ("2.9.0", "ThresholdedReLU", {"theta": 0.5}, {"threshold": 0.5}),
        ("2.9.0", "LeakyReLU", {"alpha": 0.1}, {"negative_slope": 0.1}),
        ("2.9.0", "Dense", {"dtype": {"class_name": "Policy", "config": {"name": "float64"}}}, {"dtype": "float64"}),
        ("2.9.0", "SimpleRNN", {"time_major": False, "implementation": 1}, {}),
    ],
)
def test_what_a_layers_arguments_become(version: str, kind: str, config: Any, expected: Any) -> None:
    found = converted(version, kind, **config)
    assert {key: found["config"].get(key) for key in expected} == expected
    assert not {"time_major", "implementation", "batch_input_shape", "alpha"} & set(found["config"])
    assert found["class_name"] == kind.removeprefix("CuDNN").removeprefix("Thresholded")
    assert found["module"] == "keras.layers"


@pytest.mark.parametrize(
    ("given", "kind", "config"),
    [
        ({"class_name": "VarianceScaling", "config": {"scale": 1.0, "mode": "fan_avg", "distribution": "normal"}},
         "VarianceScaling", {"scale": 1.0, "mode": "fan_avg", "distribution": "normal"}),
        ({"class_name": "Orthogonal", "config": {"gain": 2.0, "seed": 1}}, "Orthogonal", {"gain": 2.0, "seed": 1}),
        ({"class_name": "Zeros", "config": {"dtype": "float32"}}, "Zeros", {}),
        ({"class_name": "glorot_uniform", "config": {"seed": None}}, "GlorotUniform", {"seed": None}),
        ({"module": "tf_keras.src.initializers", "class_name": "Ones", "config": {}}, "Ones", {}),
    ],
)  # fmt: skip
def test_initializers(given: Any, kind: str, config: Any) -> None:
    found = converted("2.3.1", "Dense", kernel_initializer=given)["config"]["kernel_initializer"]
    assert found == {
        "module": "keras.initializers",
        "class_name": kind,
        "config": config,
        "registered_name": None,
    }


@pytest.mark.parametrize(
    ("kind", "config", "message"),
    [
        ("LSTM", {"time_major": True}, r"layer 'one' \(LSTM\) has time_major: its arrays would be \(T,B,I\)"),
        ("RNN", {"num_constants": 1}, "constants of a cell"),
        ("StackedRNNCells", {"reverse_state_order": True}, "from the last to the first"),
        ("LSTM", {"output_dim": 2}, "layer 'one' has output_dim, as Keras 1 called it"),
    ],
)
def test_what_is_refused(kind: str, config: Any, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        converted("2.1.0", kind, **config)


def test_a_class_of_somebody_elses_is_not_taken_for_keras_own() -> None:
    for own in ({"class_name": "mine>LSTM"}, {"module": "mine", "class_name": "LSTM"}):
        entry = {"config": {"name": "one", "units": 2}, **own}
        config = keras3_config({"class_name": "Sequential", "config": [INPUT, entry]}, "2.9.0")
        with pytest.raises(UnsupportedError, match="'one' is"):
            from_serialized(config)


def test_a_sequential_begins_with_the_input_of_its_first_layer() -> None:
    dense = {
        "class_name": "Dense",
        "config": {"name": "d", "units": 2, "batch_input_shape": [None, 3], "dtype": "float64"},
    }
    for config in ([dense], {"name": "s", "layers": [dense]}):
        made = everystep.Sequential.from_config(config)
        assert made.input_shape == (None, 3)
        assert made.inputs[0].dtype == "float64"
        assert [one.name for one in made.layers] == ["d"]


def test_states_among_the_inputs_of_a_recurrent_layer() -> None:
    edges = [["x", 0, 0, {}], ["first", 0, 1, {}], ["first", 0, 2, {}]]
    entry = functional(
        layer("LSTM", "first", [["x", 0, 0, {}]], units=2, return_state=True, recurrent_activation="sigmoid"),
        layer("LSTM", "second", edges, units=2, recurrent_activation="sigmoid"),
        layer("LSTM", "third", [["x", 0, 0, {"initial_state": [["first", 0, 1], ["first", 0, 2]]}]], units=2,
              recurrent_activation="sigmoid"),
        outputs=[["second", 0, 0], ["third", 0, 0]],
    )  # fmt: skip
    model = from_serialized(keras3_config(entry, "2.3.1"))
    model.get_layer("third").set_weights(model.get_layer("second").get_weights())
    x = np.random.default_rng(1).normal(size=(2, 5, 3)).astype(np.float32)
    one, other = model.predict(x)
    np.testing.assert_array_equal(one, other)
    first = model.get_layer("first")
    _, h, c = first(x)
    np.testing.assert_array_equal(one, model.get_layer("second")(x, initial_state=[h, c]))


@pytest.mark.parametrize("first", [0, 1])
def test_calls_of_an_inner_model_count_from_its_making(first: int) -> None:
    """Keras 2 counts a model's own inputs and outputs as its first call, but not those of a Sequential without any."""
    dense = {"class_name": "Dense", "config": {"name": "d", "units": 3}}
    entry = functional(
        layer("Sequential", "inner", [["x", 0, 0, {}]], [["inner", first, 0, {}]], layers=[dense]),
        outputs=[["inner", first, 0], ["inner", first + 1, 0]],
    )
    model = from_serialized(keras3_config(entry, "2.4.0"))
    x = np.random.default_rng(2).normal(size=(2, 5, 3)).astype(np.float32)
    one, two = model.predict(x)
    dense_layer = model.get_layer("inner").layers[0]
    np.testing.assert_array_equal(one, dense_layer(x))
    np.testing.assert_array_equal(two, dense_layer(one))


OPERATIONS: list[tuple[str, Any, Any]] = [
    ("math.add", {"y": ["x", 0, 0]}, lambda x: x + x),
    ("__operators__.add", {"y": 2.0, "name": None}, lambda x: x + np.float32(2)),
    ("math.subtract", {"y": 1}, lambda x: x - 1),
    ("math.multiply", {"y": -2.0}, lambda x: x * np.float32(-2)),
    ("math.truediv", {"y": 2.0}, lambda x: x / np.float32(2)),
    ("math.not_equal", {"y": 0}, lambda x: x != 0),
    ("math.maximum", {"y": 0.0}, lambda x: np.maximum(x, 0)),
    ("math.square", {}, lambda x: x * x),
    ("math.reduce_max", {"axis": 1, "keepdims": True}, lambda x: x.max(axis=1, keepdims=True)),
    ("math.reduce_min", {"axis": [-1]}, lambda x: x.min(axis=-1)),
    ("expand_dims", {"axis": -1}, lambda x: x[..., None]),
    ("concat", {"axis": -1}, lambda x: np.concatenate([x, x], -1)),
    ("nn.relu", {}, lambda x: np.maximum(x, 0)),
    ("reshape", {"shape": [-1, 15]}, lambda x: x.reshape(-1, 15)),
    ("transpose", {"perm": [0, 2, 1]}, lambda x: x.transpose(0, 2, 1)),
]


@pytest.mark.parametrize(("function", "kwargs", "expected"), OPERATIONS, ids=lambda value: str(value)[:24])
def test_functions_of_tensorflow(function: str, kwargs: Any, expected: Any) -> None:
    call: Any = ["x", 0, 0, kwargs]
    if function == "concat":
        call = [["x", 0, 0, kwargs], ["x", 0, 0, kwargs]]
    entry = functional(layer("TFOpLambda", "op", call, function=function), outputs=[["op", 0, 0]])
    x = np.random.default_rng(3).normal(size=(2, 5, 3)).astype(np.float32)
    np.testing.assert_array_equal(from_serialized(keras3_config(entry, "2.8.0")).predict(x), expected(x))


def test_a_constant_before_the_tensor() -> None:
    call = ["_CONSTANT_VALUE", -1, 1.0, {"y": ["x", 0, 0], "name": None}]
    entry = functional(layer("TFOpLambda", "op", call, function="math.subtract"), outputs=[["op", 0, 0]])
    x = np.random.default_rng(4).normal(size=(2, 5, 3)).astype(np.float32)
    np.testing.assert_array_equal(from_serialized(keras3_config(entry, "2.8.0")).predict(x), np.float32(1) - x)


def piece(start: Any = None, stop: Any = None, step: Any = None) -> dict[str, Any]:
    return {"start": start, "stop": stop, "step": step}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ([piece(), -1], lambda x: x[:, -1]),
        ([piece(), piece(1, 4), piece(step=-1)], lambda x: x[:, 1:4, ::-1]),
        ([{"class_name": "__ellipsis__"}, 0], lambda x: x[..., 0]),
    ],
)
def test_slices(spec: Any, expected: Any) -> None:
    call = ["x", 0, 0, {"slice_spec": spec}]
    entry = functional(layer("SlicingOpLambda", "op", call, function="__operators__.getitem"), outputs=[["op", 0, 0]])
    x = np.random.default_rng(5).normal(size=(2, 5, 3)).astype(np.float32)
    np.testing.assert_array_equal(from_serialized(keras3_config(entry, "2.8.0")).predict(x), expected(x))


@pytest.mark.parametrize(
    ("function", "kwargs", "message"),
    [
        ("einsum", {"b": 1}, "layer 'm/op' is the function einsum of TensorFlow, which is not supported"),
        ("linalg.matmul", {"b": 1, "transpose_b": True}, "layer 'm/op': linalg.matmul with transpose_b is not"),
        ("math.cumsum", {"axis": 1, "reverse": True}, "layer 'm/op': math.cumsum with reverse is not supported"),
        ("math.add", {"y": 1.0, "more": 2}, "layer 'm/op': math.add with more is not supported"),
        ("math.add", {}, "layer 'm/op': math.add lacks y"),
    ],
)
def test_functions_that_are_refused(function: str, kwargs: Any, message: str) -> None:
    entry = functional(layer("TFOpLambda", "op", ["x", 0, 0, kwargs], function=function), outputs=[["op", 0, 0]])
    with pytest.raises(UnsupportedError, match=message):
        keras3_config(entry, "2.8.0")


def test_a_call_of_what_is_not_there() -> None:
    entry = functional(layer("Dense", "d", [["nowhere", 0, 0, {}]], units=2), outputs=[["d", 0, 0]])
    with pytest.raises(FileError, match=r"a call of layer 'd' refers to .'nowhere', 0, 0., which"):
        keras3_config(entry, "2.8.0")


@pytest.mark.parametrize("broken", [{}, {"class_name": "Sequential"}, {"class_name": 3, "config": {}}])
def test_what_is_no_config(broken: Any) -> None:
    with pytest.raises(EverystepError):
        keras3_config(broken, "2.8.0")


def test_configs_are_told_apart_and_left_as_they_were() -> None:
    model = everystep.Sequential([everystep.Input((5, 3)), everystep.layers.LSTM(2)])
    x = everystep.Input((5, 3))
    assert not is_keras2(model.serialized())
    assert not is_keras2(model.get_config())
    assert not is_keras2(everystep.Model(x, model(x)).get_config())
    entry = functional(layer("Dense", "d", [["x", 0, 0, {}]], units=2), outputs=[["d", 0, 0]])
    assert is_keras2(entry)
    assert is_keras2(entry["config"])
    assert is_keras2([INPUT])
    before = repr(entry)
    keras3_config(entry, "2.1.0")
    assert repr(entry) == before


def test_masks_get_names_that_no_layer_has() -> None:
    """Keras 2's configs do not name what masks are computed by."""
    entry = functional(
        layer("Masking", "any", [["x", 0, 0, {}]], mask_value=0.5),
        layer("Masking", "logical_and", [["x", 0, 0, {}]], mask_value=0.1),
        layer("Concatenate", "not_equal", [["any", 0, 0, {}], ["logical_and", 0, 0, {}]], axis=-1),
        layer("GRU", "gru", [["not_equal", 0, 0, {}]], units=2),
        outputs=[["gru", 0, 0]],
    )
    for _ in range(3):  # names are counted for the whole process
        model = from_serialized(keras3_config(entry, "2.8.0"))
    names = [operation.name for operation in model.operations]
    assert len(set(names)) == len(names) > 5


def test_a_layer_that_starts_from_states_keeps_the_mask() -> None:
    """Keras 3 asks a call with several tensors for its mask; Keras 2 took it from the sequence."""
    state = {**INPUT, "config": {"batch_input_shape": [None, 2], "name": "h"}, "name": "h", "inbound_nodes": []}
    for call in ([["masking", 0, 0, {}], ["h", 0, 0, {}]], [["masking", 0, 0, {"initial_state": ["h", 0, 0]}]]):
        entry = functional(
            state,
            layer("Masking", "masking", [["x", 0, 0, {}]], mask_value=0.0),
            layer("GRU", "gru", call, units=2, reset_after=True, recurrent_activation="sigmoid"),
            outputs=[["gru", 0, 0]],
        )
        entry["config"]["input_layers"] = [["x", 0, 0], ["h", 0, 0]]
        model = from_serialized(keras3_config(entry, "2.8.0"))
        x, h = np.ones((3, 5, 3), np.float32), np.ones((3, 2), np.float32)
        x[:, 3:] = 0.0
        gru, found = model.get_layer("gru"), model.predict([x, h])
        np.testing.assert_array_equal(found, gru(x[:, :3], initial_state=[h]))
        assert np.all(found != gru(x, initial_state=[h]))


def test_a_function_as_tf_keras_2_0_to_2_3_wrote_it() -> None:
    node = layer(
        "TensorFlowOpLayer", "tf_op_layer_mul", [["x", 0, 0, {}]], node_def="name: 'mul'", constants={"1": 2.0}
    )
    message = "'tf_op_layer_mul' is a TensorFlowOpLayer .*: tf.keras 2.0 to 2.3 wrote .* and save it anew"
    with pytest.raises(UnsupportedError, match=message):
        from_serialized(keras3_config(functional(node, outputs=[["tf_op_layer_mul", 0, 0]]), "2.2.4-tf"))
