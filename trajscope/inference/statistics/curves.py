"""Statistics of increments as curves, each with what its null gives."""

from typing import Final

import numpy as np

from trajscope.inference.statistics.increments import (
    n_frequencies,
    pooled_autocovariance,
    relative_periodogram,
    scales,
)
from trajscope.inference.statistics.permutations import IncrementDraws
from trajscope.inference.statistics.window import Window
from trajscope.kernels.gram import Floats
from trajscope.schema import FREQUENCY, GROUP, SCALE

CURVES: Final = {
    "relative_power": (
        (GROUP, FREQUENCY), "1", "periodogram of the increments over its mean, pooled over weights"
    ),
    "relative_power_low": ((GROUP,), "1", "lower edge of its simultaneous band"),
    "relative_power_high": ((GROUP,), "1", "upper edge of its simultaneous band"),
    "variance_ratio": (
        (GROUP, SCALE), "1", "variance of displacements over that of as many single increments"
    ),
    "variance_ratio_null": ((GROUP, SCALE), "1", "its mean over draws of the null"),
    "variance_ratio_low": ((GROUP, SCALE), "1", "lower edge of its simultaneous band"),
    "variance_ratio_high": ((GROUP, SCALE), "1", "upper edge of its simultaneous band"),
    "diffusion_exponent": ((GROUP,), "1", "1 + slope of log variance ratio on log scale"),
    "diffusion_exponent_null": ((GROUP,), "1", "its median over draws of the null"),
    "diffusion_exponent_low": ((GROUP,), "1", "lower edge of its two-sided interval"),
    "diffusion_exponent_high": ((GROUP,), "1", "upper edge of its two-sided interval"),
}  # fmt: skip
"""Dimensions, units and meaning of what `curves` gives."""


def curves(window: Window, draws: IncrementDraws, alpha: float) -> dict[str, Floats]:
    """The curves of one group, at level alpha.

    Bands of the periodogram and of the variance ratio are simultaneous: a path from the null
    leaves them anywhere with probability alpha.
    """
    ratio, null = draws.variance_ratio[0], draws.variance_ratio[1:]
    mean, spread = null.mean(axis=0), np.maximum(null.std(axis=0), 1e-12)
    reach = np.quantile(np.abs((null - mean) / spread).max(axis=-1), 1 - alpha) * spread
    exponents = diffusion_exponents(
        draws.variance_ratio, scales(window.n_exchangeable).astype(float)
    )
    low, middle, high = np.quantile(exponents[1:], [alpha / 2, 0.5, 1 - alpha / 2])
    found = {
        "relative_power": _relative_power(window.exchangeable),
        "relative_power_low": np.quantile(draws.least_power[1:], alpha / 2),
        "relative_power_high": np.quantile(draws.fisher[1:], 1 - alpha / 2),
        "variance_ratio": ratio,
        "variance_ratio_null": mean,
        "variance_ratio_low": mean - reach,
        "variance_ratio_high": mean + reach,
        "diffusion_exponent": exponents[0],
        "diffusion_exponent_null": middle,
        "diffusion_exponent_low": low,
        "diffusion_exponent_high": high,
    }
    return {name: np.asarray(values, dtype=np.float64) for name, values in found.items()}


def absent(n: int) -> dict[str, Floats]:
    """The curves of a group that was not tested, of n intervals: not a number throughout."""
    sizes = {FREQUENCY: n_frequencies(n), SCALE: len(scales(n))}
    return {
        name: np.full([sizes[dim] for dim in dims[1:]], np.nan)
        for name, (dims, _, _) in CURVES.items()
    }


def diffusion_exponents(ratios: Floats, lengths: Floats) -> Floats:
    """``1 + slope of log VR(q) on log q``: 1 Brownian, 0 confined, 2 drifting.

    A displacement over q intervals has the variance ``q VR(q)``. From q = 1, where VR is 1.

    Parameters
    ----------
    ratios : (..., scale)
    lengths : (scale,)
    """
    log_length = np.log(np.append(1, lengths))
    log_ratio = np.log(np.maximum(ratios, 1e-12))
    log_ratio = np.concatenate([np.zeros((*log_ratio.shape[:-1], 1)), log_ratio], axis=-1)
    weights = log_length - log_length.mean()
    return np.asarray(1 + log_ratio @ weights / (weights @ weights))


def _relative_power(increments: Floats) -> Floats:
    centred = (increments - increments.mean(axis=0)).T
    scaled = (centred / (np.abs(centred).max() or 1)).astype(np.float32)
    return np.asarray(relative_periodogram(pooled_autocovariance(scaled[np.newaxis]))[0])
