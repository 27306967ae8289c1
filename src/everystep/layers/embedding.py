"""A row of numbers for each id."""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep.engine import Array
from everystep.errors import DtypeError, OptionError
from everystep.layers.base import Layer
from everystep.layers.checks import refuse_given, whole_number
from everystep.layers.initializers import initializer
from everystep.layers.masks import not_equal


class Embedding(Layer):
    """Keras's Embedding: ids (B,T) of any whole-number dtype, or whole numbers in floats, to (B,T,output_dim).

    Args:
        input_dim: how many ids there are; they go from 0 to input_dim - 1.
        output_dim: the length of a row.
        embeddings_initializer: as in Keras.
        mask_zero: id 0 is padding: it is masked.
        weights: the rows (input_dim, output_dim) to start with.
        embeddings_regularizer, embeddings_constraint: kept for `to_keras()`.
        lora_rank, lora_alpha, quantization_config: must be None.
        input_length: changes nothing; Keras 2 had it.
        options: of `Layer`.

    Weights: embeddings (input_dim, output_dim).

    Raises, when it runs:
        OptionError: an id is out of range. DtypeError: the ids are not whole numbers.
    """

    config_names = (
        "input_dim",
        "output_dim",
        "embeddings_initializer",
        "embeddings_regularizer",
        "activity_regularizer",
        "embeddings_constraint",
        "mask_zero",
        "quantization_config",
    )

    any_dtype = True

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        weights: Any = None,
        lora_rank: Any = None,
        lora_alpha: Any = None,
        quantization_config: Any = None,
        input_length: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.quantization_config = None
        refuse_given(self.name, lora_rank=lora_rank, lora_alpha=lora_alpha, quantization_config=quantization_config)
        self.input_dim = whole_number(self.name, "input_dim", input_dim)
        self.output_dim = whole_number(self.name, "output_dim", output_dim)
        self.embeddings_initializer = initializer(embeddings_initializer)
        self.embeddings_regularizer = embeddings_regularizer
        self.embeddings_constraint = embeddings_constraint
        self.mask_zero = mask_zero
        self.passes_mask = mask_zero
        if weights is not None:
            self.build(None)
            self.built_shape = (None, None)
            self.set_weights(weights if isinstance(weights, list) and len(weights) == 1 else [weights])

    def build(self, input_shape: Any) -> None:
        self.add_weight("embeddings", (self.input_dim, self.output_dim), self.embeddings_initializer)

    def apply(self, inputs: Array) -> Array:
        self._require_built("a run")
        return self._weights["embeddings"][self._ids(inputs)]

    def _ids(self, inputs: Array) -> Array:
        ids = inputs
        if ids.dtype.kind == "f":
            whole = np.isfinite(ids) & (np.floor(ids) == ids)
            if not whole.all():
                raise DtypeError(f"layer {self.name!r} takes ids, which are whole numbers; got {ids[~whole][0]}")
        elif ids.dtype.kind not in "iu":
            raise DtypeError(f"layer {self.name!r} takes ids, which are whole numbers; got {ids.dtype}")
        outside = (ids < 0) | (ids >= self.input_dim)
        if outside.any():
            place = tuple(int(k) for k in np.argwhere(outside)[0])
            raise OptionError(
                f"layer {self.name!r} has ids from 0 to {self.input_dim - 1} (input_dim={self.input_dim}); "
                f"got {int(ids[place])} at {place}"
            )
        return ids.astype(np.intp, copy=False)

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        return not_equal(inputs, 0) if self.mask_zero else None

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape, self.output_dim)
