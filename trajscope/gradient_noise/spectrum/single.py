"""Inner products in float32, twice as fast, where they are certain to change no number that counts.

A sum of products in float32 is off by up to a few times ``eps32 sum_k |g_i[k] g_j[k]|``, so the
Gram matrix K by a matrix E with ``||E|| <= c eps32 tr K``: every eigenvalue moves by at most that
(Weyl). Where the last eigenvalue that is not zero for certain is above it, all of them are above
zero, and each is known as well as gradients that are themselves float32 allow. Else, as where
gradients span fewer directions than there are samples, products are taken in float64.
"""

from typing import TYPE_CHECKING, Final

import numpy as np

from trajscope.gradient_noise.spectrum.products import add_products, symmetrise
from trajscope.gradient_noise.spectrum.statistics import EPS32, EPS64

if TYPE_CHECKING:
    from torch import Tensor

    from trajscope.kernels.gram import Floats

_CONSTANT: Final = 8.0
"""c: panels of 2,048 are summed in float32, these in float64; found: 0.001 to 1.4."""
_MARGIN: Final = 1000.0
"""By how much the last eigenvalue has to exceed the bound: it is right to a thousandth."""
_SOME: Final = 48
_FEWEST_WEIGHTS: Final = 64
"""Weights for each sample below which the product is no great part of the work."""


def bound(trace: float) -> float:
    """``c eps32 tr K``: by so much eigenvalues of K may be off."""
    return _CONSTANT * EPS32 * trace


def is_worth_trying(rows: "Tensor") -> bool:
    """Whether float32 products of these gradients, (sample, weight), may be certain.

    The smallest eigenvalue of the Gram matrix of some samples is at least that of all (Cauchy): if
    it is within the bound, that of all is.
    """
    import torch

    n, width = rows.shape
    if rows.is_cuda or rows.dtype != torch.float32 or width < _FEWEST_WEIGHTS * n or n < 2 * _SOME:
        return False
    some = rows[:: n // _SOME][:_SOME]
    gram = torch.zeros((len(some), len(some)), dtype=torch.float64)
    add_products(gram, some)
    symmetrise(gram)
    values = torch.linalg.eigvalsh(gram)
    trace = float(gram.trace()) * n / len(some)
    return bool(values[0] > _MARGIN * bound(trace))


def is_certain(eigenvalues: "Floats", n_samples: int, n_weights: int, trace: float) -> bool:
    """Whether eigenvalues of float32 products say all that those of float64 products would.

    The last one that is not zero for certain is well above the bound, and none is within the bound
    of a threshold that ranks are counted by.

    Parameters
    ----------
    eigenvalues : (component,)
        Of the covariance, descending, without certain zeros.
    trace :
        Of the Gram matrix before the mean was taken off.
    """
    if not np.isfinite(eigenvalues).all():
        return False
    off = bound(trace) / n_samples
    # A threshold moves with the largest eigenvalue.
    shares = [n_weights * eps for eps in (EPS32, EPS64)]
    clear = all(
        bool((np.abs(eigenvalues - share * eigenvalues[0]) > off * (1 + share)).all())
        for share in shares
    )
    return bool(eigenvalues[-1] > _MARGIN * off) and clear
