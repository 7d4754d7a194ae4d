"""Leading principal components of a path."""

from typing import Final

import numpy as np

from trajscope.kernels.gram import Floats

MOST_MODES: Final = 6
_NEGLIGIBLE: Final = 1e-3
"""Standard deviation, of the first component's."""
_FEW: Final = 20
"""Times the components that are wanted: fewer rows or columns are decomposed faster whole."""
_SMALL: Final = 200
"""Rows or columns up to which all components are found."""


def n_leading(n_steps: int) -> int:
    """Components that are looked at: six, or one for twenty steps, at least two."""
    return min(MOST_MODES, max(2, n_steps // 20))


def leading(path: Floats, most: int | None = None) -> Floats:
    """Principal components of a path, (step, component): by default `n_leading`.

    Those whose standard deviation is below a thousandth of the first one's are left out.
    """
    most = n_leading(len(path)) if most is None else most
    centred = path - path.mean(axis=0)
    if min(centred.shape) > max(_SMALL, _FEW * most):
        from scipy.sparse.linalg import svds  # slow to import, and small paths do without

        # From one start always, so that the same path has the same components.
        start = np.cos(np.arange(min(centred.shape), dtype=np.float64) ** 2)
        _, values, vectors = svds(centred, most, v0=start)
        values, vectors = values[::-1], vectors[::-1]
    else:
        _, values, vectors = np.linalg.svd(centred, full_matrices=False)
    count = min(most, int((values > _NEGLIGIBLE * values[0]).sum()))
    return np.asarray(path @ vectors[: max(count, 1)].T)
