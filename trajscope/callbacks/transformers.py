"""A callback for the Trainer of transformers that writes the weights alone, every so many steps."""

import os
from pathlib import Path
from typing import Any

import transformers

from trajscope.saving import save_checkpoint


class SaveTrajectory(transformers.TrainerCallback):  # type: ignore[misc]
    """Write ``folder/step-<step>.safetensors`` at the start and after every `every` steps.

    Only the process of rank 0 writes; setups that split the weights over processes are not for it.
    """

    def __init__(self, folder: str | os.PathLike[str], every: int = 1) -> None:
        self.folder, self.every = Path(folder), every

    def on_train_begin(self, *trainer: Any, **kwargs: Any) -> None:
        """Write where training starts."""
        self._save(trainer[1], kwargs["model"])

    def on_step_end(self, *trainer: Any, **kwargs: Any) -> None:
        """Write after an optimizer step."""
        if trainer[1].global_step % self.every == 0:
            self._save(trainer[1], kwargs["model"])

    def _save(self, state: Any, model: Any) -> None:
        if state.is_world_process_zero:
            save_checkpoint(self.folder, model, step=state.global_step, epoch=state.epoch)
