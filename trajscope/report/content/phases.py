"""The phases of a run, in words; everything that came from a file is printable."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import xarray as xr

from trajscope.errors import printable

_MOST: Final = 64
"""More are shown by no page."""


@dataclass(frozen=True)
class Phase:
    """Checkpoints between two changes.

    Attributes
    ----------
    first, last :
        Steps of its first and last checkpoint.
    opens_with :
        What changes at its first checkpoint, with p; "start" of the first phase.
    """

    first: float
    last: float
    checkpoints: int
    verdict: str
    sentence: str
    opens_with: str


def phases(results: xr.DataTree) -> tuple[Phase, ...]:
    """The phases that a result names, in order; those that are none are left out."""
    told = results["verdict"].attrs.get("phases", ())
    found = [_phase(each) for each in told[:_MOST]] if isinstance(told, (list, tuple)) else []
    return tuple(each for each in found if each is not None)


def _phase(told: object) -> Phase | None:
    if not isinstance(told, Mapping):
        return None
    names = ("first_step", "last_step", "checkpoints")
    numbers = [float(n) for n in map(told.get, names) if isinstance(n, (int, float))]
    if len(numbers) < len(names) or not all(map(math.isfinite, numbers)):
        return None
    first, last, checkpoints = numbers
    kind, p_value = told.get("opens_with"), told.get("p_value")
    opens = "start" if kind is None else printable(kind, limit=20)
    if kind is not None and isinstance(p_value, (int, float)):
        opens += f", p\u00a0=\u00a0{p_value:.2g}"
    return Phase(
        first,
        last,
        int(checkpoints),
        printable(told.get("code", ""), limit=40).replace("_", " "),
        printable(told.get("sentence", ""), limit=1200),
        opens,
    )
