"""The potential that the measured covariance stands for, held against the loss."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from trajscope.kernels.gram import Floats
from trajscope.theory.law import Response
from trajscope.theory.statistics import Moments, Windows, simulated

_NORMAL: Final = 1.959964


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval, and what theory predicts for it."""

    value: float
    low: float
    high: float
    predicted: float


@dataclass(frozen=True)
class Potential:
    """What the window says about ``Phi = x' U x / 2``, ``U = S^-1 / beta``.

    Attributes
    ----------
    p_phi_is_f :
        Of noise that is the same in all directions, under which Phi is f up to a factor.
    p_commuting :
        Of H and S that commute, under which no current flows.
    angle :
        Between grad Phi and grad f, in degrees.
    rotation :
        ``|antisym(H S)| / |sym(H S)|``: how much of the force turns, in the Frobenius norm.
    """

    p_phi_is_f: float
    p_commuting: float
    angle: Estimate
    rotation: Estimate


def potential(
    windows: Windows, respond: Response, curvatures: Floats, rng: np.random.Generator
) -> Potential:
    """The tests of the potential, each against simulated windows of its null.

    With isotropic D, ``S_ii`` is a constant times the gain g_i of its direction and ``S_ij = 0``:
    the eigenvalues of ``S_ij / sqrt(g_i g_j)`` are equal (sphericity; without momentum ``1/g = r (2
    - r)``, ``r = eta h``). With H and S that commute, ``[H, S]_ij = (h_i - h_j) S_ij`` is zero.

    Parameters
    ----------
    curvatures : (direction,)
    """
    gains = np.diagonal(respond.gain[:, :, 0, 0])
    n_steps, n_draws = windows.n_steps, len(windows.draws.covariance)
    isotropic = simulated(respond.law(np.eye(len(gains))), n_steps, n_draws, rng)
    return Potential(
        p_value(sphericity(windows.found, gains), sphericity(isotropic, gains)),
        p_value(commutator(windows.found, curvatures), commutator(windows.null, curvatures)),
        _angle(windows, curvatures),
        _rotation(windows, curvatures),
    )


def sphericity(moments: Moments, gains: Floats) -> Floats:
    """``log mean - mean log`` of the eigenvalues of ``S_ij / sqrt(g_i g_j)``: 0 where all agree."""
    sizes = np.sqrt(gains)
    values = np.linalg.eigvalsh(moments.covariance / (sizes[:, None] * sizes))
    values = np.maximum(values, 1e-300)
    found: Floats = np.log(values.mean(axis=-1)) - np.log(values).mean(axis=-1)
    return found


def commutator(moments: Moments, curvatures: Floats) -> Floats:
    """``sum_{i<j} ((h_i - h_j) / (h_i + h_j))^2 S_ij^2 / (S_ii S_jj)``, dimensionless."""
    first, second = np.triu_indices(len(curvatures), 1)
    h, g = curvatures[first], curvatures[second]
    variances = moments.variances
    pairs = moments.covariance[..., first, second] ** 2
    pairs = pairs / (variances[..., first] * variances[..., second])
    found: Floats = (((h - g) / (h + g)) ** 2 * pairs).sum(axis=-1)
    return found


def p_value(found: Floats, draws: Floats) -> float:
    """``(1 + #{draws >= found}) / (1 + n)`` (Phipson & Smyth 2010, doi:10.2202/1544-6115.1585)."""
    return (1 + int((draws >= found).sum())) / (1 + len(draws))


def cosine(covariance: Floats, curvatures: Floats) -> Floats:
    """``cos(grad Phi, grad f) = tr H / sqrt(tr(S^-1) tr(H S H))``, in the mean over x."""
    inverse = np.trace(np.linalg.inv(covariance), axis1=-2, axis2=-1)
    force = (curvatures**2 * np.diagonal(covariance, axis1=-2, axis2=-1)).sum(axis=-1)
    found: Floats = curvatures.sum() / np.sqrt(inverse * force)
    return found


def turning(covariance: Floats, curvatures: Floats) -> Floats:
    """``|antisym(H S)|^2 / |sym(H S)|^2``."""
    product = curvatures[:, None] * covariance
    turned = np.swapaxes(product, -1, -2)
    squares = [((product + sign * turned) ** 2).sum(axis=(-1, -2)) for sign in (-1, 1)]
    found: Floats = squares[0] / squares[1]
    return found


def _angle(windows: Windows, curvatures: Floats) -> Estimate:
    def degrees(covariance: Floats) -> Floats:
        found: Floats = np.degrees(np.arccos(np.clip(cosine(covariance, curvatures), -1, 1)))
        return found

    predicted = float(degrees(windows.law.covariance))
    drawn = degrees(windows.draws.covariance)
    value = float(degrees(windows.found.covariance)) - float(drawn.mean()) + predicted
    sd = _NORMAL * float(drawn.std(ddof=1))
    ends = (max(value, 0.0), max(value - sd, 0.0), max(value + sd, 0.0))
    return Estimate(*ends, predicted)


def _rotation(windows: Windows, curvatures: Floats) -> Estimate:
    """Freed of what sampling adds to the square, which is positive without any current."""
    predicted = float(turning(windows.law.covariance, curvatures))
    drawn = turning(windows.draws.covariance, curvatures)
    value = float(turning(windows.found.covariance, curvatures)) - float(drawn.mean()) + predicted
    sd = _NORMAL * float(drawn.std(ddof=1))
    root, low, high = (float(np.sqrt(max(end, 0.0))) for end in (value, value - sd, value + sd))
    return Estimate(root, low, high, float(np.sqrt(predicted)))
