"""Which part of a folder is taken: one record of every option, and the steps it leaves."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

from trajscope.checkpoints.base import Checkpoint, Series
from trajscope.errors import OptionError, TrajectoryError, printable


@dataclass(frozen=True)
class Selection:
    """How a folder of checkpoints is opened; `trajscope.open_trajectory` explains the options.

    Made once and carried by the trajectory (``attrs["selection"]``), so that whatever else is
    read from the same files later, such as buffers, is that of the same checkpoints.

    Raises
    ------
    OptionError
        One of them cannot be understood.
    """

    run: str | None = None
    burn_in: int | str | None = None
    steps: str | slice | None = None
    include: str | Sequence[str] = ()
    exclude: str | Sequence[str] = ()
    by: str = "layer"
    order: str = "step"
    weights: str = "live"
    strict: bool = False

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            value = getattr(self, name)
            if value not in known:
                expected = f"{', '.join(map(repr, known[:-1]))} and {known[-1]!r}"
                raise OptionError(f"{name}={printable(value)!r}: one of {expected} was expected.")
        for name in ("include", "exclude"):
            # A string is a sequence too: the "*" of "fc*" alone would leave out everything.
            value = getattr(self, name)
            globs = (value,) if isinstance(value, str) else tuple(value)
            object.__setattr__(self, name, globs)
        _bounds(self.steps)
        _dropped(self.burn_in, 0)

    def given(self) -> dict[str, Any]:
        """The options that say something, as JSON can hold them."""
        return {name: _plain(value) for name, value in asdict(self).items() if value}

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """The selection that `given` came from."""
        return cls(**given)


_CHOICES: Mapping[str, Sequence[str]] = {
    "by": ("none", "layer", "tensor"),
    "order": ("step", "mtime", "name"),
    "weights": ("live", "ema"),
}
SELECTION_NAMES = tuple(field.name for field in fields(Selection))


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
            f"{printable(series.root)} contains one checkpoint with a distinct step; at least 2 "
            "are needed. Save checkpoints more often, or give the parent folder."
        )
    if len(kept) < 2:
        raise TrajectoryError(
            f"{printable(series.root)}: of {len(everything)} checkpoints at steps "
            f"{_range(everything)}, the selection left {len(kept)}; at least 2 are needed. Widen "
            "--steps or lower --burn-in."
        )
    return replace(series, checkpoints=tuple(kept))


def _plain(value: Any) -> Any:
    if isinstance(value, slice):
        parts = (value.start, value.stop, value.step)
        return ":".join("" if part is None else str(part) for part in parts)
    return list(value) if isinstance(value, tuple) else value


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
            f"--steps {printable(steps)!r}: START:STOP:STRIDE was expected; each number is "
            "optional, and STRIDE is a whole number of at least 1. For example 1000:5000, or ::10."
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
        f"--burn-in {printable(burn_in)!r}: a number of checkpoints (20) or a percentage (10%) was "
        "expected."
    )
