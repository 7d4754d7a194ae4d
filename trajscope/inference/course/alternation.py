"""Whether a path alternates: its positions turn over from one checkpoint to the next."""

from typing import Final

import numpy as np

from trajscope.inference.nulls.draws import n_batches, signs
from trajscope.kernels.gram import Floats

FEWEST_TURNS: Final = -0.65
"""Correlation of successive positions above which a mode is not said to alternate: momentum that
rings, seen too seldom, leaves -0.5."""
_MODES: Final = 6
_AMONG: Final = 40
"""Components among which the modes are looked for."""


def draw_alternation(positions: Floats, course: Floats, n_draws: int, seed: int) -> Floats:
    """Most negative correlation of successive positions, with its sign turned; (draw,), data first.

    ``max_u -sum_t (u.x[t]) (u.x[t+1]) / sum_t (u.x[t])^2`` over directions u in the space of the
    six modes, of the leading forty components, that move most from step to step. A well on any time
    scale has none; period two, as at the edge of stability, where ``1 < eta lambda < 2`` gives
    ``1 - eta lambda``, has one near 1.
    The null are random signs of the positions, from which the course is taken off again: a few
    large ones, where the noise is not quite of one size, stay large in their places.

    Parameters
    ----------
    positions : (step, component)
        Without the course.
    course : (step, function)
        Orthonormal.
    """
    # Signs do not change the second moments, nor the components that are chosen by them.
    _, vectors = np.linalg.eigh(positions.T @ positions)
    modes = positions @ vectors[:, : -_AMONG - 1 : -1]
    n = len(modes)
    found = [_strongest(modes)]
    for batch in range(n_batches(n_draws)):
        for coins in signs(seed, batch, n):
            drawn = modes * coins[:, np.newaxis]
            found.append(_strongest(drawn - course @ (course.T @ drawn)))
    return np.array(found[: n_draws + 1])


def _strongest(path: Floats) -> float:
    """Of the modes that move most, which every draw finds anew."""
    moved = np.diff(path, axis=0)
    modes = path @ np.linalg.eigh(moved.T @ moved)[1][:, -_MODES:]
    covariance = modes.T @ modes
    values, axes = np.linalg.eigh(covariance)
    kept = values > 1e-9 * max(float(values[-1]), 1e-300)
    white = modes @ (axes[:, kept] / np.sqrt(values[kept]))
    lagged = white[1:].T @ white[:-1]
    return -float(np.linalg.eigvalsh((lagged + lagged.T) / 2)[0])
