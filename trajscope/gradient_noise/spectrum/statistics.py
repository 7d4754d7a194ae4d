"""A spectrum of D, and what is counted and summed of its eigenvalues."""

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


def variance(spectrum: Spectrum) -> float:
    """Of all d eigenvalues, the zeros among them."""
    d = spectrum.n_weights
    mean = spectrum.trace / d
    squares = float((spectrum.eigenvalues - mean) @ (spectrum.eigenvalues - mean))
    return (squares + (d - len(spectrum.eigenvalues)) * mean**2) / d
