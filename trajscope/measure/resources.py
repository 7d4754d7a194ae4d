"""What this process holds and what the machine has left: memory, in bytes."""

import re
from pathlib import Path
from typing import Final

import psutil

from trajscope.errors import OptionError, printable

_UNITS: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12,
                 "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40}  # fmt: skip


def parse_bytes(text: str) -> int:
    """Number of bytes in a text such as "2GiB", "512 MB" or "1e9".

    Raises
    ------
    OptionError
        It is no positive size.
    """
    match = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([kmgt]?i?)b?\s*", text.lower())
    try:
        size = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    except (KeyError, ValueError, OverflowError):
        size = 0
    if size <= 0:
        raise OptionError(
            f"--memory {printable(text)} is invalid; a number of bytes is expected, such as 2GiB."
        )
    return size


def resident_bytes() -> int:
    """Physical memory that this process holds."""
    return int(psutil.Process().memory_info().rss)


def default_memory() -> int:
    """A quarter of the memory that is free, within the control group's limit if there is one."""
    free = int(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
        free = min(free, int(limit) - used) if limit != "max" else free
    except (OSError, ValueError):
        pass  # no control group, or none that limits memory
    return max(free, 0) // 4
