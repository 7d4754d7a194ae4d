"""Where a run changes: places at which its noise, its learning rate or its drift steps."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
import scipy.fft
import scipy.linalg
from numpy.typing import NDArray

from trajscope.inference.course.blocks import Blocks
from trajscope.inference.course.clock import LOG_TIMES, NoiseCourse, blocks_of
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
_OF_A_WELL: Final = 3.0
"""Power of slow positions over that of faster ones, up to which they are a well's."""
_OF_MEMORY: Final = 2.5
"""The same of increments, above which they stay alike too long."""
_EDGE: Final = 20
"""Part of a window next to its ends in which its drift is not said to change: the ends of a path
that is half a well look like that."""
_PLACES: Final = 400
"""At which a change of drift is looked for."""
_CLEARLY: Final = 0.5
"""Standard deviations of the null by which a change explains more than a drift that fades: it has
many places to choose from."""
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
    rejects between the neighbouring changes. The drift changes where, between those and in the
    noise's own time, a step of the mean increment explains more of the 24 slowest cosines of the
    increments, over the spectrum of one autoregression, than in random rotations of these (Mueller
    & Watson 2008, doi:10.3982/ECTA6814). A drift that fades is no change but a course: a step is
    kept only where it explains more than drifts that change straight, or fade.

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
    for first, last in pairwise(edges):
        scale = noise.scale[first:last]
        blocks = Blocks.of(increments[first:last], scale, blocks_of(scale), 1)
        drifts = _drift_changes(blocks.rows, 0, draws, _DEPTH)
        found += [replace(each, place=first + int(blocks.ends[each.place])) for each in drifts]
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
    found = _strongest(rows, draws)
    if found is None:
        return []
    place, p = found
    return [
        *_drift_changes(rows[:place], first, draws, most - 1),
        Change(first + place, "drift", p),
        *_drift_changes(rows[place:], first + place, draws, most - 1),
    ]


def _strongest(rows: Floats, draws: Draws) -> tuple[int, float] | None:
    """Place and p-value of the strongest change of drift, if there is one.

    Slow cosines of increments are alike where these are a walk. In a well they are nearly the two
    ends of the path alone, so there the slow cosines of positions are compared, in which a drift
    that changes is a bend. Increments that stay alike over much of the window leave neither alike.
    """
    n = len(rows)
    edge = max(_SHORTEST, n // _EDGE)
    places = np.unique(np.linspace(edge, n - edge, _PLACES).round().astype(np.int64))
    count = min(_SLOWEST, n // 3)
    since = np.clip(np.arange(n + 1)[:, np.newaxis] - places, 0, None).astype(np.float64)
    fading = _fading(n)
    bends = _Shapes(_summed(rows), since, _summed(fading), np.arange(n + 1.0)[:, np.newaxis], count)
    steps = _Shapes(rows, np.sign(np.diff(since, axis=0)), fading, np.empty((n, 0)), count)
    if bends.falls() <= _OF_A_WELL:
        return bends.strongest(places, draws)
    return steps.strongest(places, draws) if steps.falls() <= _OF_MEMORY else None


@dataclass(frozen=True)
class _Shapes:
    """A series, and what a change of drift makes of it, by slow cosines.

    Attributes
    ----------
    series : (step, component)
    changes, fading : (step, shape)
        A drift that changes at once, at every place; one that changes straight or fades.
    plain : (step, function)
        What the series follows without a change, beside its mean.
    count :
        Cosines.
    """

    series: Floats
    changes: Floats
    fading: Floats
    plain: Floats
    count: int

    def falls(self) -> float:
        """Power of what the best shape leaves: slowest third of the cosines over the fastest."""
        third, ratios = self.count // 3, []
        for shapes in (self.changes, self.fading):
            power = (_slow(self._left_by(shapes), self.count) ** 2).mean(axis=1)
            ratios.append(float(power[:third].mean() / max(power[-third:].mean(), 1e-300)))
        return min(ratios)

    def strongest(self, places: NDArray[np.int64], draws: Draws) -> tuple[int, float] | None:
        """Place and p-value of the best change, unless it is usual or a fading drift is better."""
        changes, fading, products = self._explained(self.changes)

        def draw(batch: int, size: int) -> Floats:
            turned = normals(draws.seed, batch, products.shape)[:size]
            rotation, _ = np.linalg.qr(turned)
            drawn = rotation @ products @ np.swapaxes(rotation, -1, -2)
            return np.asarray(_squares(changes.T, drawn).max(axis=-1))

        own = _squares(changes.T, products)
        null = np.concatenate(over_batches(draw, draws.count, changes.size))
        p = p_value(np.append(own.max(), null))
        clearly = _CLEARLY * float(null.std())
        if p > draws.alpha or own.max() <= clearly + _squares(fading.T, products).max():
            return None
        # What a change leaves of a fading drift has a spectrum that hides it.
        changes, fading, products = self._explained(self.fading)
        if _squares(changes.T, products).max() <= clearly + _squares(fading.T, products).max():
            return None
        return int(places[own.argmax()]), p

    def _left_by(self, shapes: Floats) -> Floats:
        """The series without its mean, the plain functions and the best of the shapes."""
        slow, shaped = _slow(self.series, self.count), _slow(shapes, self.count)
        away = _complement(_slow(self.plain, self.count))
        best = int(_squares(_unit(away @ shaped).T, away @ slow @ slow.T @ away.T).argmax())
        design = np.column_stack([np.ones(len(shapes)), self.plain, shapes[:, best]])
        weights, *_ = np.linalg.lstsq(design, self.series, rcond=None)
        return np.asarray(self.series - design @ weights)

    def _explained(self, shapes: Floats) -> tuple[Floats, Floats, Floats]:
        """Changes and fading drifts, (cosine, shape), and inner products of the series' cosines.

        Over the root of the spectrum that the best of the shapes leaves, without the plain
        functions.
        """
        size = np.sqrt(_power(self._left_by(shapes), self.count))[:, np.newaxis]
        away = _complement(_slow(self.plain, self.count) / size)
        series, changes, fading = (
            away @ (_slow(each, self.count) / size)
            for each in (self.series, self.changes, self.fading)
        )
        return _unit(changes), _unit(fading), series @ series.T


def _summed(rows: Floats) -> Floats:
    """Sums of the first rows, none at first."""
    return np.concatenate([np.zeros((1, rows.shape[1])), rows.cumsum(axis=0)])


def _complement(directions: Floats) -> Floats:
    """Orthonormal directions that are orthogonal to all of these, (direction, cosine)."""
    if not directions.size:
        return np.eye(len(directions))
    return np.asarray(scipy.linalg.null_space(directions.T).T)


def _unit(shapes: Floats) -> Floats:
    """Shapes of norm 1, (..., shape)."""
    return np.asarray(shapes / np.maximum(np.linalg.norm(shapes, axis=0), 1e-300))


def _slow(rows: Floats, count: int) -> Floats:
    """Coefficients of the slowest cosines but the constant, (cosine, ...)."""
    return np.asarray(scipy.fft.dct(rows, norm="ortho", axis=0)[1 : count + 1])


def _squares(shapes: Floats, products: Floats) -> Floats:
    """Squares along each shape of unit norm, (..., shape), from inner products of cosines."""
    return np.asarray(((shapes @ products) * shapes).sum(axis=-1))


def _fading(n: int) -> Floats:
    """Drifts that change straight or fade in time, (interval, course)."""
    u = ((np.arange(n) + 0.5) / n)[:, np.newaxis]
    c = np.array([*LOG_TIMES[1:], 300.0])
    return np.hstack([u, 1 / (1 + c * u), np.exp(-np.geomspace(2, 32, 9) * u)])


def _power(rest: Floats, count: int) -> Floats:
    """Spectrum of one autoregression of all components at the slowest cosines, (cosine,)."""
    coefficients = fitted_to_all(rest)
    n = len(rest)
    turns = np.exp(
        -1j * np.pi * np.outer(np.arange(1, count + 1) / n, np.arange(len(coefficients)))
    )
    return np.asarray(1 / np.abs(turns @ coefficients) ** 2)
