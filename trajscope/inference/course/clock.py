"""The noise's own time: how the scale of the noise runs over a window, and equal steps of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajscope.inference.statistics.noise import squared_differences
from trajscope.kernels.gram import Floats

LOG_TIMES: Final = (0, 3, 10, 30, 100)
"""Constants c of the time log(1 + c t/n); 0 is linear time."""
RELAXATIONS: Final = (3, 6, 12, 24)
"""Rates of relaxation that are looked for, per window."""
_MOST_FUNCTIONS: Final = 6
_MOST_STEPS: Final = 4
_GRID: Final = 400
"""Places among which the two ends of an interval are looked for."""
_PACE: Final = 0.75
_PENALTY: Final = 2.0
"""Times the usual price of a parameter: neighbouring differences share an increment."""
_LEAST: Final = 1e-6
"""Of the median: a smaller squared difference counts as this."""
_VARIES: Final = 1.0
"""Standard deviation of the logarithm of a squared rate from which on it may be followed."""


@dataclass(frozen=True)
class NoiseCourse:
    """How the standard deviation of the noise runs over a window.

    Attributes
    ----------
    kind :
        "constant", "gradual", "steps", or "rate" where it follows the learning rate.
    scale : (interval,)
        Standard deviation of an increment over the largest.
    places : tuple of int
        Of kind "steps": intervals at which a new level begins.
    """

    kind: str
    scale: Floats
    places: tuple[int, ...] = ()

    @property
    def ratio(self) -> float:
        """Noise variance of the last interval over that of the first."""
        return float((self.scale[-1] / self.scale[0]) ** 2)


def constant(n: int) -> NoiseCourse:
    """Noise that keeps its scale."""
    return NoiseCourse("constant", np.ones(n))


def fitted(increments: Floats, rate: Floats | None = None) -> NoiseCourse:
    """The course of the noise with the smallest Bayesian criterion among a few kinds.

    ``log v[t]``, ``v[t] = |y[t+1] - y[t]|^2 / 2``, is regressed on a constant and up to six
    functions of linear or logarithmic time (cosines, or the time and cosines), on up to four
    steps, or shifted onto twice the logarithm of the learning rate; ``s = exp(fit / 2)``. The price
    of a parameter is twice that of Schwarz 1978 (doi:10.1214/aos/1176344136), since neighbouring v
    share an increment.

    Parameters
    ----------
    increments : (interval, component)
    rate : (interval,)
        Learning rate, where it is known.
    """
    logs = _logarithms(increments)
    n = len(increments)
    found: list[tuple[float, NoiseCourse]] = [
        (_criterion(logs - logs.mean(), 1), constant(n)),
    ]
    found += _smooth_fits(logs, n)
    found += _step_fits(logs, n)
    wanted = None if rate is None else _squared(rate)
    if wanted is not None:
        found.append((_criterion(_beside(logs, wanted), 1), _of_rate(wanted)))
    return min(found, key=lambda each: each[0])[1]


def followed(increments: Floats, rate: Floats | None) -> NoiseCourse | None:
    """The course of noise that clearly follows the square of a known learning rate that varies.

    No general test of the noise sees a rate that comes and goes: noise that is loud at times looks
    the same. With the rate's square taken off, `log v[t]` has to vary clearly less than without.

    Parameters
    ----------
    increments : (interval, component)
    rate : (interval,)
    """
    wanted = None if rate is None else _squared(rate)
    if wanted is None or wanted.std() < _VARIES:
        return None
    logs = _logarithms(increments)
    gain = _criterion(logs - logs.mean(), 1) - _criterion(_beside(logs, wanted), 1)
    return _of_rate(wanted) if gain > _PENALTY * np.log(len(logs)) else None


def blocks_of(scale: Floats) -> NDArray[np.int64]:
    """Number of intervals up to the end of each block of equal noise time, (block,).

    The clock ``c[t] = sum_{u<=t} min(s[u] / s*, 1)`` ticks once an interval where the noise is
    at least s*, its upper quartile, so that a short beginning does not set the pace; intervals with
    the same ``ceil(c)`` are one block. A last block less than half as long as the others is left
    out.
    """
    clock = np.minimum(scale / np.quantile(scale, _PACE), 1).cumsum()
    numbers = np.ceil(clock - 1e-9).astype(np.int64)
    ends = np.flatnonzero(np.diff(numbers)) + 1
    # The last one ends with the window, whole or not.
    is_whole = clock[-1] - (numbers[-1] - 1) >= 0.5
    return np.append(ends, len(scale)) if is_whole or not ends.size else ends


def time_bases(times: Floats) -> Iterator[tuple[int, Floats]]:
    """Functions of linear, logarithmic and exponential times, orthonormal, the constant first.

    Cosines ``cos(k pi w)``, k = 0, 1, ..., of ``w = log(1 + c u) / log(1 + c)``: a course that
    slows down as log t is few of these. Or the constant, a relaxation ``exp(-c u)``, and cosines of
    the logarithmic time with c = 30.

    Parameters
    ----------
    times : (interval,)
        u, from 0 to 1.

    Yields
    ------
    c, negative of an exponential time, and (interval, function)
    """
    count = min(24, max(2, len(times) // 4))
    for c in LOG_TIMES:
        w = times if c == 0 else np.log1p(c * times) / np.log1p(c)
        cosines = np.cos(np.pi * w[:, np.newaxis] * np.arange(count))
        yield c, np.linalg.qr(cosines)[0]
    for c in RELAXATIONS:
        w = np.log1p(30 * times) / np.log1p(30)
        cosines = np.cos(np.pi * w[:, np.newaxis] * np.arange(1, count - 1))
        columns = [np.ones_like(times), np.exp(-c * times), cosines]
        yield -c, np.linalg.qr(np.column_stack(columns))[0]


def _logarithms(increments: Floats) -> Floats:
    """``log v[t]``, (turn,)."""
    values = squared_differences(increments.T[np.newaxis])[0]
    least = _LEAST * max(float(np.median(values)), 1e-300)
    return np.asarray(np.log(np.maximum(values, least)))


def _squared(rate: Floats) -> Floats | None:
    """Logarithm of the squared rate, as far below its median as that of squares may lie."""
    if not np.all(np.isfinite(rate) & (rate >= 0)) or not np.median(rate) > 0:
        return None
    wanted = 2 * np.log(np.maximum(rate, np.median(rate) * _LEAST**0.5))
    return np.asarray(wanted)


def _of_rate(wanted: Floats) -> NoiseCourse:
    return NoiseCourse("rate", np.exp((wanted - wanted.max()) / 2))


def _beside(logs: Floats, wanted: Floats) -> Floats:
    """What is left of logarithms, (turn,), about those of the noise that is wanted, (interval,)."""
    residual = logs - (wanted[1:] + wanted[:-1]) / 2
    return np.asarray(residual - residual.mean())


def _smooth_fits(logs: Floats, n: int) -> list[tuple[float, NoiseCourse]]:
    at_turns, at_intervals = np.arange(1, n) / n, (np.arange(n) + 0.5) / n
    found = []
    for c, is_led, count in product(LOG_TIMES, (False, True), range(1, _MOST_FUNCTIONS + 1)):
        design, everywhere = (_smooth(t, c, count, is_led) for t in (at_turns, at_intervals))
        weights, *_ = np.linalg.lstsq(design, logs, rcond=None)
        # The constant of the logarithmic time is one more parameter.
        price = _criterion(logs - design @ weights, 1 + count + (c > 0))
        fit = everywhere @ weights / 2
        found.append((price, NoiseCourse("gradual", np.exp(fit - fit.max()))))
    return found


def _smooth(times: Floats, c: int, count: int, is_led: bool) -> Floats:
    """The constant and so many cosines of a time, or the time itself and one cosine fewer."""
    w = (times if c == 0 else np.log1p(c * times) / np.log1p(c))[:, np.newaxis]
    cosines = np.cos(np.pi * w * np.arange(1, count + 1 - is_led))
    return np.column_stack([np.ones_like(w), *([w] if is_led else []), cosines])


def _step_fits(logs: Floats, n: int) -> list[tuple[float, NoiseCourse]]:
    """Up to four steps, found one after the other, from none on and from the best two at once."""
    m = len(logs)
    edge = max(4, m // 25)
    return [
        _levels(logs, n, places)
        for start in ([], _best_interval(logs, edge))
        for places in _more_and_more(logs, edge, start)
    ]


def _more_and_more(logs: Floats, edge: int, places: list[int]) -> Iterator[list[int]]:
    """These places, and one more at a time where it explains most."""
    if places:
        yield places
    while len(places) < _MOST_STEPS:
        pieces = _pieces(places, len(logs))
        gain, place = max(_gain(logs[a:b], edge, a) for a, b in pieces)
        if gain <= 0:
            return
        places = sorted([*places, place])
        yield places


def _levels(logs: Floats, n: int, places: list[int]) -> tuple[float, NoiseCourse]:
    """The criterion of steps at these places, and their course."""
    m = len(logs)
    means = [float(logs[a:b].mean()) for a, b in _pieces(places, m)]
    residual = logs - np.repeat(means, np.diff([0, *places, m]))
    # What spans a step is about as large as what lies on its larger side.
    starts = [p + int(b > a) for p, a, b in zip(places, means, means[1:], strict=False)]
    levels = np.repeat(means, np.diff([0, *starts, n])) / 2
    course = NoiseCourse("steps", np.exp(levels - levels.max()), tuple(starts))
    return _criterion(residual, 1 + 2 * len(places)), course


def _best_interval(logs: Floats, edge: int) -> list[int]:
    """Begin and end of the interval, not at an edge, that differs most from all else."""
    m = len(logs)
    grid = np.unique(np.linspace(edge, m - edge, min(m - 2 * edge + 1, _GRID)).astype(int))
    if len(grid) < 2:
        return []
    sums = np.concatenate([[0.0], (logs - logs.mean()).cumsum()])[grid]
    lengths = grid - grid[:, np.newaxis]
    apart = np.where(lengths >= edge, lengths, 1)
    gains = (sums - sums[:, np.newaxis]) ** 2 * m / (apart * (m - apart))
    gains[lengths < edge] = 0
    first, last = np.unravel_index(gains.argmax(), gains.shape)
    return [int(grid[first]), int(grid[last])] if gains.max() > 0 else []


def _pieces(places: list[int], m: int) -> list[tuple[int, int]]:
    return list(zip([0, *places], [*places, m], strict=True))


def _gain(logs: Floats, edge: int, first: int) -> tuple[float, int]:
    """What the best step in a piece explains, and its place."""
    m = len(logs)
    if m < 2 * edge:
        return 0.0, first
    k = np.arange(edge, m - edge + 1)
    sums = np.cumsum(logs - logs.mean())[k - 1]
    gains = sums**2 * m / (k * (m - k))
    return float(gains.max()), first + int(k[gains.argmax()])


def _criterion(residual: Floats, parameters: int) -> float:
    m = len(residual)
    spread = max(float(np.mean(residual**2)), 1e-300)
    return float(m * np.log(spread) + _PENALTY * parameters * np.log(m))
