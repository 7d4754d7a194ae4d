"""Checkpoints, or some of their tensors, that equal others bit for bit."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajscope.errors import printable
from trajscope.inference.audit.case import Case, Finding, listed
from trajscope.kernels.gram import Floats

_CLEARLY: Final = 1.5
"""Times as far from its neighbours as the other copy, from which on a copy is misplaced."""

_FEW: Final = 64
"""Weights below which a path may come back to where it was."""

Stretch = tuple[int, int]
"""The first of neighbouring checkpoints that are equal, and the last."""


def unmoved(case: Case) -> list[Finding]:
    """Checkpoints at either end between which no weight moves."""
    begins = _stretches(case.states)
    if len(begins) == 1 or not _moves_much(case):
        return []
    found = []
    (_, first), (last, stop) = begins[0], begins[-1]
    returned = case.states[0] in case.states[first + 1 :], case.states[-1] in case.states[:last]
    if first > 0 and not returned[0]:
        rows = tuple(range(first + 1))
        said = f"Nothing moved before {case.place(first)}: all weights of {_equal(case, rows)}."
        found.append(Finding("unmoved", rows, said, spoilt=rows[:-1]))
    if last < stop and not returned[1]:
        rows = tuple(range(last, stop + 1))
        said = f"Nothing moved after {case.place(last)}: all weights of {_equal(case, rows)}."
        found.append(Finding("unmoved", rows, said, spoilt=rows[1:]))
    return found


def identical(case: Case) -> list[Finding]:
    """Checkpoints that are equal in every weight; which of them is misplaced, the road tells."""
    stretches = _stretches(case.states)
    by_state: dict[int, list[Stretch]] = defaultdict(list)
    for first, last in stretches:
        by_state[int(case.states[first])].append((first, last))
    found = []
    for own in by_state.values():
        if len(own) > 1 and _was_away(case, own):
            found.extend([] if _comes_round(case, own) else [_copies(case, own)])
        elif len(own) == 1 and own[0] not in (stretches[0], stretches[-1]):
            found.extend(_stalled(case, own[0]))
    return [*found, *_equal_files(case, found)]


def identical_tensors(case: Case) -> list[Finding]:
    """Tensors that come back bit for bit to a state that they had left."""
    tensors: dict[tuple[Stretch, ...], list[int]] = defaultdict(list)
    for tensor, states in case.evidence.trace.returned.items():
        for state in np.unique(states[states >= 0]).tolist():
            own = tuple(each for each in _stretches(states) if states[each[0]] == state)
            if len({int(case.states[first]) for first, _ in own}) > 1:  # else it is whole
                tensors[own].append(tensor)
    found = []
    for own, numbers in tensors.items():
        spoilt, why = _judged(case, case.distances(numbers), own, in_doubt="none")
        firsts = [first for first, _ in own]
        names = [case.tensors[each] for each in numbers]
        said = (
            f"{len(numbers)} of {len(case.tensors)} tensors ({listed(names)}) "
            f"{'is' if len(numbers) == 1 else 'are'} equal bit for bit at {case.places(firsts)}, "
            f"but not between: {why}"
        )
        found.append(
            Finding("identical_tensors", _rows(own), said, case.names(numbers), _rows(spoilt))
        )
    return found


def _copies(case: Case, own: Sequence[Stretch]) -> Finding:
    spoilt, why = _judged(case, case.moves.squared_increments, own, in_doubt="last")
    extra = tuple(row for first, last in own for row in range(first + 1, last + 1))
    rows = _rows(own)
    said = f"All weights of {_equal(case, rows)}, but not between: {why}"
    return Finding("identical", rows, said, spoilt=tuple(sorted({*_rows(spoilt), *extra})))


def _stalled(case: Case, own: Stretch) -> list[Finding]:
    first, last = own
    if first == last or not _moves_much(case):
        return []
    rows = tuple(range(first, last + 1))
    said = f"All weights of {_equal(case, rows)}, although the others move; the first is kept."
    return [Finding("identical", rows, said, spoilt=rows[1:])]


def _equal_files(case: Case, known: Sequence[Finding]) -> list[Finding]:
    """Checkpoints whose files are known to be equal, where the weights did not tell."""
    seen = [set(finding.rows) for finding in known]
    found = []
    for each in case.equal_files:
        rows = np.flatnonzero(np.isin(case.steps, each["steps"])).tolist()
        is_new = not any(set(rows) <= other for other in seen)
        if each["whole"] and len(rows) > 1 and is_new and len(np.unique(case.states)) > 1:
            files = listed([printable(name) for name in each["files"]])
            said = f"The files of {case.places(rows)} are equal ({files})."
            found.append(Finding("identical", tuple(rows), said))
    return found


def _judged(
    case: Case, distances: Floats, own: Sequence[Stretch], *, in_doubt: str
) -> tuple[list[Stretch], str]:
    """The copies that lie far from their neighbours, and why these, in words.

    Where distances do not tell, `in_doubt` says which are kept: "last", or "none".
    """
    misfit = np.array([_misfit(distances, each) for each in own])
    at_home = [
        each for each, far in zip(own, misfit, strict=True) if far <= _CLEARLY * misfit.min()
    ]
    if len(at_home) > 1 and in_doubt == "none":
        return list(own), "which is the copy cannot be told, so all of them are left out."
    kept = at_home[-1]
    spoilt = [each for each in own if each != kept]
    rows = _rows(spoilt)
    copies = f"{case.places(rows)} {'is a copy' if len(rows) == 1 else 'are copies'}"
    if len(at_home) == 1:
        return spoilt, f"{case.place(kept[0])} is near its neighbours, {copies}."
    return spoilt, f"the last is kept, since distances do not tell which is in place; {copies}."


def _misfit(distances: Floats, own: Stretch) -> float:
    """The largest squared distance to a neighbour."""
    first, last = own
    beside = [distances[at] for at in (first - 1, last) if 0 <= at < len(distances)]
    return float(max(beside))


def _was_away(case: Case, own: Sequence[Stretch]) -> bool:
    """Whether more changed between two of the copies than may change back by chance."""
    least, changed = case.least_change, case.evidence.trace.changed
    return least is not None and any(
        changed[one[1] : other[0]].max() >= least for one, other in pairwise(own)
    )


def _comes_round(case: Case, own: Sequence[Stretch]) -> bool:
    """Whether a path of few weights, such as a circle without noise, comes by the same place."""
    misfit = np.array([_misfit(case.moves.squared_increments, each) for each in own])
    is_home = misfit.max() <= _CLEARLY * misfit.min()
    return bool(case.sizes.sum() < _FEW and is_home)


def _moves_much(case: Case) -> bool:
    """Whether checkpoints usually differ by more than may be nothing by chance."""
    changed = case.evidence.trace.changed
    moving = changed[changed > 0]
    least = case.least_change
    return least is not None and len(moving) > 0 and float(np.median(moving)) >= least


def _stretches(states: NDArray[np.integer]) -> list[Stretch]:
    begins = np.flatnonzero(np.diff(states, prepend=states[0] - 1))
    return list(zip(begins.tolist(), [*(begins[1:] - 1).tolist(), len(states) - 1], strict=True))


def _rows(own: Sequence[Stretch]) -> tuple[int, ...]:
    return tuple(row for first, last in own for row in range(first, last + 1))


def _equal(case: Case, rows: Sequence[int]) -> str:
    return f"{case.places(rows)} are equal"
