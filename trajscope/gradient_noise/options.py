"""The options of `trajscope.diffusion`, checked before anything is computed."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from trajscope.errors import OptionError, printable
from trajscope.files import obstacle
from trajscope.model.compute import Compute, Rule
from trajscope.model.torch_needed import check_torch
from trajscope.optimizer import RATE_EXPECTED, SAMPLINGS, Optimizer, is_rate

TRAIN_BATCHES: Final = 500
"""Batches of train mode, unless another number is asked for."""


@dataclass(frozen=True, kw_only=True)
class Options(Compute):
    """The options of `trajscope.diffusion`, which explains them.

    Raises
    ------
    OptionError
        One of them cannot be had.
    """

    mode: str = "eval"
    at: str | Sequence[int | float | str] = ("20%", "40%", "100%")
    chunk: int | str = "auto"
    every: int | None = None
    lr: float | None = None
    batch_size: int | None = None
    momentum: float | None = None
    nesterov: bool = False
    sampling: str | None = None
    sketch: int | None = None
    work_dir: str | os.PathLike[str] | None = None

    rules: ClassVar[tuple[Rule, ...]] = (
        *Compute.rules,
        Rule("sampling", f"one of {', '.join(map(str, SAMPLINGS))}", SAMPLINGS.__contains__),
        Rule(
            "chunk", "auto, or a number of samples,",
            lambda value: value == "auto" or (isinstance(value, int) and value >= 1),
        ),
        Rule("every", "a positive number, or 0 for never,", lambda value: value >= 0),
        Rule("lr", RATE_EXPECTED, is_rate),
        Rule("batch_size", "at least 1", lambda value: value >= 1),
        Rule("momentum", "from 0 to below 1", lambda value: 0 <= value < 1),
        Rule("sketch", "at least 2 numbers", lambda value: value >= 2),
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_torch("Gradient noise")
        super().__post_init__()
        if self.mode == "train" and self.batch_size is None:
            raise OptionError(
                "--mode train: the batch size of training is needed. Give it with --batch-size."
            )
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
