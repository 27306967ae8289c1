"""PyTorch: nn.LSTM reads the source, and a loop in Python writes, by nn.LSTMCell or by nn.LSTM on one step."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from decoding import END, MOST, START, Decoding, W, best
from torch.nn.functional import log_softmax

MODES = ("LSTMCell", "LSTM")


def versions() -> dict[str, str]:
    return {"torch": torch.__version__}


def linear(kernel: np.ndarray, bias: np.ndarray | None = None) -> Any:
    layer = torch.nn.Linear(*kernel.shape, bias=bias is not None)
    fill(layer.parameters(), [kernel.T] if bias is None else [kernel.T, bias])
    return layer


def fill(parameters: Any, arrays: list[np.ndarray]) -> None:
    with torch.no_grad():
        for parameter, array in zip(parameters, arrays, strict=True):
            parameter.copy_(torch.from_numpy(array.copy()))


def recurrent(module: Any, weights: list[np.ndarray], **options: Any) -> Any:
    """nn.LSTM or nn.LSTMCell: its kernels are transposed, it has a second bias, and its gates are in Keras's order."""
    layer = module(weights[0].shape[0], weights[1].shape[0], **options)
    arrays = []
    for kernel, recurrent_kernel, bias in zip(weights[::3], weights[1::3], weights[2::3], strict=True):
        arrays += [kernel.T, recurrent_kernel.T, bias, np.zeros_like(bias)]
    fill(layer.parameters(), arrays)
    return layer


class EncoderDecoder:
    """The model, on n rows of its batch: n hypotheses of each.

    Attributes:
        h, c: (B*n,H), of the decoder.
        encoded: (B,S,H), which it attends to.
    """

    def __init__(self, d: Decoding) -> None:
        weights = d.weights()
        self.attends, self.cell_alone = d.attends, d.mode == "LSTMCell"
        self.read, self.write = (
            torch.nn.Embedding.from_pretrained(torch.from_numpy(weights[name][0]))
            for name in ("source_embedding", "target_embedding")
        )
        self.encoder = recurrent(
            torch.nn.LSTM, weights["encoder_1"], batch_first=True, bidirectional=len(weights["encoder_1"]) > 3
        )
        self.decoder = recurrent(torch.nn.LSTMCell if self.cell_alone else torch.nn.LSTM, weights["decoder_1"])
        self.logits = linear(*weights["logits"])
        if self.attends:
            self.query, self.attended = (linear(*weights[name]) for name in ("attention_query", "attended"))

    def start(self, source: Any) -> None:
        self.encoded, states = self.encoder(self.read(source))
        # (ways,B,H/ways) -> (B,H)
        self.h, self.c = (state[0] if len(state) == 1 else torch.cat(tuple(state), 1) for state in states)

    def step(self, tokens: Any) -> Any:
        """The logits (B*n,V) after these tokens (B*n)."""
        x = self.write(tokens)
        if self.cell_alone:
            self.h, self.c = self.decoder(x, (self.h, self.c))
        else:
            _, (h, c) = self.decoder(x[None], (self.h[None], self.c[None]))
            self.h, self.c = h[0], c[0]
        y = self.h
        if self.attends:
            query = self.query(y).view(len(self.encoded), -1, y.shape[1])
            shares = torch.bmm(query, self.encoded.transpose(1, 2)).softmax(2)
            found = torch.bmm(shares, self.encoded).view_as(y)
            y = self.attended(torch.cat((found, y), 1)).tanh()
        return self.logits(y)

    def take(self, rows: Any) -> None:
        self.h, self.c = self.h.index_select(0, rows), self.c.index_select(0, rows)


def greedy(model: EncoderDecoder, source: Any) -> np.ndarray:
    model.start(source)
    B = len(source)
    tokens, ended, made = torch.full((B,), START), torch.zeros(B, dtype=torch.bool), []
    for _ in range(MOST):
        tokens = model.step(tokens).argmax(1)
        made.append(tokens)
        ended |= tokens == END
        if ended.all():
            break
    return torch.stack(made, 1).numpy()


def beam(model: EncoderDecoder, source: Any) -> np.ndarray:
    """Without what hypotheses that end call for: none does."""
    model.start(source)
    B = len(source)
    sums, tokens = log_softmax(model.step(torch.full((B,), START)), 1).topk(W)
    first = torch.arange(B)[:, None]
    rows, parents, made = first.expand(B, W), [torch.zeros(B, W, dtype=torch.long)], [tokens]
    for _ in range(MOST - 1):
        model.take(rows.reshape(-1))
        numbers = log_softmax(model.step(tokens.view(-1)), 1).view(B, W, -1)
        V = numbers.shape[2]
        sums, places = (sums[:, :, None] + numbers).view(B, -1).topk(W)
        parent = torch.div(places, V, rounding_mode="floor")
        tokens = places - parent * V
        rows = parent + W * first
        parents.append(parent)
        made.append(tokens)
    return best([one.numpy() for one in parents], [one.numpy() for one in made])


def prepare(d: Decoding) -> Callable[[], np.ndarray]:
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model, source = EncoderDecoder(d), torch.from_numpy(d.source)
    search = {"greedy": greedy, "beam": beam}[d.method]

    @torch.inference_mode()
    def call() -> np.ndarray:
        return search(model, source)

    return call
