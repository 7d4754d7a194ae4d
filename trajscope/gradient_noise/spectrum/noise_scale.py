"""The gradient noise scale, and how well some samples tell it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from trajscope.gradient_noise.spectrum.statistics import Spectrum
from trajscope.kernels.gram import Floats

if TYPE_CHECKING:
    from torch import Tensor

_NORMAL: Final = 1.959964
"""Quantile of an interval at 95%."""


def gradient_noise_scale(spectrum: Spectrum) -> float:
    """``tr D / |g|^2``, the batch size at which noise and mean of a gradient are as large.

    ``D' = D N/(N-1)``, ``|g|^2' = |gbar|^2 - tr D'/N``: without the share of the noise in the mean
    of N samples (McCandlish et al. 2018, arXiv:1812.06162, where it is called simple).

    Returns
    -------
    float
        In samples; infinite where the mean gradient is no longer than its noise lets expect.
    """
    n = spectrum.n_samples
    trace = spectrum.trace * n / max(n - 1, 1)
    square = spectrum.mean_square - trace / n
    if not np.isfinite(trace):
        return float("nan")
    return trace / square if square > 0 else float("inf") if trace > 0 else float("nan")


@dataclass(frozen=True)
class Scatter:
    """How the gradients of samples scatter about their mean, ``h_k = g_k - gbar``.

    Attributes
    ----------
    along :
        Mean of ``(h_k gbar)^2``, which is ``gbar' D gbar``.
    across :
        Mean of ``(h_k gbar) |h_k|^2``.
    size :
        Variance of ``|h_k|^2``.
    """

    along: float
    across: float
    size: float

    def to_array(self) -> Floats:
        """All three."""
        return np.array([self.along, self.across, self.size])

    @classmethod
    def unknown(cls) -> "Scatter":
        """Of a sketch, which does not tell it."""
        return cls(np.nan, np.nan, np.nan)

    @classmethod
    def of_products(cls, means: "Tensor", squares: "Tensor") -> "Scatter":
        """From inner products.

        Parameters
        ----------
        means : (sample,)
            ``g_k gbar``.
        squares : (sample,)
            ``|h_k|^2``.
        """
        along = means - means.mean()
        return cls(
            float(along.square().mean()),
            float((along * squares).mean()),
            float((squares - squares.mean()).square().mean()),
        )


def interval(
    spectrum: Spectrum, scatter: Scatter, n_rows: int, scale: float = 1.0
) -> tuple[float, float]:
    """Ends of the interval at 95% of `gradient_noise_scale`, over samples.

    Of its inverse ``r = |g|^2' / tr D'``, whose numerator may be zero, by the first two orders of
    the error of the mean: ``Var |g|^2' = 4 gbar'D gbar/N + 2 tr D^2/N^2``, each without its share
    of noise; the ends are turned over. The upper one is infinite where r may be zero.

    Parameters
    ----------
    n_rows, scale :
        Gradients that D is from, samples or batches, and what their covariance is multiplied by to
        give D.
    """
    values = spectrum.eigenvalues / scale
    total = float(values.sum())
    trace = total * n_rows / max(n_rows - 1, 1)
    if not trace > 0 or n_rows < 3 or not np.isfinite(scatter.to_array()).all():
        return float("nan"), float("nan")
    square = spectrum.mean_square - trace / n_rows
    of_noise = max(float(values @ values) - total**2 / n_rows, 0.0)
    along = max(scatter.along - of_noise / n_rows, 0.0)
    own = 4 * along / n_rows + 2 * of_noise / n_rows**2
    ratio = square / trace
    variance = (
        own - 2 * ratio * 2 * scatter.across / n_rows + ratio**2 * scatter.size / n_rows
    ) / trace**2
    reach = _NORMAL * float(np.sqrt(max(variance, 0.0)))
    low, high = ratio - reach, ratio + reach
    return (
        scale / high if high > 0 else float("inf"),
        scale / low if low > 0 else float("inf"),
    )
