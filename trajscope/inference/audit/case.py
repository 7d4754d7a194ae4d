"""What the rules of the audit go by, and what they find."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from trajscope.errors import printable
from trajscope.kernels.checksum import trailing_zeros
from trajscope.kernels.gram import Floats
from trajscope.measure.evidence import Evidence, Moves
from trajscope.measure.groups import groups_of
from trajscope.schema import STEP, TENSOR

_FEWEST_UNITS: Final = 8
"""Parts of tensors that change at once where an exact return is no chance."""
_FEWEST_WEIGHTS: Final = 64
_FEWEST_NAMED: Final = 5


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes
    ----------
    kind :
        As in summary.json.
    rows :
        Checkpoints that it is about, as numbers from 0.
    tensors :
        Names; none where all of them are meant.
    detail :
        What was seen, in words with numbers.
    spoilt :
        The checkpoints among `rows` that must be left out.
    """

    kind: str
    rows: tuple[int, ...]
    detail: str
    tensors: tuple[str, ...] = ()
    spoilt: tuple[int, ...] = ()


@dataclass(frozen=True)
class Case:
    """One run as the rules see it.

    Attributes
    ----------
    steps : (step,)
    unit :
        "step", "epoch", or "index".
    tensors :
        Names of the tensors, in order.
    sizes, groups : (tensor,)
        Weights of every tensor; the number of its group in ``evidence.moves``, 0 where there is
        only that of all weights.
    equal_files :
        Files known to be equal: ``{"steps": [...], "files": [...], "whole": bool}``.
    """

    steps: NDArray[Any]
    unit: str
    tensors: tuple[str, ...]
    sizes: NDArray[np.int64]
    groups: NDArray[np.int64]
    evidence: Evidence
    equal_files: Sequence[Any] = field(default=())

    @property
    def moves(self) -> Moves:
        """Of all weights."""
        return self.evidence.moves[0]

    @cached_property
    def states(self) -> NDArray[np.int64]:
        """Number of the state of all weights at every step: equal numbers, equal weights."""
        return np.unique(self.evidence.trace.checks, return_inverse=True)[1]

    @cached_property
    def zeros(self) -> NDArray[np.int64]:
        """Trailing zero bits that all weights looked at share, (step,); -1 where all are zero."""
        return trailing_zeros(self.evidence.trace.bits)

    @cached_property
    def least_change(self) -> int | None:
        """Parts of tensors that must change at once for a return to be no chance, or `None`.

        A few weights, or a few coarse numbers, honestly come back to where they were.
        """
        n_units, n_weights = self.evidence.trace.n_units, int(self.sizes.sum())
        is_fine = int(np.median(self.zeros)) < (13 if self.evidence.trace.itemsize == 4 else 29)
        if n_weights >= _FEWEST_WEIGHTS and n_units >= _FEWEST_UNITS:
            return _FEWEST_UNITS
        return n_units if is_fine and n_units > 1 else None

    def distances(self, tensors: Iterable[int]) -> Floats:
        """Squared increments of the groups that hold these tensors, (interval,)."""
        numbers = sorted({int(self.groups[each]) for each in tensors})
        own = [self.evidence.moves[each].squared_increments for each in numbers]
        return np.asarray(np.sum(own, axis=0), np.float64)

    def place(self, row: int) -> str:
        """The name of a checkpoint: "step 100"."""
        word = "checkpoint" if self.unit == "index" else self.unit
        return f"{word} {_plain(self.steps[row])}"

    def places(self, rows: Sequence[int]) -> str:
        """The names of several: "steps 100, 200 and 300", "16 checkpoints (steps 100 to 900)"."""
        if len(rows) == 1:
            return self.place(rows[0])
        word = "checkpoints" if self.unit == "index" else f"{self.unit}s"
        names = [_plain(self.steps[row]) for row in rows]
        if len(names) > _FEWEST_NAMED:
            return f"{len(names)} checkpoints ({word} {names[0]} to {names[-1]})"
        return f"{word} {', '.join(names[:-1])} and {names[-1]}"

    def names(self, tensors: Sequence[int]) -> tuple[str, ...]:
        """Of tensors; none where these are all of them."""
        return () if len(tensors) == len(self.tensors) else tuple(self.tensors[t] for t in tensors)


def case_of(trajectory: xr.Dataset, evidence: Evidence) -> Case:
    """The case of a trajectory that was gone over."""
    groups = groups_of(trajectory)
    numbers = {name: number + 1 for number, name in enumerate(groups.names)}
    own = [numbers[str(name)] if groups.are_layers else 0 for name in trajectory["group"].values]
    return Case(
        steps=trajectory[STEP].values,
        unit=str(trajectory.attrs.get("step_unit", "index")),
        tensors=tuple(str(name) for name in trajectory[TENSOR].values),
        sizes=trajectory["row_size"].values.astype(np.int64),
        groups=np.array(own, np.int64),
        evidence=evidence,
        equal_files=trajectory.attrs.get("equal_files", []),
    )


def listed(names: Sequence[str], most: int = 3) -> str:
    """Names in words: "'a', 'b' and 3 more"."""
    shown = ", ".join(f"'{printable(name, limit=60)}'" for name in names[:most])
    more = len(names) - most
    return f"{shown} and {more:,} more" if more > 0 else shown


def _plain(step: Any) -> str:
    value = float(step)
    return str(int(value)) if value.is_integer() else f"{value:g}"
