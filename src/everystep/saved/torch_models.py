"""PyTorch's nn.LSTM, nn.GRU and nn.RNN as our models, and our layers as their state dicts."""

from __future__ import annotations

from typing import Any

from everystep.errors import GraphError, OptionError, UnsupportedError
from everystep.layers import GRU, LSTM, Bidirectional, Dropout, Input, InputLayer, Layer, SimpleRNN
from everystep.layers.naming import with_article
from everystep.layers.tensor import Array
from everystep.models import Model
from everystep.saved.torch_arrays import Source, source_of
from everystep.saved.torch_weights import Stack, read, write

CLASSES: dict[str, type[Any]] = {"LSTM": LSTM, "GRU": GRU, "RNN": SimpleRNN}
NONLINEARITIES = ("tanh", "relu")


def from_torch(source: Any, prefix: str = "", nonlinearity: str | None = None) -> Model:
    """A model of a PyTorch nn.LSTM, nn.GRU or nn.RNN, with any number of layers and one or two directions.

    The model takes sequences (B,T,I), whatever the module's batch_first, starts from zeros, and returns a list: the
    output (B,T,H) or (B,T,2H), then the last states, (B,H) each, in PyTorch's order: h of each layer, forward then
    backward, then the same of c in an LSTM. PyTorch stacks them:

        output, (h_n, c_n) = module(x)        output, *states = model.predict(x)        h_n, c_n = np.split(states, 2)

    Its layers are LSTM, GRU or SimpleRNN, in Bidirectional where there are two directions, named lstm_l0 and so on. A
    live module's dropout stands between them as Dropout, so that `to_keras()` trains the same.

    Args:
        source: a live module; a state dict, of tensors or of NumPy arrays; or the path of a .safetensors file, which
            needs no PyTorch. float32 and float64 stay what they are.
        prefix: where in the names of a bigger model the module lies: "encoder.rnn."; the rest is not looked at.
        nonlinearity: "tanh" or "relu", of an nn.RNN: weights do not tell. None is a live module's own, else "tanh".

    Raises:
        OptionError, ShapeError, DtypeError: these are not the weights of one such module, with what was found.
        UnsupportedError: the module has projections (proj_size).
        DependencyError: a file is to be read, and the package safetensors is not installed.
    """
    found = source_of(source, prefix)
    stack = read(found.state, found.where)
    options: dict[str, Any] = dict(use_bias=len(stack.layers[0][0]) == 3, return_sequences=True, return_state=True)
    if stack.kind == "RNN":
        options["activation"] = _nonlinearity(nonlinearity, found)
    elif nonlinearity is not None:
        raise OptionError(f"nonlinearity is of nn.RNN alone; {found.where} holds the weights of an nn.{stack.kind}")
    kernel, recurrent, *_ = stack.layers[0][0]
    options |= dict(units=recurrent.shape[0], dtype=kernel.dtype.name)
    x = output = Input((None, kernel.shape[0]), dtype=kernel.dtype.name)
    states: list[Any] = []
    for k, directions in enumerate(stack.layers):
        name = f"{stack.kind.lower()}_l{k}"
        layer = CLASSES[stack.kind](name=name, **options)
        if len(directions) == 2:
            layer = Bidirectional(layer, name=name, dtype=kernel.dtype.name)
        if k and found.dropout:
            output = Dropout(found.dropout, name=f"dropout_l{k - 1}", dtype=kernel.dtype.name)(output)
        output, *last = layer(output)
        layer.set_weights([weight for weights in directions for weight in weights])
        states += last
    per_direction = 2 if stack.kind == "LSTM" else 1
    in_order = [state for s in range(per_direction) for state in states[s::per_direction]]
    return Model(x, [output, *in_order])


def to_torch(model: Model | Layer) -> dict[str, Array]:
    """The weights of recurrent layers as the state dict of one nn.LSTM, nn.GRU or nn.RNN, as NumPy arrays.

        module.load_state_dict({name: torch.from_numpy(w) for name, w in to_torch(model).items()})
        safetensors.numpy.save_file(to_torch(model), "model.safetensors")

    An nn.GRU keeps both biases; elsewhere bias_ih is ours and bias_hh is 0. `from_torch` of it has the same numbers.

    Args:
        model: an LSTM, GRU or SimpleRNN, also in a Bidirectional; or a model of nothing but one such layer on top of
            the other, perhaps with Dropout between them. What only training reads is not in a state dict.

    Raises:
        UnsupportedError: what PyTorch's modules cannot express, by the layer's name: other activations, a GRU with
            reset_after=False, a trainable initial state, go_backwards outside of Bidirectional, ...
        GraphError: a layer has no weights yet. OptionError: it is no layer of everystep.layers.
    """
    if not isinstance(model, Layer):
        raise OptionError(
            f"to_torch takes a model or layer of everystep; got {type(model).__name__}. Of a Keras model, pass "
            "everystep.from_keras(model)"
        )
    layers = _chain(model) if isinstance(model, Model) else [model]
    stack = [_directions(layer) for layer in layers]
    first = stack[0][0]
    kinds = {cls: kind for kind, cls in CLASSES.items()}
    for layer, directions in zip(layers, stack, strict=True):
        _check_alike(layer, directions, first, len(stack[0]))
    return write(Stack(kinds[type(first)], [[one.get_weights() for one in directions] for directions in stack]))


def _nonlinearity(given: str | None, found: Source) -> str:
    own = {"RNN_TANH": "tanh", "RNN_RELU": "relu"}.get(str(found.mode))
    chosen = given or own or "tanh"
    if chosen not in NONLINEARITIES or own not in (None, chosen):
        raise OptionError(
            f"nonlinearity must be {own or ' or '.join(NONLINEARITIES)}, as of {found.where}; got {given!r}"
        )
    return chosen


def _chain(model: Model) -> list[Any]:
    """The recurrent layers of a model, the first first.

    Raises:
        UnsupportedError: there is something else in it, or they do not simply follow one another.
    """
    layers: list[Any] = []
    newest = model.inputs[0]
    if len(model.inputs) > 1:
        raise UnsupportedError(f"model {model.name!r} has {len(model.inputs)} inputs; PyTorch's modules have one")
    called = [node for node in model.graph.nodes if not isinstance(node.operation, InputLayer)]
    called.sort(key=lambda node: not isinstance(node.operation, Layer))  # a Masking before the functions of its mask
    for node in called:
        layer = node.operation
        if not isinstance(layer, (*CLASSES.values(), Bidirectional, Dropout)):
            raise UnsupportedError(
                f"layer {layer.name!r} is {with_article(layer.kind)}; to_torch takes LSTM, GRU, SimpleRNN, those in a "
                "Bidirectional, and Dropout between them. Pass a recurrent layer alone: model.get_layer(name)"
            )
        if node.inputs != [newest] or layer in layers:
            raise UnsupportedError(
                f"layer {layer.name!r} is not simply called on the output of the layer before it, once, without "
                "initial_state, mask or resets; layers of PyTorch's modules are"
            )
        newest = node.outputs[0]
        if not isinstance(layer, Dropout):
            layers.append(layer)
    if not layers:
        raise UnsupportedError(f"model {model.name!r} has no recurrent layer")
    return layers


def _directions(layer: Any) -> list[Any]:
    """The one or two layers that hold the weights, checked one by one."""
    if isinstance(layer, Bidirectional):
        if layer.merge_mode != "concat":
            raise _inexpressible(layer, f"merge_mode={layer.merge_mode!r}; two directions are concatenated")
        directions = [layer.forward_layer, layer.backward_layer]
    else:
        directions = [layer]
    for one, backwards in zip(directions, (False, True), strict=False):
        if type(one) not in CLASSES.values():
            raise UnsupportedError(
                f"to_torch takes an LSTM, GRU or SimpleRNN, also in a Bidirectional, or a model of them; layer "
                f"{one.name!r} is {with_article(type(one).__name__)}"
            )
        if not one.built:
            raise GraphError(f"layer {one.name!r} has no weights yet: call it on its inputs first, to know their size")
        if one.go_backwards != backwards:
            raise _inexpressible(one, f"go_backwards={one.go_backwards}; Bidirectional has one forward, one backward")
        if one.trainable_initial_state:
            raise _inexpressible(one, "a trainable initial state; pass it as an array when the module is called")
        if isinstance(one, SimpleRNN):
            if one.activation not in NONLINEARITIES:
                raise _inexpressible(one, f"activation {one.activation!r}; nn.RNN has tanh and relu")
        elif (one.activation, one.recurrent_activation) != ("tanh", "sigmoid"):
            raise _inexpressible(
                one, f"activations {one.activation!r} and {one.recurrent_activation!r}; there they are tanh and sigmoid"
            )
        if isinstance(one, GRU) and not one.reset_after:
            raise _inexpressible(one, "reset_after=False; nn.GRU resets after the recurrent product")
    return directions


def _check_alike(layer: Any, directions: list[Any], first: Any, count: int) -> None:
    """Raises unless a layer is as the first: PyTorch's modules have one value for all layers."""
    for one in directions:
        if type(one) is not type(first):
            raise _inexpressible(one, f"{with_article(one.kind)} beside {with_article(first.kind)}")
        for name in ("units", "use_bias", "activation"):
            if getattr(one, name) != getattr(first, name):
                raise _inexpressible(
                    one, f"{name}={getattr(one, name)!r} beside {getattr(first, name)!r} of layer {first.name!r}"
                )
    if len(directions) != count:
        raise _inexpressible(layer, "one direction beside two" if count == 2 else "two directions beside one")


def _inexpressible(layer: Layer, what: str) -> UnsupportedError:
    return UnsupportedError(f"layer {layer.name!r} has what PyTorch's recurrent modules cannot express: {what}")
