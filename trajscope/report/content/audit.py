"""What the audit found of a run, in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import xarray as xr

from trajscope.errors import printable
from trajscope.report.content.numbers import counted, exact
from trajscope.schema import AUDIT, STEP, TENSOR

_DETAIL = 600
_MOST_NAMES = 200


@dataclass(frozen=True)
class Told:
    """One finding; everything that came from a file is printable.

    Attributes
    ----------
    kind :
        As it is read: "identical tensors".
    steps, tensors :
        All of them; no tensors where every one is meant.
    """

    kind: str
    detail: str
    steps: tuple[str, ...]
    tensors: tuple[str, ...]


def findings(trajectory: xr.Dataset) -> tuple[Told, ...] | None:
    """The findings of an audited trajectory, or `None` where there was no audit."""
    found = trajectory.attrs.get(AUDIT)
    return None if found is None else told(found)


def told(found: Sequence[Mapping[str, object]]) -> tuple[Told, ...]:
    """Findings as they are stored, in words."""
    return tuple(
        Told(
            kind=printable(each.get("kind", ""), limit=40).replace("_", " "),
            detail=printable(each.get("detail", ""), limit=_DETAIL),
            steps=tuple(exact(float(str(step))) for step in _list(each.get("steps"))),
            tensors=tuple(printable(name, limit=80) for name in _list(each.get("tensors"))),
        )
        for each in found
    )


def step_range(steps: Sequence[str]) -> str:
    """Steps in a few characters: "100", "100 and 200", "31 from 100 to 900"."""
    if len(steps) > 2:
        return f"{len(steps):,} from {steps[0]} to {steps[-1]}"
    return " and ".join(steps)


def nothing_found(trajectory: xr.Dataset) -> str:
    """What is said where nothing was found."""
    of_what = counted(trajectory.sizes[TENSOR], "tensor")
    return f"nothing found in {counted(trajectory.sizes[STEP], 'checkpoint')} of {of_what}"


def _list(value: object) -> list[object]:
    return list(value)[:_MOST_NAMES] if isinstance(value, (list, tuple)) else []
