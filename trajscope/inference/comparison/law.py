"""Whether runs have the same stationary law, up to a factor: volume and shape of covariances."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from trajscope.inference.statistics.brownian import p_value, standardised
from trajscope.kernels.gram import Floats
from trajscope.kernels.vector_autoregression import VectorAutoregression, fitted

N_DIRECTIONS: Final = 6
"""Directions in which covariances are compared."""
_PER_DIRECTION: Final = 16
"""Checkpoints of a half for each direction: fewer do not tell an autoregression of so many."""
_MOST_POINTS: Final = 2048
"""Checkpoints of a half that are used, evenly."""
_CHECKED: Final = 199
"""Draws that long memory and normality are held against."""
_MUCH: Final = 0.1
"""Of the variance: less, and a mean that moves changes no ratio by more than this."""
_LEVEL: Final = 0.01
"""Of the tests that find the model wrong."""


def n_directions(n_steps: int, n_weights: int) -> int:
    """How many directions are compared of runs whose shortest half has `n_steps` checkpoints."""
    return max(min(N_DIRECTIONS, n_weights, n_steps // _PER_DIRECTION), 1)


@dataclass(frozen=True)
class Half:
    """A half of a run, along directions that were chosen in the other half of every run.

    Attributes
    ----------
    path : (step, direction)
        Weight units; evenly spaced.
    """

    path: Floats

    @cached_property
    def spacing(self) -> tuple[int, bool]:
        """Every how many checkpoints are used, and whether a model of first order fits there.

        The smallest power of two at which correlations over longer lags are not larger than those
        of the fitted model: along a mixture of fast and slow modes, neighbours say too little of
        the slow ones.
        """
        stride = max(-(-len(self.path) // _MOST_POINTS), 1)
        while True:
            points = self.path[::stride]
            model = fitted(points)
            if model is None:
                return stride, False
            drawn = _memory(_paths(model, len(points), seed=stride))
            if float(_memory(points[np.newaxis])[0]) <= np.quantile(drawn, 1 - _LEVEL):
                return stride, True
            if len(self.path) // (2 * stride) < 2 * _PER_DIRECTION * self.path.shape[1]:
                return stride, False
            stride *= 2

    @cached_property
    def points(self) -> Floats:
        """The checkpoints that are used, (step, direction)."""
        return self.path[:: self.spacing[0]]

    @cached_property
    def model(self) -> VectorAutoregression | None:
        """Of `points`."""
        return fitted(self.points)

    @property
    def covariance(self) -> Floats:
        """Of `points` about their mean, (direction, direction)."""
        return np.cov(self.points.T, bias=True).reshape(2 * self.points.shape[1:])

    @property
    def n_times(self) -> float:
        """Length in correlation times of the slowest mode; 0 where there is no steady state."""
        model = self.model
        if model is None:
            return 0.0
        return len(self.points) / max(model.correlation_time, 1e-9)

    @property
    def is_degenerate(self) -> bool:
        """Whether it does not move in some direction."""
        return bool(
            np.linalg.matrix_rank(self.points - self.points.mean(axis=0)) < self.path.shape[1]
        )

    def granted(self) -> dict[str, Floats]:
        """What the comparison takes for granted, of the data first and then of the model's paths.

        ``drift``: distance between the mean positions of the two halves of this path. ``kurtosis``:
        Mardia's (1970, doi:10.1093/biomet/57.3.519), the mean fourth power of the distance from the
        mean. Both in units of the path's own spread.

        Returns
        -------
        dict
            (draw,) by name.
        """
        assert self.model is not None
        drawn = _paths(self.model, len(self.points), seed=0)
        white = _whitened(np.concatenate([self.points[np.newaxis], drawn]))
        half = white.shape[1] // 2
        moved = white[:, :half].mean(axis=1) - white[:, half:].mean(axis=1)
        return {
            "drift": np.asarray((moved**2).sum(axis=-1)),
            "kurtosis": np.asarray(((white**2).sum(axis=-1) ** 2).mean(axis=-1)),
        }

    def draws(self, n_draws: int, rng: np.random.Generator) -> Floats:
        """Sample covariances of paths of the model, in coordinates where theirs is the identity.

        The model is mapped to whatever covariance the null gives it, ``x -> N x``, that is ``A -> N
        A N^-1``: volume and shape of two runs so mapped depend on these alone.
        """
        assert self.model is not None
        return self.model.covariances(len(self.points), n_draws, rng)


@dataclass(frozen=True)
class Law:
    """The covariance of one group of a run in both halves, and what chance makes of it.

    Attributes
    ----------
    halves :
        Each along directions of its own, the same in every run.
    draws : (half, draw, direction, direction)
    """

    halves: tuple[Half, Half]
    draws: Floats


@dataclass(frozen=True)
class Likeness:
    """Two laws against each other.

    Attributes
    ----------
    log_ratio :
        Volume per direction, second over first: mean of log gamma, gamma the generalised
        eigenvalues of ``S2 v = gamma S1 v``, over directions and halves.
    log_error : (draw,)
        What chance adds to it.
    spread : (draw,)
        Mean over halves of the variance of log gamma, of the data first.
    """

    log_ratio: float
    log_error: Floats
    spread: Floats

    @property
    def p_same_shape(self) -> float:
        """Of covariances that are proportional."""
        return p_value(self.spread)

    def p_same_law(self, expected: float) -> float:
        """Of a second covariance that is `expected` times the first.

        The larger of deviation of the volume and spread of log gamma, each on its own scale.
        """
        away = np.abs(np.append(self.log_ratio - np.log(expected), self.log_error))
        return p_value(np.maximum(standardised(away), standardised(self.spread)))

    def interval(self, alpha: float) -> tuple[float, float, float]:
        """The ratio of volumes per direction, and its interval at level 1 - alpha."""
        reach = float(np.quantile(np.abs(self.log_error), 1 - alpha))
        low, high = self.log_ratio - reach, self.log_ratio + reach
        ratio, low, high = np.exp([self.log_ratio, low, high]).tolist()
        return ratio, low, high


def law_of(halves: tuple[Half, Half], n_draws: int, seed: Sequence[int]) -> Law:
    """The law of one group of a run, with the draws that both its halves need.

    Parameters
    ----------
    seed :
        Another one for every run.
    """
    rng = np.random.default_rng([*seed])
    return Law(halves, np.stack([half.draws(n_draws, rng) for half in halves]))


def checks(halves: tuple[Half, Half]) -> dict[str, float]:
    """p-values of what the comparison takes for granted of a run.

    ``drift``: the mean position does not move, 1 where less than a tenth of the variance is due to
    that; ``normal``: positions are Gaussian, two-sided.
    """
    one, other = (half.granted() for half in halves)
    fourth = one["kurtosis"] + other["kurtosis"]
    moved = one["drift"] + other["drift"]
    share = float(moved[0]) / 2 / 4 / halves[0].path.shape[1]  # of both halves, from two means
    return {
        "drift": p_value(moved) if share > _MUCH else 1.0,
        "normal": min(1.0, 2 * min(p_value(fourth), p_value(-fourth))),
    }


def likeness(first: Law, second: Law) -> Likeness:
    """Volume and shape of two laws.

    ``gamma`` are generalised eigenvalues of the two covariances in one subspace: any other basis of
    it gives the same. Draws are those of each run's own model, mapped to one covariance.
    """
    found = [
        _gammas(one.covariance, other.covariance)
        for one, other in zip(first.halves, second.halves, strict=True)
    ]
    drawn = [_gammas(one, other) for one, other in zip(first.draws, second.draws, strict=True)]
    spreads = np.mean([logs.var(axis=-1) for logs in drawn], axis=0)
    own = float(np.mean([logs.var() for logs in found]))
    return Likeness(
        float(np.mean(found)),
        np.mean([logs.mean(axis=-1) for logs in drawn], axis=0),
        np.append(own, spreads),
    )


def _gammas(first: Floats, second: Floats) -> Floats:
    """Logarithms of the generalised eigenvalues, (..., direction)."""
    lower = np.linalg.cholesky(first)
    half = np.linalg.solve(lower, second)
    whole = np.linalg.solve(lower, np.swapaxes(half, -1, -2))
    return np.asarray(np.log(np.maximum(np.linalg.eigvalsh(whole), 1e-300)))


def _paths(model: VectorAutoregression, n_steps: int, seed: int) -> Floats:
    """(path, step, direction)."""
    rng = np.random.default_rng([seed, n_steps])
    return np.stack(list(model.simulated(n_steps, _CHECKED, rng)), axis=1)


def _whitened(paths: Floats) -> Floats:
    """About their mean, with the identity as sample covariance, (path, step, direction)."""
    centred = paths - paths.mean(axis=1, keepdims=True)
    covariances = np.swapaxes(centred, 1, 2) @ centred / paths.shape[1]
    lower = np.linalg.cholesky(covariances)
    return np.swapaxes(np.linalg.solve(lower, np.swapaxes(centred, 1, 2)), 1, 2)


def _memory(paths: Floats) -> Floats:
    """Mean autocorrelation over lags 2, 4, 8, ... up to a quarter of the path, (path,)."""
    white = _whitened(paths)
    lags = 2 ** np.arange(1, max(int(np.log2(paths.shape[1] / 4)), 1) + 1)
    return np.asarray(
        np.mean([(white[:, :-h] * white[:, h:]).mean(axis=(1, 2)) for h in lags], axis=0)
    )
