"""Numbers, counts and durations in words, for the screen and the page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trajscope.errors import ResultsError, encodable
from trajscope.schema import STEP, Described, described

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Window:
    """The analyzed window: how many checkpoints, from which step to which, how far apart.

    Attributes
    ----------
    spacing :
        Steps from a checkpoint to the next; `None` where it changes.
    unit :
        What a step counts: "step", "epoch", or "index" when nothing is known of it.
    """

    checkpoints: int
    first: float
    last: float
    spacing: float | None
    unit: str

    def length(self, checkpoints: float) -> str:
        """A length of time, in checkpoints and then in steps: "30 checkpoints (3,000 steps)"."""
        words = counted(round(checkpoints), "checkpoint")
        if self.spacing is None or self.unit == "index":
            return words
        return f"{words} ({counted(round(checkpoints) * self.spacing, self.unit)})"


def window(trajectory: "xr.Dataset | Described") -> Window:
    """The window of a trajectory.

    Raises
    ------
    ResultsError
        It has fewer than two steps, so its detection limits are unknown.
    """
    seen = described(trajectory)
    if STEP not in seen.coords or len(seen.coords[STEP]) < 2:
        raise ResultsError(
            "The result has fewer than two steps, so the detection limits of its window are "
            "unknown. Make it again with 'trajscope analyze'."
        )
    steps = np.asarray(seen.coords[STEP], dtype=np.float64)
    gaps = np.diff(steps)
    even = bool(seen.attrs.get("evenly_spaced", np.allclose(gaps, gaps[0], rtol=1e-6, atol=0)))
    return Window(
        checkpoints=steps.size,
        first=float(steps[0]),
        last=float(steps[-1]),
        spacing=float(gaps[0]) if even else None,
        unit=str(seen.attrs.get("step_unit", "index")),
    )


def number(value: float, digits: int = 3) -> str:
    """`value` to so many significant digits: "0.854", "12,300", "1.2e-7"; "unknown" for NaN."""
    if not math.isfinite(value):
        return "unknown"
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits - 1}e}")
    exponent = math.floor(math.log10(abs(rounded)))
    if not -4 <= exponent < 6:
        mantissa, power = f"{rounded:.{digits - 1}e}".split("e")
        return f"{_trimmed(mantissa)}e{int(power)}".replace("-", "−")
    return f"{rounded:,.{max(digits - 1 - exponent, 0)}f}".replace("-", "−")


def decimal(value: float, places: int = 2) -> str:
    """`value` to so many decimals, without a false sign of zero: "−0.18", "0.00"; or "unknown"."""
    if not math.isfinite(value):
        return "unknown"
    return f"{round(value, places) + 0.0:.{places}f}".replace("-", "−")


def exact(value: float) -> str:
    """A step or a count as it is, thousands separated: "30,900", "0.5"."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.6g}"


def counted(count: float, noun: str) -> str:
    """`count` things: "1 checkpoint", "300 checkpoints"."""
    return f"{exact(count)} {noun if count == 1 else _plural(noun)}"


def percent(fraction: float, digits: int = 0) -> str:
    """A share in percent: "45%", and "under 1%" rather than a false zero; "unknown" for NaN."""
    if not math.isfinite(fraction):
        return "unknown"
    smallest = 10.0**-digits
    if 0 < 100 * fraction < smallest:
        return f"under {smallest:.{digits}f}%"
    if 100 - smallest < 100 * fraction < 100:
        return f"over {100 - smallest:.{digits}f}%"
    return f"{100 * fraction:.{digits}f}%"


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first names and how many more there are: "a, b, c and 5 more"."""
    shown = ", ".join(names[:most])
    rest = len(names) - most
    return f"{shown} and {rest:,} more" if rest > 0 else shown


def _trimmed(mantissa: str) -> str:
    return mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa


def _plural(noun: str) -> str:
    return "indices" if noun == "index" else f"{noun}s"


def plain(value: Any) -> Any:
    """`value` as JSON knows it: numbers whole where they are, null for what is no finite number."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value.tolist()]
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() else value
    return value if value is None or isinstance(value, (bool, int)) else encodable(str(value))
