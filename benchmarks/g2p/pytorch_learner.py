"""The same model, loss and optimizer in PyTorch: nn.LSTM, from the weights that Keras starts from."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from g2p.batches import SOURCE_SIZE, TARGET_SIZE, Batch
from g2p.recipe import Recipe


def versions() -> dict[str, str]:
    return {"torch": torch.__version__}


class EncoderDecoder(nn.Module):  # type: ignore[misc]
    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        E, H, layers = recipe.embedding, recipe.units, recipe.layers
        self.source_embedding = nn.Embedding(SOURCE_SIZE, E)
        self.target_embedding = nn.Embedding(TARGET_SIZE, E)
        self.encoder = nn.LSTM(E, H, layers, batch_first=True)
        self.decoder = nn.LSTM(E, H, layers, batch_first=True)
        self.logits = nn.Linear(H, TARGET_SIZE)

    def forward(self, source: torch.Tensor, lengths: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        letters = self.source_embedding(source)
        if int(lengths.min()) < source.shape[1]:  # most batches are of words of one length
            letters = pack_padded_sequence(letters, lengths, batch_first=True, enforce_sorted=False)
        _, states = self.encoder(letters)
        # Padding comes after all phonemes of a row, and is left out of the loss.
        return self.logits(self.decoder(self.target_embedding(target), states)[0])


class PytorchLearner:
    def __init__(self, recipe: Recipe, steps: int) -> None:
        if recipe.dropout or recipe.attention:
            raise ValueError(f"expected a recipe without dropout and attention; got {recipe}")
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        self.recipe, self.steps, self.model = recipe, steps, EncoderDecoder(recipe)

    def start(self, weights: dict[str, Any]) -> None:
        """From these weights, as if nothing had been learnt."""
        with torch.no_grad():
            for parameter, name, transposed in self.places():
                value = np.asarray(weights[name])
                parameter.copy_(torch.from_numpy(value.T.copy() if transposed else value))
            for name, parameter in self.model.named_parameters():
                if "bias_hh" in name:  # a second bias, which Keras has not: it would double the first one's steps
                    parameter.zero_()
                    parameter.requires_grad_(False)
        able = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(able, lr=1.0, eps=1e-7)  # Keras's epsilon
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: self.recipe.rate(step, self.steps)
        )

    def places(self) -> list[tuple[torch.Tensor, str, bool]]:
        """Each parameter, the name of Keras's weights for it, and whether those are transposed. Gates are in order."""
        of, found = self.model, []
        for part, module in (("encoder", of.encoder), ("decoder", of.decoder)):
            for k in range(self.recipe.layers):
                found += [(getattr(module, f"weight_ih_l{k}"), f"{part}_{k + 1}.0", True),
                          (getattr(module, f"weight_hh_l{k}"), f"{part}_{k + 1}.1", True),
                          (getattr(module, f"bias_ih_l{k}"), f"{part}_{k + 1}.2", False)]  # fmt: skip
        return [
            *found,
            (of.source_embedding.weight, "source_embedding.0", False),
            (of.target_embedding.weight, "target_embedding.0", False),
            (of.logits.weight, "logits.0", True),
            (of.logits.bias, "logits.1", False),
        ]

    def epoch(self, batches: Sequence[Batch]) -> tuple[float, float]:
        losses = []
        start = time.perf_counter()
        for batch in batches:
            lengths = torch.from_numpy(np.count_nonzero(batch.source, axis=1))
            source, target, wanted = (torch.from_numpy(part.astype(np.int64)) for part in batch)
            logits = self.model(source, lengths, target)
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=0)
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
            self.optimizer.step()
            self.schedule.step()
            losses.append(loss.detach())
        found = float(torch.stack(losses).mean())
        return found, time.perf_counter() - start

    def weights(self) -> dict[str, Any]:
        return {
            name: parameter.detach().numpy().T if transposed else parameter.detach().numpy()
            for parameter, name, transposed in self.places()
        }
