"""The numbers that describe D at a checkpoint, one record each, with the words for them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from trajscope.gradient_noise.spectrum.noise_scale import gradient_noise_scale
from trajscope.gradient_noise.spectrum.statistics import (
    EPS32,
    EPS64,
    Spectrum,
    directions,
    rank,
    variance,
)

_SQUARED: Final = "loss^2 weight^-2"
_IF_ISOTROPIC: Final = "{d:,} if D were isotropic"


@dataclass(frozen=True)
class Description:
    """What a result says of a number; reports take it from there.

    Attributes
    ----------
    units :
        "loss" and "weight" stand for the units of either.
    compare_with :
        Its reference value; of d weights, 90% (`most`) or 99% (`nearly`) of them, d eps.
    shown_as :
        "number", "count", or "share" of all weights.
    """

    label: str
    units: str
    long_name: str
    compare_with: str
    shown_as: str = "number"

    @property
    def attributes(self) -> dict[str, str]:
        """Of a variable that holds this number."""
        return {
            "units": self.units,
            "long_name": self.long_name,
            "label": self.label,
            "shown_as": self.shown_as,
        }

    def compared(self, n_weights: int) -> str:
        """Its reference value, for so many weights."""
        return self.compare_with.format(
            d=n_weights,
            most=math.ceil(0.9 * n_weights),
            nearly=math.ceil(0.99 * n_weights),
            eps32=n_weights * EPS32,
            eps64=n_weights * EPS64,
        )


@dataclass(frozen=True)
class Number:
    """One named number of a spectrum.

    Attributes
    ----------
    name :
        In the result, and with ``group_`` before it where it has a dimension ``group``.
    value :
        ``Spectrum -> number``; NaN where there is none.
    """

    name: str
    description: Description
    value: Callable[[Spectrum], float]


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else float("nan")


NUMBERS: Final = (
    Number(
        "eigenvalue_mean",
        Description(
            "mean eigenvalue", _SQUARED, "mean of all d eigenvalues of D, including zeros",
            "paper, two networks on MNIST: 3e−4, 9e−4",
        ),
        lambda s: s.trace / s.n_weights,
    ),
    Number(
        "eigenvalue_std",
        Description(
            "sd of eigenvalues", _SQUARED,
            "standard deviation of all d eigenvalues of D, including zeros",
            "zero where D is isotropic",
        ),
        lambda s: float(np.sqrt(variance(s))),
    ),
    Number(
        "trace",
        Description(
            "trace", _SQUARED, "tr D: variance of one sample's gradient, summed over all weights",
            "variance of one sample's gradient, all weights",
        ),
        lambda s: s.trace,
    ),
    Number(
        "lambda_max",
        Description(
            "largest eigenvalue", _SQUARED, "λ_max: largest variance in one direction",
            "the trace, if there was only one direction",
        ),
        lambda s: s.largest,
    ),
    Number(
        "rank_eps32",
        Description(
            "rank / d, float32 ε", "1",
            "how many eigenvalues exceed λ_max d ε, ε = 2⁻²³ (float32; the rule of the paper)",
            "threshold {eps32:.2g} λ_max", "share",
        ),
        lambda s: rank(s, EPS32),
    ),
    Number(
        "rank_eps64",
        Description(
            "rank / d, float64 ε", "1",
            "how many eigenvalues exceed λ_max d ε, ε = 2⁻⁵² (float64; NumPy's rule)",
            "threshold {eps64:.2g} λ_max", "share",
        ),
        lambda s: rank(s, EPS64),
    ),
    Number(
        "participation_ratio",
        Description(
            "participation ratio", "1", "(tr D)² / tr D²: effective number of noise directions",
            _IF_ISOTROPIC,
        ),
        lambda s: _ratio(s.trace**2, float(s.eigenvalues @ s.eigenvalues)),
    ),
    Number(
        "stable_rank",
        Description("stable rank", "1", "tr D / λ_max", _IF_ISOTROPIC),
        lambda s: _ratio(s.trace, s.largest),
    ),
    Number(
        "directions_90",
        Description(
            "directions for 90%", "1", "number of leading directions with 90% of the trace",
            "{most:,} if D were isotropic", "count",
        ),
        lambda s: directions(s, 0.9),
    ),
    Number(
        "directions_99",
        Description(
            "directions for 99%", "1", "number of leading directions with 99% of the trace",
            "{nearly:,} if D were isotropic", "count",
        ),
        lambda s: directions(s, 0.99),
    ),
    Number(
        "gradient_norm",
        Description(
            "|mean gradient| / √d", "loss weight^-1", "|ḡ| / √d, ḡ the mean gradient",
            "zero at a critical point",
        ),
        lambda s: float(np.sqrt(s.mean_square / s.n_weights)),
    ),
    Number(
        "signal_to_noise",
        Description(
            "|mean gradient|² / trace", "1",
            "|ḡ|² / tr D: above 1/b the mean outweighs the noise of a batch of b",
            "1/b: equals the noise of a batch of b",
        ),
        lambda s: _ratio(s.mean_square, s.trace),
    ),
    Number(
        "gradient_noise_scale",
        Description(
            "gradient noise scale", "1",
            "tr D / |g|², without the noise of the mean: critical batch size (arXiv:1812.06162)",
            "batch size: far below it, twice the batch halves the updates",
        ),
        gradient_noise_scale,
    ),
    Number(
        "gradient_diversity",
        Description(
            "gradient diversity", "1", "Σ |g_k|² / |Σ g_k|² (Yin et al. 2018, arXiv:1706.05699)",
            "1/N: all gradients are equal",
        ),
        lambda s: _ratio(s.trace + s.mean_square, s.n_samples * s.mean_square),
    ),
    Number(
        "score",
        Description(
            "rank / d + variance", "1",
            "rank_eps32 / d + variance of the eigenvalues (arXiv:1710.11029)",
            "the paper's score, with the float32 rank",
        ),
        lambda s: rank(s, EPS32) / s.n_weights + variance(s),
    ),
)  # fmt: skip
"""Every number of a spectrum, in the order of the result."""

DESCRIPTIONS: Final = {
    "loss": Description(
        "loss", "loss", "mean loss of the samples", "zero: these samples are fitted exactly"
    ),
    **{number.name: number.description for number in NUMBERS},
    "noise_scale": Description(
        "(η/b) mean eigenvalue", _SQUARED, "η/b times the mean eigenvalue, if both are known",
        "paper: similar for networks that generalise well",
    ),
}  # fmt: skip
"""By name, in the order of reports: what there is of every checkpoint."""
