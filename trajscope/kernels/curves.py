"""Curves of single weights, summed over them: Fourier amplitudes and mean autocorrelation."""

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from trajscope.kernels.gram import SAFE_SQUARES, Floats
from trajscope.kernels.powers import Powers, Values, powers_by
from trajscope.kernels.spectra import column_pieces, scaled_by_displacement, squares_are_safe
from trajscope.kernels.spread import Spread


def curve_moments(
    weights: Values, chosen: NDArray[np.bool_] | None = None, *, compiled: bool = False
) -> dict[str, Floats]:
    """Sums over weights of amplitudes of increments, of their squares, and of autocorrelations.

    ``a_i[j] = |FFT(yc_i)[j]| / sqrt(mean_k |FFT(yc_i)[k]|^2)``, j, k = 1..floor(n/2)
    ``r_i(h) = sum_{t<T-h} (x_t - m)(x_{t+h} - m) / sum_t (x_t - m)^2``, h = 0..T-1 (biased)

    Parameters
    ----------
    weights : (step, weight)
    chosen : (weight,)
        Of which the spread of r_i is summed too; by default of all.
    compiled :
        Whether transforms of weights in single precision are compiled for this processor, which
        needs llvmlite: sums differ by its rounding.

    Returns
    -------
    dict
        ``amplitude`` (frequency,): sum over weights of a_i; ``amplitude_square`` (frequency,): sum
        of a_i^2; ``power`` (frequency,): sum of ``|FFT(yc_i)|^2 / n``, not normalised, squared
        weight units; ``n_amplitudes`` (): how many weights entered the normalised sums. A weight
        whose increments do not vary in time has no shape to average and is left out of those.
        ``autocorrelation`` (lag,): sum of r_i over the weights that move; ``n_autocorrelations``
        (): how many those are. The sums of `deficit_moments`, of the chosen weights that move;
        ``n_deficits`` (): how many those are.

    Notes
    -----
    The sum of r_i is the transform of the sum of the powers of padded positions, each divided by
    its variance, so that only chosen weights have a transform back. Where squares would leave the
    range of the dtype, each weight is first scaled by its own largest displacement.

    Examples
    --------
    >>> sums = curve_moments(np.array([[0.0], [1.0], [0.0], [1.0]]))
    >>> sums["autocorrelation"].round(2).tolist()
    [1.0, -0.75, 0.5, -0.25]
    """
    n_steps = len(weights)
    n = n_steps - 1
    powers = powers_by(n, compiled=compiled and weights.dtype == np.float32)
    padding = powers.padding
    sums = {
        "amplitude": np.zeros(n // 2),
        "amplitude_square": np.zeros(n // 2),
        "power": np.zeros(n // 2),
        "n_amplitudes": np.zeros(()),
        "n_autocorrelations": np.zeros(()),
    }
    pooled = np.zeros(len(padding.factor))
    spread = Spread(padding.length, padding.factor, n_steps)
    for columns in column_pieces(weights, padding.length, powers.piece_bytes):
        piece = weights[:, columns]
        found = powers(piece)
        scale: Values = np.ones(piece.shape[1])
        if not _is_safe(found, piece):
            piece, scale = scaled_by_displacement(piece)
            found = powers(piece)
        if n > 1:
            _add_amplitudes(sums, found, np.square(scale.astype(np.float64)) / n)
        moves = found.variance > 0
        inverse = _inverse(found.variance, moves)
        rows, _, n_parts = found.squares.shape
        pooled += found.squares.reshape(rows, -1) @ np.repeat(inverse, n_parts)
        sums["n_autocorrelations"] += moves.sum()
        spread.add(found.squares, inverse, moves if chosen is None else moves & chosen[columns])
    power = np.zeros(padding.length // 2 + 1)
    power[-len(pooled) :] = pooled * padding.factor
    sums["autocorrelation"] = scipy.fft.irfft(power, padding.length)[:n_steps]
    if padding.length == 2 * n:
        sums["autocorrelation"][-1] /= 2  # lag n and lag -n fall on one another
    return sums | spread.sums()


def _is_safe(found: Powers, weights: Values) -> bool:
    """Whether no square left the range of the dtype."""
    if not squares_are_safe(found.variance, weights):
        return False
    power = found.mean_power
    unsafe = ~((power > SAFE_SQUARES[0]) & (power < SAFE_SQUARES[1]))
    if not len(found.power) or not unsafe.any():
        return True
    return squares_are_safe(power[unsafe], np.diff(weights[:, unsafe], axis=0))


def _add_amplitudes(sums: dict[str, Floats], found: Powers, unit: Floats) -> None:
    """Add what is summed of the increments of one piece, whose power is in multiples of `unit`."""
    dtype = found.power.dtype
    inverse = _inverse(found.mean_power, found.varies)
    largest = unit.max() or 1.0
    weighted = np.stack([unit / largest, inverse], axis=1).astype(dtype)
    pooled, normalised = (found.power @ weighted).T
    sums["power"] += pooled * largest
    sums["amplitude_square"] += normalised
    sums["amplitude"] += found.amplitude @ np.sqrt(inverse)
    sums["n_amplitudes"] += found.varies.sum()


def _inverse(values: Values, chosen: NDArray[np.bool_]) -> Values:
    """One over the chosen values, and zero for the others."""
    inverse: Values = np.divide(1, values, out=np.zeros_like(values), where=chosen)
    return inverse
