"""What needs neither H nor D: variances, reversibility and rotation, from the trajectory alone."""

from typing import Any, Final

import numpy as np
import xarray as xr

from trajscope.kernels.factors import factor_of_gram, factor_width
from trajscope.kernels.gram import Floats
from trajscope.model.clock import evenly_spaced
from trajscope.optimizer import Optimizer
from trajscope.schema import STEP
from trajscope.theory.entropy import FEWEST_ROTATION, LEAST_MODULUS, entropy
from trajscope.theory.forward import FEWEST_TIMES
from trajscope.theory.guards import prevented
from trajscope.theory.result import PLACE, SAID, entropy_variables

N_DIRECTIONS: Final = 4
_FEWEST: Final = 40
"""Checkpoints of which the second half can hold an autoregression."""
_KEPT: Final = 0.5
"""Of the variance that a direction had in the half that chose it."""


def unpredicted(
    reductions: xr.Dataset,
    optimizer: Optimizer,
    spoken: dict[str, str],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Variables of the second half of a run, along principal directions of the first.

    Directions are chosen by one half and measured in the other: those that a window chooses for
    itself have variances that are too large by their choice. A direction whose variance is not
    there again is left out.

    Parameters
    ----------
    reductions :
        Sums of a pass, as in a result.
    optimizer :
        Its temperature makes a potential of the covariance: ``U = S^-1 / beta``.
    spoken :
        By code of each guard that has spoken, its detail.
    """
    positions = positions_of(reductions)
    if len(positions) < _FEWEST:
        spoken["too_short"] = f"The window holds {len(positions)} evenly spaced checkpoints"
        return {}
    path, ratios = second_half(positions, N_DIRECTIONS)
    kept = ratios >= _KEPT
    if not kept.all():
        spoken["subspace_selected_here"] = f"{int((~kept).sum())} of {len(kept)}"
    if kept.sum() < 2:
        spoken["directions_dropped"] = f"The run moves along {int(kept.sum())} of these directions"
        return {}
    found = entropy(path[:, kept], None, rng)
    share = 0.0 if found is None else len(path) / found.time
    if found is None or found.production is None:
        spoken["too_short"] = f"Half of the window holds {share:.3g} correlation times"
    if found is None or share < FEWEST_TIMES:
        return {}
    fine = found.least >= LEAST_MODULUS
    if not fine:
        spoken["lag_too_coarse"] = f"{found.least:.2g}"
    rotates = fine and share >= FEWEST_ROTATION
    variables = entropy_variables(found, np.flatnonzero(kept), rotates=rotates)
    variables["entropy_direction"][2]["long_name"] = "principal directions of the first half"
    variables["principal_variance"] = (PLACE, path[:, kept].var(axis=0), {
        "units": "weight^2", "long_name": "variance in the second half of the run",
    })  # fmt: skip
    if found.not_normal:
        spoken["non_gaussian"] = found.not_normal
    elif (temperature := _temperature(optimizer, spoken)) is not None:
        for end, values in (("", found.precision), ("_low", found.precision_low),
                            ("_high", found.precision_high)):  # fmt: skip
            variables[f"potential_curvature{end}"] = (PLACE, temperature * values, {
                "units": "loss weight^-2",
                "long_name": f"diagonal of U = S^-1 / beta{SAID[end]}",
            })  # fmt: skip
    return variables


def _temperature(optimizer: Optimizer, spoken: dict[str, str]) -> float | None:
    """1/beta, where the noise is known to be that of SGD at one temperature."""
    if prevented({code: "" for code in spoken if code != "problem_missing"}):
        return None
    if optimizer.temperature is None or optimizer.with_replacement:
        return optimizer.temperature
    if optimizer.is_shuffled:
        spoken["shuffled"] = "The length of an epoch is unknown"
    else:
        spoken["sampling_unknown"] = "the temperature of slow directions differs"
    return None


def positions_of(reductions: xr.Dataset) -> Floats:
    """Positions in the longest evenly spaced part, (step, axis), about the run's first.

    The axes are those along which the increments are kept.
    """
    if "increment_gram" in reductions:
        gram = reductions["increment_gram"].isel(group=0).values
        factor: Floats = factor_of_gram(gram, factor_width(len(gram)))
    else:
        factor = reductions["factor_all"].values.astype(np.float64)
    positions = np.concatenate([np.zeros((1, factor.shape[1])), factor.cumsum(axis=0)])
    first, last = evenly_spaced(reductions[STEP].values.astype(np.float64))
    return positions[first : last + 1]


def second_half(positions: Floats, count: int) -> tuple[Floats, Floats]:
    """The second half along the leading principal directions of the first, and variance ratios.

    Returns
    -------
    path : (step, direction)
    ratios : (direction,)
        Variance in the second half over that in the first.
    """
    half = len(positions) // 2
    first, second = positions[:half], positions[half:]
    centred = first - first.mean(axis=0)
    _, sizes, vectors = np.linalg.svd(centred, full_matrices=False)
    count = min(count, int((sizes > 1e-6 * sizes[0]).sum())) if sizes[0] > 0 else 0
    path = (second - second.mean(axis=0)) @ vectors[:count].T
    ratios: Floats = path.var(axis=0) / (sizes[:count] ** 2 / half)
    return path, ratios
