"""Which directions can be compared, and what comes of it."""

from dataclasses import replace
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from trajscope.kernels.gram import Floats
from trajscope.model.clock import evenly_spaced
from trajscope.schema import STEP
from trajscope.theory.curvature import Curvature
from trajscope.theory.entropy import FEWEST_ROTATION, LEAST_MODULUS, entropy
from trajscope.theory.forward import FEWEST_TIMES, N_DRAWS, Errors, forward
from trajscope.theory.law import Law, Response, is_stable, response
from trajscope.theory.potential import potential
from trajscope.theory.result import (
    entropy_variables,
    forward_variables,
    potential_variables,
    scaling_variables,
)
from trajscope.theory.scaling import scaling
from trajscope.theory.statistics import windows_of
from trajscope.theory.window import Window

Places = NDArray[np.intp]
Mask = NDArray[np.bool_]

FEWEST_DIRECTIONS: Final = 2
_CONVERGED: Final = 0.05
"""Residual over eigenvalue."""
_FLAT: Final = 5.0
"""Relaxations in a shuffled epoch, below which its noise cancels in part."""
_DIFFERENT: Final = 0.1
_FORGOTTEN: Final = 5.0
"""Memories ``1 / (1 - mu)`` of momentum between checkpoints."""


def compared(
    window: Window,
    found: Curvature,
    projection: xr.DataArray,
    spoken: dict[str, str],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """The variables of the comparison; guards speak of what is left out.

    Parameters
    ----------
    projection : (step, direction)
    spoken :
        By code of each guard that has spoken, its detail.
    """
    path = _even_part(window, projection, spoken)
    if path is None or not _is_finite(found, spoken):
        return {}
    usable = _usable(window, found, path, spoken)
    if len(usable) < FEWEST_DIRECTIONS:
        spoken["indefinite_hessian"] = str(len(usable))
        return {}
    respond = _response(window, found.curvatures[usable])
    kept = _long_enough(window, respond, found, usable, len(path), spoken)
    if len(kept) < FEWEST_DIRECTIONS:
        return {}
    chosen = usable[kept]
    respond = _response(window, found.curvatures[chosen])
    rows, columns = np.ix_(chosen, chosen)
    halves = found.noise.halves[:, rows, columns]
    law = respond.law(halves.mean(axis=0))
    lagged = np.stack([respond.law(half).lagged for half in halves])
    of_noise, shared = found.noise.errors(chosen)
    of_curvature = (found.errors[chosen] / found.curvatures[chosen]) ** 2
    errors = Errors(of_noise + of_curvature, shared + float(of_curvature.mean()) / len(chosen))
    windows = windows_of(path[:, chosen], law, N_DRAWS, rng)
    result = forward(windows, lagged, errors)
    variables = forward_variables(result, chosen, len(found.curvatures))
    curvatures = found.curvatures[chosen]
    by_curvature = scaling(windows, curvatures)
    variables |= scaling_variables(by_curvature, chosen, len(found.curvatures))
    shape = windows.not_normal()
    if shape:
        spoken["non_gaussian"] = shape
    else:
        variables |= potential_variables(potential(windows, respond, curvatures, rng))
        variables |= _entropy(window, path[:, chosen], law, chosen, spoken, rng)
    if not np.isfinite(result.slope):
        spoken["no_current_predicted"] = ""
    elif result.slope_low <= 0 and result.slope_high >= 1:
        spoken["weak_currents"] = ""
        for name in ("current_slope", "current_slope_low", "current_slope_high"):
            dims, _, said = variables[name]
            variables[name] = (dims, float("nan"), said)
    return variables


def _entropy(
    window: Window,
    path: Floats,
    law: Law,
    chosen: Places,
    spoken: dict[str, str],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Rotation and entropy production, where the window is long enough for them."""
    if window.optimizer.mu and window.updates * (1 - window.optimizer.mu) < _FORGOTTEN:
        spoken["momentum_memory"] = str(window.updates)
        return {}
    found = entropy(path, law, rng)
    if found is None:
        return {}
    share = len(path) / found.time
    if found.production is None:
        before = spoken.get("too_short")
        words = (
            f"Along {len(found.chosen)} directions the window holds {share:.3g} correlation times"
        )
        spoken["too_short"] = f"{before}. {words}" if before else words
    fine = found.least >= LEAST_MODULUS
    if not fine:
        spoken["lag_too_coarse"] = f"{found.least:.2g}"
    return entropy_variables(found, chosen, rotates=fine and share >= FEWEST_ROTATION)


def _even_part(window: Window, projection: xr.DataArray, spoken: dict[str, str]) -> Floats | None:
    """The longest evenly spaced part of what the pass has kept, where it is as planned."""
    steps = projection[STEP].values.astype(np.float64)
    first, last = evenly_spaced(steps) if len(steps) > 2 else (0, 0)
    if last - first < 2 or steps[first + 1] - steps[first] != window.spacing:
        spoken["too_short"] = f"Of the window {last - first + 1} checkpoints are evenly spaced"
        return None
    path: Floats = projection.values[first : last + 1]
    return path


def _is_finite(found: Curvature, spoken: dict[str, str]) -> bool:
    parts = (found.curvatures, found.residuals, found.noise.halves)
    if not all(np.isfinite(part).all() for part in parts):
        spoken["no_noise"] = "the loss or its derivatives are not finite"
        return False
    if not np.trace(found.noise.matrix) > 0:
        spoken["no_noise"] = "all gradients are equal"
        return False
    return True


def _usable(window: Window, found: Curvature, path: Floats, spoken: dict[str, str]) -> Places:
    """Positions of the directions with a steady state, whose eigenvectors are there."""
    h = found.curvatures
    stable = is_stable(h, window.optimizer) & (h > 2 * found.errors)
    noisy = (np.diagonal(found.noise.matrix) > 0) & (path.std(axis=0) > 0)
    converged = found.residuals <= _CONVERGED * np.abs(found.ritz)
    if not (stable & noisy).all():
        n = int((~(stable & noisy)).sum())
        spoken["directions_dropped"] = (
            f"{n} of {len(h)} leading eigenvalues of H are not positive, not above their error, or "
            "too large for this learning rate, or the run does not move along them"
        )
    if not converged[stable].all():
        spoken["not_converged"] = f"{int((~converged[stable]).sum())} of {len(h)}"
    return np.flatnonzero(stable & noisy & converged)


def _response(window: Window, curvatures: Floats) -> Response:
    return response(
        curvatures, window.optimizer, updates=window.updates, n_samples=window.n_samples
    )


def _long_enough(
    window: Window,
    respond: Response,
    found: Curvature,
    usable: Places,
    n_steps: int,
    spoken: dict[str, str],
) -> Places:
    """Positions among `usable` of those whose law the window and the sampling let be seen."""
    times = respond.law(np.eye(len(usable))).correlation_times
    seen = n_steps >= FEWEST_TIMES * times
    n = len(usable)
    if not seen.all():
        share = n_steps / float(np.median(times[~seen]))
        which = "All" if not seen.any() else f"{int((~seen).sum())} of"
        spoken["too_short"] = (
            f"{which} {n} directions relax too slowly (the window holds {share:.2g} of their "
            "correlation times)"
        )
    relaxations = window.per_epoch / (times * window.updates)
    optimizer = window.optimizer
    if optimizer.is_shuffled and (flat := relaxations < _FLAT).any():
        spoken["shuffled"] = f"{int(flat.sum())} of {n} directions"
        seen &= ~flat
    if optimizer.with_replacement is None:
        apart = _samplings_differ(window, found.curvatures[usable])
        if apart.any():
            spoken["sampling_unknown"] = (
                f"the predictions differ by more than 10% in {int(apart.sum())} of {n} directions"
            )
            seen &= ~apart
    return np.flatnonzero(seen)


def _samplings_differ(window: Window, curvatures: Floats) -> Mask:
    """Where the variances with and without replacement differ."""
    n_batches = max(int(window.per_epoch), 1)
    variances = [
        np.diagonal(
            response(
                curvatures, replace(window.optimizer, with_replacement=drawn),
                updates=n_batches, n_samples=n_batches * window.optimizer.b,
            ).law(np.eye(len(curvatures))).covariance
        )
        for drawn in (True, False)
    ]  # fmt: skip
    differ: Mask = np.abs(np.log(variances[1] / variances[0])) > _DIFFERENT
    return differ
