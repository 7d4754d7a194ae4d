"""What the course of a run shows: gaps between checkpoints, growth, numbers cast to fewer bits."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajscope.inference.audit.case import Case, Finding

_WIDE: Final = 3.0
"""Times the spacings beside it that a gap is more than."""
_EVEN: Final = 2.0
"""Ratio of the spacings beside a gap at most."""
_GROWTH: Final = 10.0
"""Factor of the norm over a stretch of growth at least."""
_FEWEST_GROWING: Final = 8
_STEADY: Final = 0.8
"""Share of the rate of its first half that exponential growth keeps in its second."""
_DTYPES: Final = {
    4: ((20, "float8"), (16, "bfloat16"), (13, "float16")),
    8: ((45, "bfloat16"), (42, "float16"), (29, "float32")),
}
"""By bytes: trailing zero bits that all numbers of a narrower dtype have at least, and its name."""
_FEWEST_WEIGHTS: Final = 128


def gap(case: Case) -> list[Finding]:
    """Spacings of checkpoints far above those on both sides, which are alike."""
    spacing = np.diff(case.steps.astype(np.float64))
    found = []
    for at in range(2, len(spacing) - 1):
        beside = spacing[[each for each in (at - 2, at - 1, at + 1, at + 2) if each < len(spacing)]]
        if spacing[at] > _WIDE * beside.max() and beside.max() <= _EVEN * beside.min():
            said = (
                f"No checkpoints between {case.place(at)} and {case.place(at + 1)}: this gap is "
                f"{spacing[at] / np.median(beside):.3g} times as long as the spacing beside it."
            )
            found.append(Finding("gap", (at, at + 1), said))
    return found


def growth(case: Case) -> list[Finding]:
    """A norm of the weights that grows exponentially up to the last checkpoint."""
    squared = case.moves.squared_positions
    steps = case.steps.astype(np.float64)
    usable = (squared > 0) & (squared < 1e290)
    logs = np.log(np.where(usable, squared, 1.0)) / 2
    first = len(logs) - 1
    while first > 0 and usable[first - 1] and logs[first - 1] < logs[first]:
        first -= 1
    if len(logs) - first < _FEWEST_GROWING or logs[-1] - logs[first] < np.log(_GROWTH):
        return []
    # From where the norm was a tenth of the last.
    first = max(first, int(np.searchsorted(logs[first:], logs[-1] - np.log(_GROWTH))) + first - 1)
    middle = float(np.interp((steps[first] + steps[-1]) / 2, steps, logs))
    if len(logs) - first < _FEWEST_GROWING // 2:
        return []
    if logs[-1] - middle < _STEADY * (middle - logs[first]):
        return []
    factor = np.exp(logs[-1] - logs[first])
    said = (
        f"The norm of the weights grows exponentially from {case.place(first)} on, by a factor of "
        f"{factor:.3g} up to {case.place(len(logs) - 1)}. Did the run diverge?"
    )
    return [Finding("growth", tuple(range(first, len(logs))), said)]


def cast(case: Case) -> list[Finding]:
    """Checkpoints all of whose values fit a dtype narrower than those beside them need."""
    zeros = case.zeros
    if int(case.sizes.sum()) < _FEWEST_WEIGHTS or len(zeros) < 3:
        return []
    dtypes = _DTYPES[case.evidence.trace.itemsize]
    levels = np.select([zeros >= least for least, _ in dtypes], (3, 2, 1), 0)
    usual = int(np.median(levels))
    narrow = np.flatnonzero((levels > usual) & (zeros >= 0))
    # A run may start from weights of a narrower dtype, or change its dtype on the way.
    lead, tail = _edges(np.isin(np.arange(len(zeros)), narrow))
    rows = [
        row for row in narrow.tolist() if lead <= row and (row < tail or tail == len(zeros) - 1)
    ]
    if not rows:
        return []
    found = []
    for level, (_, name) in zip((3, 2, 1), dtypes, strict=True):
        own = tuple(row for row in rows if levels[row] == level)
        if own:
            said = (
                f"All values at {case.places(own)} fit {name}, those of the checkpoints beside "
                "need more bits: they were cast."
            )
            found.append(Finding("cast", own, said, spoilt=own))
    return found


def _edges(narrow: NDArray[np.bool]) -> tuple[int, int]:
    """How many lead at the start, and the first of those at the end."""
    wide = np.flatnonzero(~narrow)
    return (int(wide[0]), int(wide[-1]) + 1) if len(wide) else (len(narrow), 0)
