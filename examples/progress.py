"""A progress bar over all batches of all epochs of Keras's `fit`."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

import everystep.keras as keras


class Progress(keras.callbacks.Callback):
    def on_train_begin(self, logs: Any = None) -> None:
        self.bar = tqdm(total=self.params["epochs"] * self.params["steps"], desc="training", unit="batch")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.bar.update()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.bar.set_postfix(epoch=epoch + 1, loss=f"{logs['loss']:.4f}")

    def on_train_end(self, logs: Any = None) -> None:
        self.bar.close()
