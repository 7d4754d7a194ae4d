"""Checkpoints off the road between the others: outliers, a foreign start, a jump."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajscope.inference.audit.case import Case, Finding
from trajscope.kernels.gram import Floats

_NEIGHBOURS: Final = 21
_FAR: Final = 4.0
"""Times the median of its neighbours that the detour of an outlier is at least."""
_LARGE: Final = 3.0
"""Times the median squared increment that both of its increments are at least."""
_BACK: Final = -0.5
"""Cosine of the two increments of an outlier at most."""
_UNUSUAL: Final = 5.0
"""Deviations of the cosines beside it by which that of an outlier lies below their median."""
_FEWEST_TELLING: Final = 64
"""Weights: the cosines of fewer are coarse."""
_FEWEST_UPPER: Final = 8
_HUGE: Final = 100.0
"""Times the median squared increment of both increments, from which on any cosine below is one."""
_FEWEST_INCREMENTS: Final = 7
_SIGMAS: Final = 5.0
_ALIKE: Final = 0.5
"""Cosine of the second and third checkpoint from which on they are taken to be of one run."""
_MOST_WEIGHTS: Final = 0.9
_JUMP: Final = 0.5
_ABOVE: Final = 100.0
"""Times its neighbours that an increment is at least which is a jump."""


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
        if not is_far:
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
    """A first checkpoint that is as far from all later ones as any stranger."""
    moves = case.evidence.moves
    numbers = [number for number in moves if number > 0] or [0]
    if len(case.steps) < 4:
        return []
    sizes = np.bincount(case.groups, case.sizes, max(moves) + 1)
    foreign, judged = 0.0, 0.0
    for number in numbers:
        own = moves[number]
        if sizes[number] < _FEWEST_OF_A_GROUP or own.squared_positions[:3].min() <= 0:
            continue
        judged += sizes[number]
        if _is_stranger(own.squared_displacements, own.squared_positions, sizes[number]) and (
            _cosine(own.squared_increments[1], own.squared_positions, 1, 2) > _ALIKE
        ):
            foreign += sizes[number]
    if not judged or foreign < _MOST_WEIGHTS * judged or judged < _ALIKE * sizes.sum():
        return []
    squared, positions = case.moves.squared_displacements, case.moves.squared_positions
    apart = np.sqrt(squared[1:] / (positions[1:] + positions[0]))
    said = (
        f"The rest does not descend from {case.place(0)}: it is as far from every later checkpoint "
        f"as independent weights are (relative distance {apart.min():.3f} to {apart.max():.3f})."
    )
    return [Finding("foreign_start", (0,), said, spoilt=(0,))]


def jump(case: Case) -> list[Finding]:
    """An increment that holds most of the squared path, far above those beside it."""
    squared = case.moves.squared_increments
    if len(squared) < _FEWEST_INCREMENTS:
        return []
    at = int(squared.argmax())
    share = float(squared[at] / squared.sum()) if squared[at] > 0 else 0.0
    if share <= _JUMP or at == 0:
        return []
    gaps = np.diff(case.steps.astype(np.float64))
    pace = squared / gaps**2  # as of a straight motion: a longer interval may hold this much more
    beside = [each for each in (at - 2, at - 1, at + 1, at + 2) if 0 <= each < len(squared)]
    if min(squared[at], pace[at] * np.median(gaps) ** 2) < _ABOVE * squared[beside].max():
        return []
    one, other = case.place(at), case.place(at + 1)
    said = (
        f"The increment from {one} to {other} holds {share:.0%} of the squared path, "
        f"{_times(squared[at], squared[beside].max())} as long as those beside it. Analyze either "
        f"side: --steps :{case.steps[at + 1]} or --steps {case.steps[at + 1]}:"
    )
    return [Finding("jump", (at, at + 1), said)]


_FEWEST_OF_A_GROUP: Final = 256


def _is_stranger(squared: Floats, positions: Floats, n_weights: float) -> bool:
    """Whether no later checkpoint has more in common with the first than chance gives."""
    cosines = [_cosine(squared[t], positions, 0, t) for t in range(1, len(positions))]
    return bool(np.abs(cosines).max() <= _SIGMAS / np.sqrt(n_weights))


def _cosine(squared_distance: float, positions: Floats, one: int, other: int) -> float:
    a, b = positions[one], positions[other]
    if min(a, b) <= 0:
        return 0.0
    return float((a + b - squared_distance) / (2 * np.sqrt(a * b)))


def _is_unusual(cosine: float, others: Floats) -> bool:
    """Whether a cosine lies far below the others, of which a quarter may be outliers too."""
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
