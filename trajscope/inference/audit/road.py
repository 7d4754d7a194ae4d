"""Checkpoints off the road between the others: outliers, a foreign start, a jump."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajscope.inference.audit.case import Case, Finding
from trajscope.kernels.gram import Floats
from trajscope.measure.evidence import Moves, added

_NEIGHBOURS: Final = 21
_FAR: Final = 4.0
"""Times the median of its neighbours that the detour of an outlier is at least."""
_LARGE: Final = 3.0
"""Times the median squared increment that both of its increments are at least."""
_AND_BACK: Final = 9.0
"""Times the smaller of its squared increments that the larger is at most."""
_BACK: Final = -0.5
"""Cosine of the two increments of an outlier at most."""
_UNUSUAL: Final = 5.0
"""Deviations of the cosines beside it by which that of an outlier lies below their median."""
_FEWEST_TELLING: Final = 64
"""Weights: the cosines of fewer are coarse."""
_FEWEST_UPPER: Final = 8
_HUGE: Final = 30.0
"""Times the median squared increment of both increments, from which on any cosine below is one."""
_MOST_TURNS: Final = 1
"""Other turns beside an outlier at which the path goes back as sharply."""
_FEWEST_INCREMENTS: Final = 7

_SIGMAS: Final = 5.0
_STRANGE: Final = 0.2
"""Cosine of independent weights at most, also where there are few."""
_ALIKE: Final = 0.5
"""Cosine of the second and third checkpoint from which on they are taken to be of one run."""
_CONSTANT: Final = 0.9
"""Cosine from which on a group is taken to start from constants, as the gains of norms do."""
_MOST_CONSTANT: Final = 0.1
_FEWEST_WEIGHTS: Final = 256

_JUMP: Final = 0.5
_ABOVE: Final = 100.0
"""Times the two increments before it that an increment is at least which is a jump."""
_ABOVE_NEXT: Final = 9.0
"""Times the two behind it: what training does in answer to a jump is not small."""
_ABOVE_ALL: Final = 4.0
"""Times every other one."""
_AWAY: Final = 0.1
"""Squared length of a jump over the squared norms of the weights at its ends, at least."""
_HALF: Final = 0.5
"""Share of the groups whose longest increment it is, at least."""

_CLOSER: Final = 0.75
"""Times the spacing before that the spacing of interleaved checkpoints is at most."""
_FEWEST_INTERLEAVED: Final = 8
_TO_AND_FRO: Final = -0.6
"""Median cosine of successive increments where every second checkpoint is of another branch."""
_BEFORE: Final = -0.3
"""The same before at least: the path did not alternate by itself."""


def detour(case: Case) -> list[Finding]:
    """Checkpoints to which the path goes and from which it comes straight back.

    The detour at k is ``d(k-1,k) + d(k,k+1) - d(k-1,k+1) = -2 <y[k-1], y[k]>``, d squared
    distances, y increments. Where the path turns round often, since it has few directions to go or
    since it oscillates, cosines tell little: then both increments must be huge.
    """
    squared, products = case.moves.squared_increments, case.moves.neighbour_products
    if len(squared) < _FEWEST_INCREMENTS:
        return []
    found = []
    norms = np.sqrt(squared[:-1] * squared[1:])
    cosine = np.divide(products, norms, out=np.zeros_like(norms), where=norms > 0)
    smaller = np.minimum(squared[:-1], squared[1:])
    for turn in np.flatnonzero(cosine < _BACK).tolist():
        around = _around(turn, len(products))
        usual = float(np.median(np.maximum(-2 * products[around], 0)))
        beside = np.union1d(around, around + 1)
        step = float(np.median(np.delete(squared[beside], np.isin(beside, (turn, turn + 1)))))
        is_far = -2 * products[turn] > _FAR * usual and smaller[turn] > _LARGE * step > 0
        # New weights that training pulls back a little stay: a jump.
        is_back = max(squared[turn : turn + 2]) <= _AND_BACK * smaller[turn]
        if not (is_far and is_back):
            continue
        tells = case.sizes.sum() >= _FEWEST_TELLING and _is_unusual(cosine[turn], cosine[around])
        if smaller[turn] <= _HUGE * step and not tells:
            continue
        row = turn + 1
        said = (
            f"{case.place(row).capitalize()} is off the road: the way there and back is "
            f"{_times(smaller[turn], step)} as long as a usual increment, and turns round (cosine "
            f"{cosine[turn]:.2f}). Is it of another run, a cast or an average of weights?"
        )
        found.append(Finding("detour", (row,), said, spoilt=(row,)))
    return found


def foreign_start(case: Case) -> list[Finding]:
    """A first checkpoint that is as far from all later ones as any stranger.

    Groups that start from constants, such as the gains of norms, are alike in all runs: they are
    not asked.
    """
    if len(case.steps) < 4:
        return []
    moves = case.evidence.moves
    sizes = np.bincount(case.groups, case.sizes, max(moves) + 1)
    numbers = [number for number in moves if number > 0] or [0]
    asked = [number for number in numbers if _start_cosines(moves[number])[0] < _CONSTANT]
    n_asked = float(sum(sizes[number] for number in asked))
    if n_asked < max(_FEWEST_WEIGHTS, (1 - _MOST_CONSTANT) * sizes.sum()):
        return []
    together = added([moves[number] for number in asked])
    cosines = np.abs(_start_cosines(together))
    second = _cosine(together.squared_increments[1], together.squared_positions, 1, 2)
    limit = min(_SIGMAS / np.sqrt(n_asked), _STRANGE)
    if not together.squared_positions[0] > 0 or cosines.max() > limit or second <= _ALIKE:
        return []
    said = (
        f"The rest does not descend from {case.place(0)}: its cosine with later checkpoints is at "
        f"most {cosines.max():.2g}, as of independent weights, where theirs is {second:.2f}."
    )
    return [Finding("foreign_start", (0,), said, spoilt=(0,))]


def jump(case: Case) -> list[Finding]:
    """An increment that holds most of the squared path, far above all others, in most groups."""
    squared = case.moves.squared_increments
    if len(squared) < _FEWEST_INCREMENTS:
        return []
    at = int(squared.argmax())
    share = float(squared[at] / squared.sum()) if squared[at] > 0 else 0.0
    if share <= _JUMP or at == 0 or not _stands_out(case, at):
        return []
    one, other = case.place(at), case.place(at + 1)
    before = _longest(squared[max(at - 2, 0) : at])
    said = (
        f"The increment from {one} to {other} holds {share:.0%} of the squared path, "
        f"{_times(squared[at], before)} as long as those before it. Analyze either "
        f"side: --steps :{case.steps[at + 1]} or --steps {case.steps[at + 1]}:"
    )
    return [Finding("jump", (at, at + 1), said)]


def interleaved(case: Case) -> list[Finding]:
    """A stretch of closer checkpoints, every second of which lies on another path.

    A run that is resumed into the folder that it wrote to, from an earlier checkpoint and at other
    steps, leaves both branches, in turn. A path that alternates by itself does not begin to where
    the spacing changes.
    """
    squared, products = case.moves.squared_increments, case.moves.neighbour_products
    spacing = np.diff(case.steps.astype(np.float64))
    closer = np.flatnonzero(spacing <= _CLOSER * spacing[0])
    if not len(closer) or closer[0] < _FEWEST_INTERLEAVED:
        return []
    begin = int(closer[0])
    wide = np.flatnonzero(spacing[begin:] > _CLOSER * spacing[0])
    end = begin + int(wide[0]) if len(wide) else len(spacing)
    norms = np.sqrt(squared[:-1] * squared[1:])
    cosine = np.divide(products, norms, out=np.zeros_like(norms), where=norms > 0)
    before, within = cosine[: begin - 1], cosine[begin : end - 1]
    if end - begin < _FEWEST_INTERLEAVED or not (
        np.median(within) < _TO_AND_FRO and np.median(before[-_NEIGHBOURS:]) > _BEFORE
    ):
        return []
    stop = "" if end == len(spacing) else case.steps[end]  # which branch goes on is not known
    said = (
        f"From {case.place(begin)} to {case.place(end)} every second checkpoint is of another "
        f"branch: was the run resumed into the same folder? One of them: --steps "
        f"{case.steps[begin]}:{stop}:2. Checkpoints lie closer there, and the median cosine of "
        f"successive increments is {np.median(within):.2f}, before "
        f"{np.median(before[-_NEIGHBOURS:]):.2f}."
    )
    return [Finding("interleaved", (begin, end), said)]


def _stands_out(case: Case, at: int) -> bool:
    """Whether an increment is far above the others, also for its time, and moves the weights far.

    Increments of a few heavy-tailed weights differ too, but not in most groups, nor by so much
    beside the weights themselves.
    """
    squared, positions = case.moves.squared_increments, case.moves.squared_positions
    gaps = np.diff(case.steps.astype(np.float64))
    # As of a straight motion: a longer interval may hold this much more.
    pace = squared[at] * min(1.0, (np.median(gaps) / gaps[at]) ** 2)
    groups = [own for number, own in case.evidence.moves.items() if number > 0] or [case.moves]
    moving = [own.squared_increments for own in groups if own.squared_increments.any()]
    return bool(
        pace >= _ABOVE * _longest(squared[max(at - 2, 0) : at])
        and pace >= _ABOVE_NEXT * _longest(squared[at + 1 : at + 3])
        and pace >= _ABOVE_ALL * np.delete(squared, at).max()
        and squared[at] >= _AWAY * (positions[at] + positions[at + 1])
        and np.mean([own.argmax() == at for own in moving]) >= _HALF
    )


def _longest(squared: Floats) -> float:
    return float(squared.max(initial=0.0))


def _start_cosines(moves: Moves) -> Floats:
    """Cosines of the first checkpoint with every later one."""
    squared, positions = moves.squared_displacements, moves.squared_positions
    return np.array([_cosine(squared[t], positions, 0, t) for t in range(1, len(positions))])


def _cosine(squared_distance: float, positions: Floats, one: int, other: int) -> float:
    a, b = positions[one], positions[other]
    if min(a, b) <= 0:
        return 0.0
    return float((a + b - squared_distance) / (2 * np.sqrt(a * b)))


def _is_unusual(cosine: float, others: Floats) -> bool:
    """Whether a cosine lies far below the others, of which a quarter may be outliers too."""
    if np.count_nonzero(others < _BACK) > _MOST_TURNS:
        return False
    upper = np.sort(others)[len(others) // 4 :]
    return len(upper) >= _FEWEST_UPPER and bool(np.median(others) - cosine > _UNUSUAL * upper.std())


def _around(turn: int, n: int) -> NDArray[np.int64]:
    """The turns nearest to one, itself left out."""
    first = min(max(turn - _NEIGHBOURS // 2, 0), max(n - _NEIGHBOURS, 0))
    around = np.arange(first, min(first + _NEIGHBOURS, n))
    return np.asarray(around[around != turn], np.int64)


def _times(squared: float, usual: float) -> str:
    if usual <= 0:
        return "infinitely many times"
    return f"{np.sqrt(squared / usual):.3g} times"
