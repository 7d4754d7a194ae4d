"""Windows: parts of a run that are analyzed separately, cut by steps or into equal shares."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from trajscope.errors import OptionError, TrajectoryError, printable
from trajscope.measure.plan import Rows
from trajscope.schema import STEP

FEWEST: Final = 8
"""Checkpoints of a window: with fewer no curve has a shape."""
_EXPECTED: Final = (
    "START:STOP,START:STOP,... in steps, or a number of equal windows, was expected: for example "
    "0:1000,1000:2000, or 4."
)

Windows = int | str | Sequence[tuple[float | None, float | None]]
"""A number of equal parts; or pairs of steps, the second not included."""


@dataclass(frozen=True)
class Window:
    """Checkpoints with start <= step < stop."""

    start: float
    stop: float

    @property
    def name(self) -> str:
        """As given: "0:1000"."""
        return ":".join("" if math.isinf(end) else f"{end:.12g}" for end in (self.start, self.stop))

    @property
    def label(self) -> dict[str, object]:
        """Attributes of its case in a result."""
        return {"case": "window", "label": self.name}

    def rows(self, steps: NDArray[Any]) -> Rows:
        """Its first checkpoint, and the one after its last."""
        first, last = np.searchsorted(steps, [self.start, self.stop])
        return int(first), int(last)

    def of(self, trajectory: xr.Dataset) -> xr.Dataset:
        """The part of a trajectory that lies in it."""
        return trajectory.isel({STEP: slice(*self.rows(trajectory[STEP].values))})


def windows_of(trajectory: xr.Dataset, asked: Windows | None) -> list[Window]:
    """The requested windows, in the given order.

    Raises
    ------
    OptionError
        They cannot be understood, lie outside the run, hold too few checkpoints, or come twice.
    """
    if asked is None:
        return []
    steps = trajectory[STEP].values
    windows = _understood(asked, steps)
    for window in windows:
        first, stop = window.rows(steps)
        if stop - first < FEWEST:
            raise OptionError(
                f"--windows: {window.name} holds {max(stop - first, 0)} of the run's {len(steps)} "
                f"checkpoints, at steps {steps[0]} to {steps[-1]}; at least {FEWEST} are needed. "
                "Take fewer or longer windows."
            )
        if windows.count(window) > 1:
            raise OptionError(f"--windows: {window.name} is given twice. Give it once.")
    return windows


def rows_left(windows: Sequence[Window], steps: NDArray[Any]) -> tuple[list[Window], list[Rows]]:
    """Windows and their rows once checkpoints have been left out.

    Raises
    ------
    TrajectoryError
        Too few are left in one of them.
    """
    rows = [window.rows(steps) for window in windows]
    for window, (first, stop) in zip(windows, rows, strict=True):
        if stop - first < FEWEST:
            raise TrajectoryError(
                f"The window {window.name} holds {max(stop - first, 0)} checkpoints that can "
                f"be used; at least {FEWEST} are needed. Leave it out of --windows."
            )
    return list(windows), rows


def _understood(asked: Windows, steps: NDArray[Any]) -> list[Window]:
    text = str(asked).strip() if isinstance(asked, int | str) else ""
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return _equal_parts(int(text), steps)
    pairs: Any = asked
    if isinstance(asked, int | str):
        pairs = [part.split(":") for part in text.split(",")]
    try:
        return [_window(*pair) for pair in pairs]
    except (TypeError, ValueError):
        raise OptionError(f"--windows {printable(asked)!r}: {_EXPECTED}") from None


def _window(start: object, stop: object) -> Window:
    ends = [
        default if end is None or str(end).strip() == "" else float(str(end))
        for end, default in ((start, -math.inf), (stop, math.inf))
    ]
    if not ends[0] < ends[1]:
        raise ValueError
    return Window(*ends)


def _equal_parts(n: int, steps: NDArray[Any]) -> list[Window]:
    """As many parts with as many checkpoints each, but for one."""
    if not 1 <= n <= max(len(steps) // FEWEST, 1):
        raise OptionError(
            f"--windows {n}: the run has {len(steps)} checkpoints, and a window needs at least "
            f"{FEWEST}. Give a number from 1 to {max(len(steps) // FEWEST, 1)}."
        )
    edges = np.linspace(0, len(steps), n + 1).round().astype(int)
    ends = [*(float(steps[edge]) for edge in edges[:-1]), math.inf]
    return [Window(*pair) for pair in pairwise(ends)]
