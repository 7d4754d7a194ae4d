"""The curves as the figures need them: all weights together, time in checkpoints."""

from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from trajscope.report.content.headline import all_weights
from trajscope.report.content.numbers import Window, window
from trajscope.report.content.verdict import Verdict, verdict
from trajscope.schema import FREQUENCY, GROUP, LAG, LEARNING_RATE, LOG, SCALE, STEP

Floats = NDArray[np.float64]

MOST_POINTS = 400
"""A curve with more points is binned; a page of endless paths opens in no browser."""


@dataclass(frozen=True)
class Curves:
    """Observables and tests of all weights, and the window they were measured on.

    Attributes
    ----------
    values :
        The group "all" of the observables.
    tests :
        Of every group, that of all weights first; empty where there are none.
    groups :
        The observables of every group, that of all weights first.
    rates : (step,)
        Learning rates of the checkpoints; NaN where not known.
    log :
        What the trainer logged along the run; empty where nothing was found.
    """

    window: Window
    values: xr.Dataset
    tests: xr.Dataset
    verdict: Verdict | None
    groups: xr.Dataset = field(default_factory=xr.Dataset)
    rates: Floats = field(default_factory=lambda: np.empty(0))
    log: xr.Dataset = field(default_factory=xr.Dataset)

    def __getitem__(self, name: str) -> Floats:
        """One observable as an array."""
        return np.asarray(self.values[name].values, dtype=np.float64)

    def number(self, name: str) -> float:
        """One scalar observable or attribute."""
        found = self.values[name] if name in self.values else self.values.attrs[name]
        return float(found)

    def tested(self, name: str) -> Floats:
        """One curve or number of the tests of all weights."""
        found = self.tests[name]
        whole = found.isel({GROUP: 0}) if GROUP in found.dims else found
        return np.asarray(whole.values, dtype=np.float64)

    def is_tested(self, name: str) -> bool:
        """Whether the tests of all weights hold it, with at least one number."""
        return name in self.tests and bool(np.isfinite(self.tested(name)).any())

    @property
    def scales(self) -> Floats:
        """(scale,) lengths of displacements in checkpoints; the shortest is two intervals."""
        return self.stride * self._tested_scale / self._tested_interval

    @property
    def tested_frequencies(self) -> Floats:
        """(frequency,) of the tests, in cycles per checkpoint."""
        frequency = np.asarray(self.tests[FREQUENCY].values, dtype=np.float64)
        return frequency * self._tested_interval / self.stride

    @property
    def stride(self) -> int:
        """Every how many checkpoints one was taken for the tests."""
        return int(self.tests.attrs.get("stride", 1))

    @property
    def step_title(self) -> str:
        """What a step counts."""
        return {"step": "optimizer step", "epoch": "epoch"}.get(self.window.unit, "checkpoint")

    @property
    def lags(self) -> Floats:
        """(lag,) in checkpoints; the shortest after zero is one checkpoint."""
        lag = np.asarray(self.values[LAG].values, dtype=np.float64)
        return np.rint(lag / self._spacing)

    @property
    def frequencies(self) -> Floats:
        """(frequency,) in cycles per checkpoint, at most one half."""
        return np.asarray(self.values[FREQUENCY].values, dtype=np.float64) * self._spacing

    @property
    def steps(self) -> Floats:
        """(step,) as the checkpoints are labelled."""
        return np.asarray(self.values[STEP].values, dtype=np.float64)

    @property
    def _tested_scale(self) -> Floats:
        return np.asarray(self.tests[SCALE].values, dtype=np.float64)

    @property
    def _tested_interval(self) -> float:
        return float(self._tested_scale[0]) / 2

    @property
    def _spacing(self) -> float:
        lag = np.asarray(self.values[LAG].values, dtype=np.float64)
        return float(lag[lag > 0].min())


def curves(results: xr.DataTree) -> Curves:
    """The curves of a result."""
    trajectory = results["trajectory"].to_dataset()
    unknown = np.full(trajectory.sizes[STEP], np.nan)
    return Curves(
        window(trajectory),
        all_weights(results),
        results["tests"].to_dataset(),
        verdict(results),
        results["observables"].to_dataset(),
        np.asarray(trajectory.get(LEARNING_RATE, unknown), dtype=np.float64),
        results[LOG].to_dataset() if LOG in results.children else xr.Dataset(),
    )


@dataclass(frozen=True)
class Binned:
    """A long curve in few bins, each with its lowest, mean and highest value."""

    x: Floats
    low: Floats
    mean: Floats
    high: Floats


def binned(x: Floats, y: Floats, *, by_ratio: bool = False, most: int = MOST_POINTS) -> Binned:
    """The curve in at most `most` bins of equal width, or of equal ratio on a log axis.

    A curve of fewer points comes back as it is. Extremes are kept: nothing is smoothed away.

    Parameters
    ----------
    x, y : (point,)
        `x` ascending, and positive if `by_ratio`.
    """
    if x.size <= most:
        return Binned(x, y, y, y)
    place = np.log(x) if by_ratio else x
    edges = np.linspace(place[0], place[-1], most + 1)[1:-1]
    starts = np.unique(np.r_[0, np.searchsorted(place, edges)])
    starts = starts[starts < x.size]
    sizes = np.diff(np.r_[starts, x.size])
    return Binned(
        x=np.add.reduceat(x, starts) / sizes,
        low=np.minimum.reduceat(y, starts),
        mean=np.add.reduceat(y, starts) / sizes,
        high=np.maximum.reduceat(y, starts),
    )
