"""The options of `trajscope.diffusion`, checked before anything is computed."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from trajscope.errors import OptionError, printable
from trajscope.files import obstacle
from trajscope.measure.resources import parse_bytes
from trajscope.model.device import chosen_device, room_on
from trajscope.model.torch_needed import check_torch
from trajscope.optimizer import RATE_EXPECTED, SAMPLINGS, Optimizer, is_rate

if TYPE_CHECKING:
    import torch

TRAIN_BATCHES: Final = 500
"""Batches of train mode, unless another number is asked for."""


@dataclass(frozen=True)
class Rule:
    """What a value of an option, where it is given, has to be."""

    name: str
    expected: str
    holds: Callable[[Any], bool]


RULES: Final = (
    Rule("mode", "eval or train", lambda value: value in ("eval", "train")),
    Rule("dtype", "float32 or float64", lambda value: value in ("float32", "float64")),
    Rule("sampling", f"one of {', '.join(map(str, SAMPLINGS))}", SAMPLINGS.__contains__),
    Rule(
        "chunk", "auto, or a number of samples,",
        lambda value: value == "auto" or (isinstance(value, int) and value >= 1),
    ),
    Rule("every", "a positive number, or 0 for never,", lambda value: value >= 0),
    Rule("samples", "at least 1", lambda value: value >= 1),
    Rule("lr", RATE_EXPECTED, is_rate),
    Rule("batch_size", "at least 1", lambda value: value >= 1),
    Rule("momentum", "from 0 to below 1", lambda value: 0 <= value < 1),
    Rule("sketch", "at least 2 numbers", lambda value: value >= 2),
    Rule("seed", "a number of at least 0", lambda value: value >= 0),
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """The options of `trajscope.diffusion`, which explains them.

    Raises
    ------
    OptionError
        One of them cannot be had.
    """

    at: str | Sequence[int | float | str] = ("20%", "40%", "100%")
    samples: int | None = None
    device: str = "auto"
    dtype: str = "float32"
    memory: int | str | None = None
    chunk: int | str = "auto"
    mode: str = "eval"
    every: int | None = None
    lr: float | None = None
    batch_size: int | None = None
    momentum: float | None = None
    nesterov: bool = False
    sampling: str | None = None
    sketch: int | None = None
    seed: int = 0
    work_dir: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        check_torch("Gradient noise")
        for rule in RULES:
            value = getattr(self, rule.name)
            if value is not None and not rule.holds(value):
                option = f"--{rule.name.replace('_', '-')} {printable(value)}"
                raise OptionError(f"{option}: {rule.expected} was expected.")
        if self.mode == "train" and self.batch_size is None:
            raise OptionError(
                "--mode train: the batch size of training is needed. Give it with --batch-size."
            )
        if isinstance(self.memory, str):
            parse_bytes(self.memory)
        if self.work_dir is not None and (what := obstacle(Path(self.work_dir))):
            raise OptionError(
                f"--work-dir {printable(self.work_dir)}: a folder for intermediate results was "
                f"expected, but {what}. Choose another."
            )

    @property
    def optimizer(self) -> Optimizer:
        """What is said of training's optimizer."""
        drawn = SAMPLINGS[self.sampling or "unknown"]
        return Optimizer(self.lr, self.batch_size, self.momentum, self.nesterov, drawn)

    @property
    def torch_dtype(self) -> "torch.dtype":
        """The dtype the network is evaluated in."""
        import torch

        return torch.float64 if self.dtype == "float64" else torch.float32

    def torch_device(self) -> "torch.device":
        """The device asked for, as `model.device.chosen_device`."""
        return chosen_device(self.device)

    def room(self, device: "torch.device") -> int:
        """Bytes that may still be taken on the device, as `model.device.room_on`."""
        return room_on(device, self.memory)
