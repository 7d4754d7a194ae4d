"""What the audit keeps of every checkpoint: checksums, which states return, and bits in use."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajscope.kernels.checksum import Checks, add_checksums, bits_in_use

UNITS: Final = 8
"""Parts of a tensor with a checksum of their own: they tell how much of it changed."""
FEWEST_WEIGHTS: Final = 64
"""Of a tensor whose return to an earlier state is no chance: few coarse numbers do that."""

Labels = NDArray[np.int32]


@dataclass(frozen=True)
class Watch:
    """What is watched in the blocks of a pass.

    Attributes
    ----------
    ends : (tensor,)
        Where every tensor ends along the weights.
    runs :
        Rows of every run.
    """

    ends: NDArray[np.int64]
    runs: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class RunTrace:
    """The trace of one run.

    Attributes
    ----------
    checks : (step,)
        Checksum of all weights.
    bits : (step,)
        Bits that are set in some of the weights looked at, the first eighth of every tensor.
    changed : (interval,)
        How many of the `n_units` parts of tensors changed.
    itemsize :
        Bytes of a weight, 4 or 8.
    returned :
        Number of a tensor -> (step,): its states that it left and came back to, numbered; -1 at
        steps in other states.
    """

    checks: Checks
    bits: Checks
    changed: NDArray[np.int64]
    n_units: int
    itemsize: int
    returned: dict[int, Labels]


@dataclass
class Trace:
    """What has been seen of some of the weights; traces of disjoint weights can be joined.

    Attributes
    ----------
    checks, bits : (row,)
    changed : (row - 1,)
    open :
        Checksums of the tensors of which weights are missing, (row, unit).
    returned :
        By run and tensor; see `RunTrace`.
    """

    checks: Checks
    bits: Checks
    changed: NDArray[np.int64]
    n_units: int = 0
    itemsize: int = 4
    open: dict[int, Checks] = field(default_factory=dict)
    returned: dict[tuple[int, int], Labels] = field(default_factory=dict)

    @classmethod
    def empty(cls, n_rows: int) -> "Trace":
        """A trace of no weights."""
        zeros = np.zeros(n_rows, np.uint64)
        return cls(zeros, zeros.copy(), np.zeros(n_rows - 1, np.int64))

    def see(self, block: NDArray[np.floating], start: int, watch: Watch, *, begin: int) -> None:
        """Take the weights from `start` on, in a task whose first weight is `begin`.

        Parameters
        ----------
        block : (row, weight)
        """
        self.itemsize = block.itemsize
        stop = start + block.shape[1]
        first, last = np.searchsorted(watch.ends, [start, stop - 1], side="right").tolist()
        for tensor in range(first, last + 1):
            low, high = _stretch(watch, tensor)
            a, b = max(low, start), min(high, stop)
            if a >= b:
                continue
            unit = _unit(high - low)
            values = block[:, a - start : b - start]
            sums = self.open.get(tensor)
            if sums is None:
                sums = self.open[tensor] = np.zeros(
                    (len(block), -(-(high - low) // unit)), np.uint64
                )
            add_checksums(sums, values, first=a, offset=a - low, unit=unit)
            if a - low < unit:
                self.bits |= bits_in_use(values[:, : unit - (a - low)])
            if low >= begin and high <= stop:
                self._close(tensor, watch)

    def join(self, other: "Trace", watch: Watch, *, done: int) -> None:
        """Take what another has seen; all weights before `done` are known now."""
        self.checks += other.checks
        self.bits |= other.bits
        self.changed += other.changed
        self.n_units += other.n_units
        self.itemsize = max(self.itemsize, other.itemsize)
        self.returned |= other.returned
        for tensor, sums in other.open.items():
            if tensor in self.open:
                self.open[tensor] = self.open[tensor] + sums
            else:
                self.open[tensor] = sums
        for tensor in [each for each in self.open if watch.ends[each] <= done]:
            self._close(tensor, watch)

    def of_run(self, number: int, rows: tuple[int, int]) -> RunTrace:
        """What was seen of one run."""
        start, stop = rows
        own = {tensor: states for (run, tensor), states in self.returned.items() if run == number}
        return RunTrace(
            self.checks[start:stop],
            self.bits[start:stop],
            self.changed[start : stop - 1],
            self.n_units,
            self.itemsize,
            dict(sorted(own.items())),
        )

    def _close(self, tensor: int, watch: Watch) -> None:
        """Reduce a tensor that is known whole to what is needed of it."""
        sums = self.open.pop(tensor)
        low, high = _stretch(watch, tensor)
        checks = sums.sum(axis=1, dtype=np.uint64)
        changed = np.count_nonzero(sums[1:] != sums[:-1], axis=1)
        self.checks += checks
        self.changed += changed
        self.n_units += sums.shape[1]
        if high - low < FEWEST_WEIGHTS:
            return
        for run, (start, stop) in enumerate(watch.runs):
            found = returns(checks[start:stop], changed[start : stop - 1], sums.shape[1])
            if found is not None:
                self.returned[run, tensor] = found


def joined(parts: Sequence[Trace], watch: Watch) -> Trace:
    """One trace of all `parts`, none of which is written to."""

    def add(total: Trace, part: Trace) -> Trace:
        total.join(part, watch, done=-1)
        return total

    return reduce(add, parts, Trace.empty(len(parts[0].checks)))


def returns(checks: Checks, changed: NDArray[np.int64], least: int) -> Labels | None:
    """The states that come back after at least so many units changed at once, (step,).

    Parameters
    ----------
    checks : (step,)
    changed : (interval,)
        Units that changed.

    Returns
    -------
    (step,) or None
        The number of such a state at every step that is in it, else -1; `None` if there is none.
    """
    values, states = np.unique(checks, return_inverse=True)
    begins = np.flatnonzero(np.diff(states, prepend=-1))  # of stretches of equal states
    if len(values) == len(begins):
        return None
    last_end: dict[int, int] = {}
    found = set()
    ends = [*(begins[1:] - 1).tolist(), len(states) - 1]
    for begin, end in zip(begins.tolist(), ends, strict=True):
        state = int(states[begin])
        if state in last_end and changed[last_end[state] : begin].max() >= least:
            found.add(state)
        last_end[state] = end
    if not found:
        return None
    return np.where(np.isin(states, list(found)), states, -1).astype(np.int32)


def _stretch(watch: Watch, tensor: int) -> tuple[int, int]:
    return int(watch.ends[tensor - 1]) if tensor else 0, int(watch.ends[tensor])


def _unit(n_weights: int) -> int:
    """Weights of a unit."""
    return max(-(-n_weights // UNITS), 1)
