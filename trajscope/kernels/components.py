"""Principal components of a trajectory, by whichever small matrix is at hand."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from trajscope.kernels.gram import Floats

_SKETCHED_AT_ONCE: Final = 256
"""Weights copied at a time: enough for the products to cost more than adding them up."""


@dataclass(frozen=True)
class Components:
    """Leading principal components of the centred positions ``xc = x - mean over time``.

    Attributes
    ----------
    eigenvalues : (component,)
        Of ``xc xc'``, descending, squared weight units.
    total :
        Their sum over *all* components, ``sum_t |xc_t|^2``.
    scores : (step, component)
        ``xc_t`` along each component, weight units: their squares sum to the eigenvalue. The
        largest entry of each is positive.
    """

    eigenvalues: Floats
    total: float
    scores: Floats


def explained_variance(components: Components) -> Floats:
    """Fraction of the trajectory's variance along each principal component.

    Returns
    -------
    (component,)
        Dimensionless, descending; zero throughout for a trajectory that never moves.
    """
    if components.total == 0:
        return np.zeros_like(components.eigenvalues)
    fractions: Floats = components.eigenvalues / components.total
    return fractions


def brownian_explained_variance(n_steps: int, n_components: int) -> Floats:
    """Explained variance of isotropic Brownian motion in many dimensions.

    ``f_k = sin^-2(pi k / 2T) / sum_j sin^-2(pi j / 2T)``, j = 1..T-1; ``6 / (pi k)^2`` for large T

    The centred Gram matrix of orthonormal increments is the pseudo-inverse of the Laplacian of a
    path graph, whose eigenvalues these are (Antognini & Sohl-Dickstein 2018, arXiv:1806.08805).

    Returns
    -------
    (component,)
    """
    eigenvalues = np.sin(np.pi * np.arange(1, n_steps) / (2 * n_steps)) ** -2
    fractions: Floats = (eigenvalues / eigenvalues.sum())[:n_components]
    return fractions


def components_from_gram(centred: Floats, n_components: int) -> Components:
    """Principal components from the doubly centred displacement Gram matrix.

    Parameters
    ----------
    centred : (step, step)
        ``xc xc'``.
    n_components :
        How many to keep; at most T - 1 exist.
    """
    n_steps = len(centred)
    keep = min(n_components, n_steps - 1)
    values, vectors = scipy.linalg.eigh(
        centred, subset_by_index=(n_steps - keep, n_steps - 1), check_finite=False
    )
    values = np.maximum(values[::-1], 0.0)
    scores = vectors[:, ::-1] * np.sqrt(values)
    return Components(values, float(np.trace(centred)), _with_sign(scores))


def components_from_weights(weights: NDArray[np.floating], n_components: int) -> Components:
    """Principal components through the (weight, weight) dual, for fewer weights than steps.

    ``xc' xc = V L V'``, scores ``xc V``; the eigenvalues of ``xc' xc`` and ``xc xc'`` agree.

    Parameters
    ----------
    weights : (step, weight)
        All weights of the group at once.
    n_components :
        How many to keep; where there are fewer weights, the rest are zero.

    Returns
    -------
    Components
        NaN throughout where some weight is not finite.
    """
    n_steps, n_weights = weights.shape
    keep = min(n_components, n_steps - 1)
    # Steps in slices: a copy of all of them would be the largest array of the pass.
    slices = [slice(start, start + 4096) for start in range(0, n_steps, 4096)]
    totals = [(weights[rows] - weights[0]).sum(axis=0, dtype=np.float64) for rows in slices]
    mean = np.sum(totals, axis=0) / n_steps
    dual = np.zeros((n_weights, n_weights))
    for rows in slices:
        part = (weights[rows] - weights[0]).astype(np.float64) - mean
        dual += part.T @ part
    if not np.isfinite(dual).all():
        return Components(np.full(keep, np.nan), np.nan, np.full((n_steps, keep), np.nan))
    found = min(keep, n_weights)
    values, vectors = scipy.linalg.eigh(
        dual, subset_by_index=(n_weights - found, n_weights - 1), check_finite=False
    )
    scores = np.zeros((n_steps, keep))
    for rows in slices:
        part = (weights[rows] - weights[0]).astype(np.float64) - mean
        scores[rows, :found] = part @ vectors[:, ::-1]
    eigenvalues = np.zeros(keep)
    eigenvalues[:found] = np.maximum(values[::-1], 0.0)
    return Components(eigenvalues, float(np.trace(dual)), _with_sign(scores))


def sketch_of_gram(weights: NDArray[np.floating], test_matrix: NDArray[np.floating]) -> Floats:
    """Product of the centred Gram matrix with a test matrix, without forming the Gram matrix.

    ``Y = (xc xc') W = xc (xc' W)``: additive over weights.

    Parameters
    ----------
    weights : (step, weight)
    test_matrix : (step, column)
        Orthonormal columns in random directions, the same for every block.

    Returns
    -------
    (step, column)

    Notes
    -----
    The product is taken in the dtype of the weights, scaled by a power of two to a largest
    displacement near 1, so that no square overflows or vanishes.
    """
    matrix = test_matrix.astype(weights.dtype)
    sketch = np.zeros(test_matrix.shape)
    exponent = _exponent_of_displacements(weights)
    for start in range(0, weights.shape[1], _SKETCHED_AT_ONCE):
        piece = weights[:, start : start + _SKETCHED_AT_ONCE]
        centred = piece - piece[0]
        centred -= centred.mean(axis=0)
        np.ldexp(centred, -exponent, out=centred)
        sketch += centred @ (centred.T @ matrix)
    return np.ldexp(sketch, 2 * exponent)


def _exponent_of_displacements(weights: NDArray[np.floating]) -> int:
    """The power of two just above the largest displacement from the first step."""
    largest = max(np.abs(row - weights[0]).max(initial=0.0) for row in weights)
    return int(np.frexp(largest)[1])


def components_from_sketch(
    sketch: Floats, test_matrix: Floats, total: float, n_components: int
) -> Components:
    """Approximate principal components from `sketch_of_gram`, by the Nyström formula.

    ``xc xc' ~ Y (W'Y)^+ Y'``, shifted for stability (Tropp, Yurtsever, Udell & Cevher 2017,
    arXiv:1706.05736, algorithm 3). Eigenvalues are never overestimated.

    Parameters
    ----------
    sketch : (step, column)
    test_matrix : (step, column)
    total :
        ``sum_t |xc_t|^2``, known exactly.
    n_components :
        At most the number of columns.
    """
    keep = min(n_components, len(sketch) - 1, sketch.shape[1])
    # The products were rounded to float32: a shift well above that noise keeps the root real.
    shift = 1e-6 * float(np.linalg.norm(sketch))
    if shift == 0:
        return Components(np.zeros(keep), total, np.zeros((len(sketch), keep)))
    shifted = sketch + shift * test_matrix
    core = test_matrix.T @ shifted
    root = scipy.linalg.cholesky((core + core.T) / 2, lower=False)
    factor = scipy.linalg.solve_triangular(root, shifted.T, trans="T").T
    vectors, singular, _ = scipy.linalg.svd(factor, full_matrices=False, check_finite=False)
    eigenvalues = np.maximum(singular[:keep] ** 2 - shift, 0.0)
    return Components(eigenvalues, total, _with_sign(vectors[:, :keep] * np.sqrt(eigenvalues)))


def _with_sign(scores: Floats) -> Floats:
    """`scores` with the entry of largest magnitude of each component positive."""
    columns = np.arange(scores.shape[1])
    peaks = scores[np.abs(scores).argmax(axis=0), columns]
    return scores * np.where(peaks < 0, -1.0, 1.0)
