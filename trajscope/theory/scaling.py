"""Diffusion by curvature: how variance, exponent and confinement change along eigenvectors of H."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from trajscope.kernels.gram import Floats
from trajscope.theory.forward import Ratios
from trajscope.theory.potential import Estimate
from trajscope.theory.statistics import Moments, Windows

_NORMAL: Final = 1.959964


@dataclass(frozen=True)
class Scaling:
    """Of every direction, beside the prediction (arXiv:2605.22644, arXiv:2107.09133).

    Attributes
    ----------
    exponent : (direction,)
        ``log2 MSD(2) / MSD(1)`` over one and two checkpoints: 1 for a random walk, towards 0 where
        the walk has met its walls.
    confinement : (direction,)
        ``MSD(L) / (L MSD(1))`` at a quarter of the window: 1 for a random walk.
    variance_slope :
        Of ``log S_ii`` on ``log h_i``; -1 for isotropic noise, 0 for noise like H.
    """

    exponent: Ratios
    exponent_predicted: Floats
    confinement: Ratios
    confinement_predicted: Floats
    variance_slope: Estimate


def scaling(windows: Windows, curvatures: Floats) -> Scaling:
    """The scaling of one window, with intervals from simulated ones.

    Parameters
    ----------
    curvatures : (direction,)
    """
    exponents = [np.log2(each.displacements[..., 1, :] / each.displacements[..., 0, :])
                 for each in (windows.found, windows.draws)]  # fmt: skip
    confined = [_confinement(each, windows.n_steps) for each in (windows.found, windows.draws)]
    logs = [np.log(each) for each in confined]
    return Scaling(
        _about(exponents[0], exponents[1]),
        exponents[1].mean(axis=0),
        Ratios(*(np.exp(each) for each in _ends(logs[0], logs[1]))),
        np.exp(logs[1].mean(axis=0)),
        _slope(windows, np.log(curvatures)),
    )


def _confinement(moments: Moments, n_steps: int) -> Floats:
    found: Floats = moments.displacements[..., 2, :] / moments.displacements[..., 0, :]
    return found / max(n_steps // 4, 1)


def _about(found: Floats, draws: Floats) -> Ratios:
    return Ratios(*_ends(found, draws))


def _ends(found: Floats, draws: Floats) -> tuple[Floats, Floats, Floats]:
    sd = _NORMAL * draws.std(axis=0, ddof=1)
    return found, found - sd, found + sd


def _slope(windows: Windows, logs: Floats) -> Estimate:
    centred = logs - logs.mean()
    if not float(centred @ centred) > 0:
        return Estimate(*[float("nan")] * 4)
    weights = centred / (centred @ centred)

    def of(variances: Floats) -> Floats:
        slope: Floats = np.log(variances) @ weights
        return slope

    predicted = float(of(np.diagonal(windows.law.covariance)))
    drawn = of(windows.draws.variances)
    value = float(of(windows.found.variances)) - float(drawn.mean()) + predicted
    sd = _NORMAL * float(drawn.std(ddof=1))
    return Estimate(value, value - sd, value + sd, predicted)
