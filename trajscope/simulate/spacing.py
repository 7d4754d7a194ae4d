"""Runs whose checkpoints are not evenly spaced: taken from a run that has every step."""

import numpy as np
import xarray as xr

from trajscope.schema import STEP
from trajscope.simulate.embedding import expect, random_stream


def jittered_steps(run: xr.DataArray, *, every: int, jitter: int, seed: int) -> xr.DataArray:
    """The checkpoints of a run next to every so-many-th: steps that are nearly even.

    Checkpoint k is the run's number ``k every + j + u_k``, u_k whole, uniform from -j to j

    Gaps have mean `every` and variance ``2 j (j + 1) / 3``, neighbouring gaps the correlation
    -1/2. What holds for two checkpoints of the run holds for these, at the gap between them: for
    one mode of `ornstein_uhlenbeck` ``E (x[k+1] - x[k])^2 = 2 (1 - E rho^gap)``, ``E rho^gap =
    rho^every |(sum_{u=-j..j} rho^u) / (2j + 1)|^2``.

    Parameters
    ----------
    run : (step, ...)
        With more checkpoints than are wanted, by the factor `every`.
    every :
        Mean gap in checkpoints of the run.
    jitter :
        j, from 0 to below half of `every`.
    seed :
        Of the steps that are taken; not that of the run.

    Returns
    -------
    (step, ...)
        ``step`` is that of the run.

    Raises
    ------
    OptionError
        A value outside its range, or a run of fewer than two such checkpoints.

    Examples
    --------
    >>> from trajscope import simulate
    >>> walk = simulate.brownian(100, 3, seed=1)
    >>> simulate.jittered_steps(walk, every=10, jitter=2, seed=1).sizes["step"] < 100
    True
    """
    expect(every >= 1, "every", every, "at least 1 checkpoint")
    expect(0 <= 2 * jitter < every, "jitter", jitter, f"from 0 to below half of every={every}")
    n_kept = (run.sizes[STEP] - 1 - 2 * jitter) // every + 1
    found = f"run of {run.sizes[STEP]} checkpoints"
    expect(n_kept >= 2, "run", found, f"at least {every + 2 * jitter + 1} checkpoints")
    shifts = random_stream(seed).integers(0, 2 * jitter, size=n_kept, endpoint=True)
    return run.isel({STEP: every * np.arange(n_kept) + shifts})


def missing_steps(run: xr.DataArray, *, fraction: float, seed: int) -> xr.DataArray:
    """A run of which some checkpoints were lost, each as likely as another; never its ends.

    Of T checkpoints ``round(fraction (T - 2))`` are lost. In a long run a gap of g steps
    has probability ``(1 - fraction) fraction^{g-1}``.

    Parameters
    ----------
    run : (step, ...)
    fraction :
        Of the checkpoints between the first and the last, from 0 to 1.
    seed :
        Of the steps that are lost; not that of the run.

    Returns
    -------
    (step, ...)
        ``step`` is that of the run.

    Raises
    ------
    OptionError
        A value outside its range.

    Examples
    --------
    >>> from trajscope import simulate
    >>> walk = simulate.brownian(100, 3, seed=1)
    >>> simulate.missing_steps(walk, fraction=0.2, seed=1).sizes["step"] < 100
    True
    """
    expect(0 <= fraction <= 1, "fraction", fraction, "a fraction between 0 and 1")
    n_between = run.sizes[STEP] - 2
    expect(n_between >= 0, "run", f"run of {run.sizes[STEP]} checkpoints", "at least 2 checkpoints")
    lost = random_stream(seed).permutation(n_between)[: round(fraction * n_between)] + 1
    return run.isel({STEP: np.delete(np.arange(n_between + 2), lost)})
