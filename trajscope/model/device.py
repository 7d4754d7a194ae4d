"""Where a network is computed, and how much memory there is."""

from typing import TYPE_CHECKING

from trajscope.errors import OptionError, printable
from trajscope.measure.resources import default_memory, parse_bytes, resident_bytes

if TYPE_CHECKING:
    import torch


def chosen_device(name: str) -> "torch.device":
    """The device of this name; "auto" is the first CUDA device, where there is one.

    Raises
    ------
    OptionError
        There is no such device.
    """
    import torch

    has_cuda = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if has_cuda else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise OptionError(
            f"--device {printable(name)}: auto, cpu, cuda or cuda:N was expected."
        ) from None
    n_devices = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= n_devices:
        raise OptionError(
            f"--device {printable(name)}: torch finds {n_devices} CUDA devices. Use --device cpu."
        )
    if device.type not in ("cpu", "cuda"):
        raise OptionError(
            f"--device {printable(name)}: float64 products are needed, which only cpu and cuda "
            "support. Use one of these."
        )
    return device


def room_on(device: "torch.device", memory: int | str | None) -> int:
    """Bytes that may still be taken on the device.

    Of the limit asked for, what is not taken yet; by default a quarter of what is free, on a GPU
    half of it.
    """
    import torch

    limit = parse_bytes(memory) if isinstance(memory, str) else memory
    if device.type == "cuda":
        free = int(torch.cuda.mem_get_info(device)[0])
        return free // 2 if limit is None else limit - torch.cuda.memory_allocated(device)
    return default_memory() if limit is None else limit - resident_bytes()
