"""Where a run changes: places at which its noise, its learning rate or its drift steps."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from trajscope.inference.course.clock import LOG_TIMES, RELAXATIONS, NoiseCourse
from trajscope.inference.course.rest import Draws
from trajscope.inference.nulls.draws import normals, over_batches
from trajscope.inference.statistics.brownian import p_value
from trajscope.inference.statistics.permutations import draw_increments
from trajscope.inference.statistics.volatility import fitted_to_all
from trajscope.kernels.gram import Floats

_STEP: Final = 1.5
"""Ratio of two rates that is a step and no slope."""
_EVEN: Final = 0.05
"""Change of a rate that is kept otherwise."""
_SHORTEST: Final = 8
"""Intervals of a phase."""
_FEWEST: Final = 31
"""Intervals in which a change of drift is looked for."""
_MOST: Final = 4000
"""Intervals; longer windows are looked at in sums of several."""
_SLOWEST: Final = 24
"""Cosines whose directions are alike where nothing changes."""
_DEPTH: Final = 3
"""Changes of drift that are looked for within each other."""


@dataclass(frozen=True)
class Change:
    """A place at which a phase begins.

    Attributes
    ----------
    place :
        Intervals before it.
    kind :
        "learning rate", "noise" or "drift".
    p_value :
        Among permutations of what lies on either side, or rotations of the slowest cosines.
    """

    place: int
    kind: str
    p_value: float


def find_changes(
    increments: Floats, noise: NoiseCourse, rate: Floats | None, draws: Draws
) -> list[Change]:
    """Changes of a window, in order: of the learning rate, else of the noise, and of the drift.

    Where the rate is known, its steps by half and more between two plateaus are changes. Noise
    changes where its course is one of steps (`clock.fitted`) and the test of the noise variance
    rejects between the neighbouring changes. The drift changes where, between those, a step of the
    mean increment explains more of the 24 slowest cosines of the increments, over the scale of the
    noise and the spectrum of one autoregression, than in random rotations of these (Mueller &
    Watson 2008, doi:10.3982/ECTA6814). A drift that fades is no change but a course: a step is kept
    only where it explains more than drifts that change straight, or fade.

    Parameters
    ----------
    increments : (interval, component)
    rate : (interval,)
    """
    size = -(-len(increments) // _MOST)
    if size > 1:
        return _of_sums(increments, noise, rate, draws, size)
    n = len(increments)
    steps = [] if rate is None else _rate_steps(rate)
    places = sorted({*steps, *(p for p in noise.places if _is_far(p, steps, n))})
    found = []
    for before, place, after in zip([0, *places], places, [*places[1:], n], strict=False):
        kind = "learning rate" if place in steps else "noise"
        p = p_value(draw_increments(increments[before:after], draws.count, draws.seed).noise_scale)
        if kind == "learning rate" or p <= draws.alpha:
            found.append(Change(place, kind, p))
    edges = [0, *(change.place for change in found), n]
    even = increments / noise.scale[:, np.newaxis]
    for first, last in pairwise(edges):
        found += _drift_changes(even[first:last], first, draws, _DEPTH)
    return sorted(found, key=lambda change: change.place)


def _of_sums(
    increments: Floats, noise: NoiseCourse, rate: Floats | None, draws: Draws, size: int
) -> list[Change]:
    """The same of sums of so many increments each."""
    n = len(increments) // size * size
    starts = np.arange(0, n, size)
    scale = np.sqrt(np.add.reduceat(noise.scale[:n] ** 2, starts) / size)
    coarse = find_changes(
        np.add.reduceat(increments[:n], starts, axis=0),
        NoiseCourse(noise.kind, scale, tuple(place // size for place in noise.places)),
        None if rate is None else rate[starts],
        draws,
    )
    return [replace(change, place=change.place * size) for change in coarse]


def _is_far(place: int, others: list[int], n: int) -> bool:
    return all(abs(place - other) > max(_SHORTEST, n // 20) for other in others)


def _rate_steps(rate: Floats) -> list[int]:
    """Places at which a rate steps from one plateau to the next."""
    logs = np.log(np.maximum(np.nan_to_num(rate), 1e-300))
    moves = np.abs(np.diff(logs))
    steps = []
    for place in np.flatnonzero(moves >= np.log(_STEP)) + 1:
        before, after = logs[place - _SHORTEST : place], logs[place : place + _SHORTEST]
        if min(len(before), len(after)) == _SHORTEST and max(np.ptp(before), np.ptp(after)) < _EVEN:
            steps.append(int(place))
    return steps


def _drift_changes(rows: Floats, first: int, draws: Draws, most: int) -> list[Change]:
    """The strongest change of drift and those on either side of it."""
    n = len(rows)
    if n < _FEWEST or most == 0:
        return []
    count = min(_SLOWEST, n // 3)
    places = np.arange(_SHORTEST, n - _SHORTEST + 1)
    slow, steps = _slow(rows, count), _raised(n, places, count)
    chosen = int(places[_explained(steps.T, slow @ slow.T).argmax()])
    means = np.where(
        (np.arange(n) < chosen)[:, np.newaxis],
        rows[:chosen].mean(axis=0),
        rows[chosen:].mean(axis=0),
    )
    size = np.sqrt(_power(rows - means, count))[:, np.newaxis]
    products = (slow / size) @ (slow / size).T
    steps /= size
    own = _explained(steps.T, products)

    def draw(batch: int, size: int) -> Floats:
        turned = normals(draws.seed, batch, (count, count))[:size]
        rotation, _ = np.linalg.qr(turned)
        drawn = rotation @ products @ np.swapaxes(rotation, -1, -2)
        return np.asarray(_explained(steps.T, drawn).max(axis=-1))

    null = over_batches(draw, draws.count, count * len(places))
    p = p_value(np.concatenate([[own.max()], *null]))
    fading = _slow(_fading(n), count) / size
    if p > draws.alpha or own.max() <= _explained(fading.T, products).max():
        return []
    change = Change(first + chosen, "drift", p)
    return [
        *_drift_changes(rows[:chosen], first, draws, most - 1),
        change,
        *_drift_changes(rows[chosen:], first + chosen, draws, most - 1),
    ]


def _slow(rows: Floats, count: int) -> Floats:
    """Coefficients of the slowest cosines but the constant, (cosine, ...)."""
    return np.asarray(scipy.fft.dct(rows, norm="ortho", axis=0)[1 : count + 1])


def _explained(courses: Floats, products: Floats) -> Floats:
    """Squares along each course, (..., course), from inner products of cosines, (..., c, c)."""
    along = courses / np.linalg.norm(courses, axis=1, keepdims=True)
    return np.asarray(((along @ products) * along).sum(axis=-1))


def _raised(n: int, places: NDArray[np.int64], count: int) -> Floats:
    """`_slow` of functions that are one from each place k on, (cosine, place).

    ``sum_{t>=k} cos(pi c (t + 1/2)/n) = -sin(pi c k/n) / (2 sin(pi c/(2 n)))``
    """
    c = np.arange(1, count + 1)[:, np.newaxis]
    sums = -np.sin(np.pi * c * places / n) / (2 * np.sin(np.pi * c / (2 * n)))
    return np.asarray(sums * (2 / n) ** 0.5)


def _fading(n: int) -> Floats:
    """Drifts that change straight or fade in time, (interval, course)."""
    u = ((np.arange(n) + 0.5) / n)[:, np.newaxis]
    c = np.array([*LOG_TIMES[1:], 300.0])
    return np.hstack([u, 1 / (1 + c * u), np.exp(-np.array(RELAXATIONS) * u)])


def _power(rest: Floats, count: int) -> Floats:
    """Spectrum of one autoregression of all components at the slowest cosines, (cosine,)."""
    coefficients = fitted_to_all(rest)
    n = len(rest)
    turns = np.exp(
        -1j * np.pi * np.outer(np.arange(1, count + 1) / n, np.arange(len(coefficients)))
    )
    return np.asarray(1 / np.abs(turns @ coefficients) ** 2)
