"""A callback for Lightning that writes the weights alone, every so many steps."""

import os
from pathlib import Path
from typing import Any

import lightning

from trajscope.saving import save_checkpoint


class SaveTrajectory(lightning.Callback):  # type: ignore[misc]
    """Write ``folder/step-<step>.safetensors`` at the start and after every `every` steps.

    Only the process of rank 0 writes; strategies that split the weights over processes are not
    for it.
    """

    def __init__(self, folder: str | os.PathLike[str], every: int = 1) -> None:
        self.folder, self.every = Path(folder), every
        self._last = -1

    def on_train_start(self, trainer: Any, module: Any) -> None:  # Lightning's own objects
        """Write where training starts."""
        self._save(trainer, module)

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        """Write after an optimizer step, once for each."""
        if trainer.global_step % self.every == 0 and trainer.global_step != self._last:
            self._save(trainer, module)

    def _save(self, trainer: Any, module: Any) -> None:
        self._last = trainer.global_step
        if trainer.is_global_zero:
            save_checkpoint(
                self.folder, module, step=trainer.global_step, epoch=trainer.current_epoch
            )
