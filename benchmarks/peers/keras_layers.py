"""What is the same for a layer of Keras's under any of its backends."""

from typing import Any

from problem import Problem


def built(Layer: Any, p: Problem) -> Any:
    layer = Layer(p.shape.H, return_sequences=True)
    layer.build(p.x.shape)
    layer.set_weights(p.weights)
    return layer
