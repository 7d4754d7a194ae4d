"""Numbers that describe a spectrum of D, one record each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from trajscope.kernels.gram import Floats

EPS32: Final = float(np.finfo(np.float32).eps)
EPS64: Final = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Spectrum:
    """The eigenvalues of ``D = (1/N) sum_k g_k g_k' - gbar gbar'``, and what else is known of it.

    Attributes
    ----------
    eigenvalues : (component,)
        Descending, those that are not zero for certain; squared loss per squared weight.
    n_weights, n_samples :
        d and N.
    mean_square :
        ``|gbar|^2``.
    """

    eigenvalues: Floats
    n_weights: int
    n_samples: int
    mean_square: float

    def to_array(self) -> Floats:
        """All of it as one array, for a `Ledger`."""
        head = [self.n_weights, self.n_samples, self.mean_square]
        return np.array([*head, *self.eigenvalues], np.float64)

    @classmethod
    def from_array(cls, values: Floats) -> "Spectrum":
        """What `to_array` made an array of."""
        return cls(values[3:], int(values[0]), int(values[1]), float(values[2]))

    @property
    def trace(self) -> float:
        """Sum of all eigenvalues."""
        return float(self.eigenvalues.sum())

    @property
    def largest(self) -> float:
        """The largest eigenvalue."""
        return float(self.eigenvalues.max(initial=0.0))


@dataclass(frozen=True)
class Number:
    """One named number of a spectrum.

    Attributes
    ----------
    name :
        In the result, and with ``group_`` before it where it has a dimension ``group``.
    units :
        "loss" and "weight" stand for the units of either.
    value :
        ``Spectrum -> number``; NaN where there is none.
    """

    name: str
    units: str
    long_name: str
    value: Callable[[Spectrum], float]


def n_eigenvalues(n_weights: int, n_samples: int) -> int:
    """How many eigenvalues of D are not zero for certain: ``min(N - 1, d)``."""
    return min(n_samples - 1, n_weights)


def leading(values: Floats, count: int, floor: float) -> Floats:
    """Eigenvalues as a solver returns them, descending, the first `count` of them.

    Parameters
    ----------
    values : (component,)
        In any order.
    floor :
        What rounding alone may give: eigenvalues up to here become zero.
    """
    kept: Floats = np.sort(values)[::-1][:count]
    return np.where(kept > floor, kept, 0.0) if np.isfinite(kept).all() else kept * np.nan


def rank(spectrum: Spectrum, epsilon: float) -> float:
    """How many eigenvalues exceed ``lambda_max d epsilon``."""
    if not np.isfinite(spectrum.eigenvalues).all():
        return float("nan")
    return float((spectrum.eigenvalues > spectrum.largest * spectrum.n_weights * epsilon).sum())


def directions(spectrum: Spectrum, share: float) -> float:
    """How many leading eigenvalues make up `share` of the trace; 0 where D is zero."""
    values = spectrum.eigenvalues
    if not np.isfinite(values).all():
        return float("nan")
    if spectrum.largest == 0:
        return 0.0
    # Of the sum in the same order, so that rounding never asks for one more than there are.
    return float(np.searchsorted(values.cumsum(), share * values.cumsum()[-1]) + 1)


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else float("nan")


def _variance(spectrum: Spectrum) -> float:
    d = spectrum.n_weights
    mean = spectrum.trace / d
    squares = float((spectrum.eigenvalues - mean) @ (spectrum.eigenvalues - mean))
    return (squares + (d - len(spectrum.eigenvalues)) * mean**2) / d


NUMBERS: Final = (
    Number(
        "eigenvalue_mean", "loss^2 weight^-2", "mean of all d eigenvalues of D",
        lambda s: s.trace / s.n_weights,
    ),
    Number(
        "eigenvalue_std", "loss^2 weight^-2", "standard deviation of all d eigenvalues of D",
        lambda s: float(np.sqrt(_variance(s))),
    ),
    Number("trace", "loss^2 weight^-2", "trace of D", lambda s: s.trace),
    Number("lambda_max", "loss^2 weight^-2", "largest eigenvalue of D", lambda s: s.largest),
    Number(
        "rank_eps32", "1", "eigenvalues above lambda_max d eps, eps = 2^-23 (float32)",
        lambda s: rank(s, EPS32),
    ),
    Number(
        "rank_eps64", "1", "eigenvalues above lambda_max d eps, eps = 2^-52 (float64)",
        lambda s: rank(s, EPS64),
    ),
    Number(
        "participation_ratio", "1", "tr(D)^2 / tr(D^2): directions that share the noise",
        lambda s: _ratio(s.trace**2, float(s.eigenvalues @ s.eigenvalues)),
    ),
    Number(
        "stable_rank", "1", "tr(D) / lambda_max", lambda s: _ratio(s.trace, s.largest),
    ),
    Number(
        "directions_90", "1", "leading directions that hold 90% of the trace",
        lambda s: directions(s, 0.9),
    ),
    Number(
        "directions_99", "1", "leading directions that hold 99% of the trace",
        lambda s: directions(s, 0.99),
    ),
    Number(
        "gradient_norm", "loss weight^-1", "|gbar| / sqrt(d), gbar the mean gradient",
        lambda s: float(np.sqrt(s.mean_square / s.n_weights)),
    ),
    Number(
        "signal_to_noise", "1", "|gbar|^2 / tr(D)", lambda s: _ratio(s.mean_square, s.trace),
    ),
    Number(
        "gradient_diversity", "1",
        "sum |g_k|^2 / |sum g_k|^2 (Yin et al. 2018, arXiv:1706.05699)",
        lambda s: _ratio(s.trace + s.mean_square, s.n_samples * s.mean_square),
    ),
    Number(
        "score", "1",
        "rank_eps32 / d + variance of the eigenvalues (arXiv:1710.11029)",
        lambda s: rank(s, EPS32) / s.n_weights + _variance(s),
    ),
)  # fmt: skip
"""Every number of a spectrum, in the order of the result."""
