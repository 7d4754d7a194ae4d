"""How a run is counted, and the numbers that sentences are made of."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Run:
    """How checkpoints are counted.

    Attributes
    ----------
    steps : (step,)
    unit :
        "step", "epoch", or "index".
    spacing :
        Between neighbouring checkpoints, `None` where they are unevenly spaced.
    learning_rate : (step,)
        From each checkpoint on, NaN where it is not known; `None` where nothing is known.
    epoch_steps :
        Steps of an epoch, `None` where not known.
    taken :
        Which checkpoints are taken as evenly spaced though they are not quite; else empty.
    """

    steps: NDArray[np.floating] | NDArray[np.integer]
    unit: str
    spacing: float | None
    learning_rate: NDArray[np.float64] | None = None
    epoch_steps: float | None = None
    taken: str = ""

    def part(self, first: int, stop: int) -> "Run":
        """Its checkpoints from number `first` to before `stop`."""
        rate = self.learning_rate
        return replace(
            self,
            steps=self.steps[first:stop],
            learning_rate=None if rate is None else rate[first:stop],
        )

    def length(self, checkpoints: float) -> str:
        """A time of so many checkpoints, in steps or epochs where these are evenly spaced."""
        if self.spacing is None or self.unit == "index":
            time, unit = number(checkpoints), "checkpoint"
        else:
            time, unit = number(checkpoints * self.spacing), self.unit
        return f"{time} {unit}" if time == "1" else f"{time} {unit}s"

    def place(self, checkpoint: int) -> str:
        """The name of a checkpoint."""
        word = "checkpoint" if self.unit == "index" else self.unit
        return f"{word} {number(float(self.steps[checkpoint]), 9)}"


@dataclass(frozen=True)
class Detail:
    """Numbers of a verdict that are not p-values, times in checkpoints.

    Attributes
    ----------
    slowest_relaxation, slowest_rotation :
        Detection limits: `None` where nothing would be detected, or the test did not apply.
    period, entropy_production :
        Of a circulation, with their 95% intervals; no period where the path may not turn round.
    per_relaxation :
        Radians that it turns in a relaxation time.
    drifting_layers :
        Names.
    ringing :
        How momentum's ringing affects the test for a spectral peak, in a sentence.
    drift_strength :
        Squared displacement over that of a random walk with the same increments.
    is_curved :
        Whether a course was found that is not along one line.
    """

    slowest_relaxation: float | None = None
    slowest_rotation: float | None = None
    period: float | None = None
    period_interval: tuple[float, float] | None = None
    per_relaxation: float | None = None
    entropy_production: float | None = None
    entropy_interval: tuple[float, float] = (math.nan, math.nan)
    drifting_layers: tuple[str, ...] = ()
    ringing: str = ""
    drift_strength: float | None = None
    is_curved: bool = False


def strongest(p_values: Mapping[str, float], alpha: float) -> tuple[str, ...]:
    """Up to three names with the smallest p-values at or below alpha."""
    named = sorted((p, name) for name, p in p_values.items() if p <= alpha)
    return tuple(name for _, name in named[:3])


def p_text(value: float) -> str:
    """A p-value, two significant digits."""
    return f"{value:.2g}"


def number(value: float | None, digits: int = 3) -> str:
    """A few significant digits, without an exponent where that can be read."""
    if value is None:
        return "unknown"
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.0f}" if 1000 <= abs(rounded) < 1e9 else f"{rounded:.{digits}g}"
