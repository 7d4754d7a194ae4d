"""What can be asked of `trajscope.diffusion`, checked before anything is computed."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from trajscope.errors import OptionError, printable
from trajscope.measure.resources import default_memory, parse_bytes, resident_bytes

if TYPE_CHECKING:
    import torch

TRAIN_BATCHES: Final = 500
"""Batches of train mode, unless another number is asked for."""


@dataclass(frozen=True)
class Options:
    """The options of `trajscope.diffusion`, which explains them.

    Raises
    ------
    OptionError
        One of them cannot be had.
    """

    at: str | Sequence[int | float | str]
    samples: int | None
    device: str
    dtype: str
    memory: int | str | None
    chunk: int | str
    mode: str
    every: int | None
    lr: float | None
    batch_size: int | None
    momentum: float | None
    sampling: str | None
    sketch: int | None
    seed: int
    work_dir: str | os.PathLike[str] | None

    def __post_init__(self) -> None:
        _one_of("--mode", self.mode, ("eval", "train"))
        _one_of("--dtype", self.dtype, ("float32", "float64"))
        is_count = isinstance(self.chunk, int) and self.chunk >= 1
        if not (is_count or self.chunk == "auto"):
            raise OptionError(
                f"--chunk {printable(self.chunk)}: auto, or a number of samples, was expected."
            )
        if self.every is not None and self.every < 0:
            raise OptionError(
                f"--every {self.every}: a positive number, or 0 for no curve, was expected."
            )
        if self.mode == "train" and self.batch_size is None:
            raise OptionError(
                "--mode train: the size of training's batches is needed. Give it with --batch-size."
            )
        if self.lr is not None and not 0 < self.lr < float("inf"):
            raise OptionError(f"--lr {self.lr}: a positive number was expected.")
        if self.batch_size is not None and self.batch_size < 1:
            raise OptionError(f"--batch-size {self.batch_size}: at least 1 was expected.")
        if self.momentum is not None and not 0 <= self.momentum < 1:
            raise OptionError(f"--momentum {self.momentum}: from 0 to below 1 was expected.")
        if self.sampling is not None:
            _one_of("--sampling", self.sampling, ("with", "without"))
        if self.sketch is not None and self.sketch < 2:
            raise OptionError(f"--sketch {self.sketch}: at least 2 numbers were expected.")

    @property
    def torch_dtype(self) -> "torch.dtype":
        """The dtype the network is evaluated in."""
        import torch

        return torch.float64 if self.dtype == "float64" else torch.float32

    def torch_device(self) -> "torch.device":
        """The device asked for; "auto" is the first CUDA device, where there is one.

        Raises
        ------
        OptionError
            There is no such device.
        """
        import torch

        has_cuda = torch.cuda.is_available()
        if self.device == "auto":
            return torch.device("cuda" if has_cuda else "cpu")
        try:
            device = torch.device(self.device)
        except RuntimeError:
            raise OptionError(
                f"--device {printable(self.device)}: auto, cpu, cuda or cuda:N was expected."
            ) from None
        n_devices = torch.cuda.device_count()
        if device.type == "cuda" and (device.index or 0) >= n_devices:
            raise OptionError(
                f"--device {printable(self.device)}: torch sees {n_devices} CUDA devices here. "
                "Take --device cpu."
            )
        if device.type not in ("cpu", "cuda"):
            raise OptionError(
                f"--device {printable(self.device)}: float64 products are needed, which cpu and "
                "cuda have. Take one of these."
            )
        return device

    def room(self, device: "torch.device") -> int:
        """Bytes that may still be taken on the device.

        Of the limit asked for, what is not taken yet; by default a quarter of what is free, on a
        GPU half of it.
        """
        import torch

        limit = parse_bytes(self.memory) if isinstance(self.memory, str) else self.memory
        if device.type == "cuda":
            free = int(torch.cuda.mem_get_info(device)[0])
            return free // 2 if limit is None else limit - torch.cuda.memory_allocated(device)
        return default_memory() if limit is None else limit - resident_bytes()


def _one_of(option: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise OptionError(f"{option} {printable(value)}: {' or '.join(known)} was expected.")
