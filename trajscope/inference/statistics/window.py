"""The tested window: increments and positions of one group of weights, evenly spaced or not."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from trajscope.kernels.gram import Floats

_MOST_COMPONENTS = 20
_WHOLE = 2.0**53
_LARGE = 1 << 25
_SHORTEST = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9)
_ALIKE = 3.0
_STILL = 0.05
"""Share of a window at whose ends nothing may move, beyond which they are no part of the motion."""
_FEWEST_MOVES = 7
"""Intervals in which something moves: fewer cannot be judged by themselves."""


@dataclass(frozen=True)
class Window:
    """Some checkpoints of one group of weights.

    Attributes
    ----------
    increments : (interval, component)
        In a basis of weight space that does not depend on their order; not centred.
    positions : (step, component)
        Leading principal components of the path, largest first, at evenly spaced checkpoints; by
        default those of the increments.
    even : (step,)
        Numbers of the evenly spaced checkpoints; all by default.
    lengths : (interval,)
        Of the intervals, over their mean, where checkpoints are unevenly spaced.
    rounding : float
        Share of the squared increments that is rounding of the stored weights.
    """

    increments: Floats
    positions: Floats | None = None
    lengths: Floats | None = None
    even: NDArray[np.int64] | None = None
    rounding: float = 0.0

    @property
    def n_steps(self) -> int:
        """Checkpoints."""
        return len(self.increments) + 1

    @property
    def n_even(self) -> int:
        """Checkpoints that are evenly spaced."""
        return self.n_steps if self.even is None else len(self.even)

    @property
    def n_exchangeable(self) -> int:
        """Rows of `exchangeable`."""
        return len(self.increments) - (self.lengths is not None)

    @cached_property
    def exchangeable(self) -> Floats:
        """Increments that are exchangeable in time if the path is Brownian, (interval, component).

        Those themselves where intervals are equally long; else each against the mean velocity of
        all that come later, over what both vary by:
        ``(y[k] - m[k] dt[k]) / sqrt(dt[k] (1 + dt[k] / S[k]))``, ``S[k]`` the time after interval
        k, ``m[k]`` the displacement after it over ``S[k]``; the last interval has none and is left
        out. These are recursive residuals, backwards in time: independent and alike for Gaussian
        noise whatever the intervals (Brown, Durbin & Evans 1975,
        doi:10.1111/j.2517-6161.1975.tb01532.x). Differences from one mean velocity are not: under
        logarithmic spacing the last intervals all but determine it.
        """
        if self.lengths is None:
            return self.increments
        # Sums from the end, of what comes after each interval but the last.
        later = self.increments[:0:-1].cumsum(axis=0)[::-1]
        time = self.lengths[:0:-1].cumsum()[::-1, np.newaxis]
        own, lengths = self.increments[:-1], self.lengths[:-1, np.newaxis]
        spread = np.sqrt(lengths * (1 + lengths / time))
        return np.asarray((own - later / time * lengths) / spread)

    @property
    def walked(self) -> Floats:
        """Sums of the increments, at evenly spaced checkpoints; (step, component)."""
        walked = np.concatenate([np.zeros((1, self.increments.shape[1])), self.increments]).cumsum(
            axis=0, dtype=np.float64
        )
        return np.asarray(walked if self.even is None else walked[self.even])

    @property
    def walked_or_leading(self) -> Floats:
        """`walked`, or of very long windows the leading components alone, which fit in memory."""
        return self.walked if self.increments.size <= _LARGE else self.path

    @cached_property
    def path(self) -> Floats:
        """`positions`, or principal components of the increments' sums; (step, component)."""
        if self.positions is not None:
            return self.positions
        walked = self.walked
        walked = walked - walked.mean(axis=0)
        _, vectors = np.linalg.eigh(walked.T @ walked)
        return np.asarray(walked @ vectors[:, : -_MOST_COMPONENTS - 1 : -1])

    def moving(self) -> tuple[int, int]:
        """Number of its first checkpoint, and that after its last, without still ends.

        All of it where the ends at which nothing moves are short, or leave too few.
        """
        moves = np.flatnonzero(self.increments.any(axis=1))
        if moves.size and len(moves) >= _FEWEST_MOVES:
            first, stop = int(moves[0]), int(moves[-1]) + 2
            if self.n_steps - (stop - first) > _STILL * self.n_steps:
                return first, stop
        return 0, self.n_steps

    def after(self, cut: int) -> "Window":
        """The window without its first `cut` checkpoints."""
        return self.part(cut, self.n_steps)

    def part(self, first: int, stop: int) -> "Window":
        """Its checkpoints from number `first` to before `stop`."""
        kept = slice(first, stop - 1)
        even = self.even
        return replace(
            self,
            increments=self.increments[kept],
            positions=None,
            lengths=None if self.lengths is None else self.lengths[kept],
            even=None if even is None else even[(even >= first) & (even < stop)] - first,
        )

    def coarser(self, stride: int) -> "Window":
        """Every `stride`-th checkpoint, from the first."""
        n = len(self.increments) // stride * stride
        increments = self.increments[:n].reshape(n // stride, stride, -1).sum(axis=1)
        return replace(self, increments=increments, positions=None, rounding=0.0)


def nearly_even(
    steps: NDArray[np.floating] | NDArray[np.integer], fewest: int
) -> NDArray[np.int64] | None:
    """Numbers of checkpoints whose spacings differ by a factor of three at most.

    The first checkpoint, and each that is at least g after the last one taken: for g the shortest
    spacing, or the smallest of some quantiles, at which the spacings are so much alike. `None`
    where that leaves fewer than `fewest` checkpoints.

    Parameters
    ----------
    steps : (step,)
        Increasing.
    """
    for shortest in np.quantile(np.diff(steps), _SHORTEST):
        places = [0]
        for number, step in enumerate(steps):
            if step - steps[places[-1]] >= shortest * (1 - 1e-9) and number:
                places.append(number)
        taken = np.diff(steps[places])
        if len(places) >= fewest and taken.max() <= _ALIKE * taken.min():
            return np.array(places, np.int64)
    return None


def longest_even_part(steps: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.int64]:
    """Numbers of the checkpoints that make up the longest evenly spaced part of a run.

    Other checkpoints may lie between them. Spacings that are looked at are the thirty-two most
    frequent intervals, twice, three and four times these, and the longest interval.

    Parameters
    ----------
    steps : (step,)
        Increasing.
    """
    # Relative to what all whole steps are multiples of, else to the finest spacing, so that
    # fractional epochs can be looked up.
    gaps = np.diff(steps)
    whole = np.all(gaps == np.rint(gaps)) and gaps.max() < _WHOLE
    unit = float(np.gcd.reduce(gaps.astype(np.int64)) if whole else gaps.min())
    places = np.rint((steps - steps[0]) / unit).astype(np.int64)
    exact = np.isclose(places * unit + steps[0], steps, rtol=0, atol=1e-3 * unit)
    found, counts = np.unique(np.diff(places), return_counts=True)
    frequent = found[np.argsort(-counts, kind="stable")][:32]
    spacings = {int(gap) * times for gap in frequent for times in (1, 2, 3, 4)} | {int(found[-1])}
    spacings.discard(0)  # fractional steps nearer than a spacing may have one place
    number_at = {int(place): number for number, place in enumerate(places) if exact[number]}
    best: list[int] = []
    for spacing in sorted(spacings):
        chain = _longest_chain(number_at, spacing)
        if len(chain) > len(best):
            best = chain
    return np.array(best, dtype=np.int64)


def _longest_chain(number_at: dict[int, int], spacing: int) -> list[int]:
    """Numbers of the longest run of places that are `spacing` apart."""
    length: dict[int, int] = {}
    for place in number_at:
        length[place] = length.get(place - spacing, 0) + 1
    end = max(length, key=lambda place: length[place])
    places = range(end - (length[end] - 1) * spacing, end + 1, spacing)
    return [number_at[place] for place in places]
