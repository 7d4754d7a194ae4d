"""The part of a series that is analysed: a range of steps, without the first checkpoints."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from trajscope.checkpoints.base import Checkpoint, Series
from trajscope.errors import OptionError, TrajectoryError, printable


def selected(series: Series, steps: str | slice | None, burn_in: int | str | None) -> Series:
    """The series with only the checkpoints that `steps`, then `burn_in` leave.

    Parameters
    ----------
    steps :
        "START:STOP:STRIDE" or a slice: START <= step < STOP, every STRIDE-th of these.
    burn_in :
        How many of the first checkpoints to drop, or "P%" of them (rounded up).

    Raises
    ------
    OptionError
        One of them cannot be understood.
    TrajectoryError
        Fewer than two checkpoints are left.
    """
    everything = series.checkpoints
    start, stop, stride = _bounds(steps)
    within = [each for each in everything if start <= each.step < stop][::stride]
    kept = within[_dropped(burn_in, len(within)) :]
    if len(everything) < 2:
        raise TrajectoryError(
            f"{printable(series.root)} holds one checkpoint with a step of its own; at least 2 are "
            "needed to see a movement. Log more often, or point at the folder above."
        )
    if len(kept) < 2:
        raise TrajectoryError(
            f"{printable(series.root)}: of {len(everything)} checkpoints at steps "
            f"{_range(everything)}, the selection left {len(kept)}; at least 2 are needed to see a "
            "movement. Widen --steps or lower --burn-in."
        )
    return replace(series, checkpoints=tuple(kept))


def _range(checkpoints: Sequence[Checkpoint]) -> str:
    return f"{checkpoints[0].step} to {checkpoints[-1].step}"


def _bounds(steps: str | slice | None) -> tuple[float, float, int]:
    """START, STOP and STRIDE, with those that were left out filled in."""
    if steps is None:
        return -math.inf, math.inf, 1
    fields: list[object]
    if isinstance(steps, slice):
        fields = [steps.start, steps.stop, steps.step]
    else:
        fields = [text.strip() or None for text in str(steps).split(":")]
    try:
        if not 2 <= len(fields) <= 3:
            raise ValueError
        start, stop = (
            default if field is None else float(str(field))
            for field, default in zip(fields, (-math.inf, math.inf), strict=False)
        )
        stride = int(str(fields[2])) if len(fields) == 3 and fields[2] is not None else 1
        if stride < 1 or math.isnan(start) or math.isnan(stop):
            raise ValueError
    except ValueError:
        raise OptionError(
            f"--steps {printable(steps)!r}: START:STOP:STRIDE was expected, numbers that may be "
            "left out, with STRIDE a whole number from 1. For example 1000:5000, or ::10."
        ) from None
    return start, stop, stride


def _dropped(burn_in: int | str | None, count: int) -> int:
    """How many of `count` checkpoints a burn-in drops."""
    text = "0" if burn_in is None else str(burn_in).strip()
    if re.fullmatch(r"\d{1,18}", text, re.ASCII):
        return int(text)
    if re.fullmatch(r"\d{1,3}(\.\d{1,9})?%", text, re.ASCII) and float(text[:-1]) <= 100:
        return math.ceil(float(text[:-1]) / 100 * count)
    raise OptionError(
        f"--burn-in {printable(burn_in)!r}: a number of checkpoints (20) or a share of them (10%) "
        "was expected."
    )
