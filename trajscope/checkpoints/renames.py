"""Tensors that are called otherwise in some checkpoints, matched one to one."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile

from trajscope.checkpoints.outlines import Outline
from trajscope.errors import TrajectoryError, printable
from trajscope.readers.natural import natural_key

Shape = tuple[int, ...]
# What frameworks call the two weights of a norm.
_SYNONYMS = {"gamma": "weight", "beta": "bias", "scale": "weight", "kernel": "weight"}
_SHOWN = 2


def with_one_set_of_names(outlines: Sequence[Outline]) -> tuple[list[Outline], list[str]]:
    """The outlines with the names of the first in all of them, and what was decided.

    Tensors that one lacks are matched with those that it has instead, of equal shapes: by the
    longest common end of their names; where most are called otherwise, also by what is the only
    one of its shape in its layer, and by the order in files that list the tensors in the order of
    the model. Where few are, one name has to end with the other, but for words such as "gamma".

    Raises
    ------
    TrajectoryError
        Most tensors are called otherwise and cannot be told apart.
    """
    total = sum(len(outline.checkpoints) for outline in outlines)
    if len(outlines) < 2 or 2 * len({frozenset(each.kept) for each in outlines}) > total:
        return list(outlines), []  # a run gets other names once or twice, not all the time
    first, *others = outlines
    reference = {name: stored.spec.shape for name, stored in first.kept.items()}
    result, told = [first], []
    for outline in others:
        own = {name: stored.spec.shape for name, stored in outline.kept.items()}
        missing = {name: shape for name, shape in reference.items() if name not in own}
        extra = {name: shape for name, shape in own.items() if name not in reference}
        mostly = 2 * len(extra) > len(own)
        names = _matched(extra, missing, mostly=mostly)
        if names is None and mostly and _most_shapes(extra, missing):
            raise _ambiguous(outline, extra, missing)
        if not names or (mostly and 2 * len(names) < len(extra)):
            result.append(outline)
            continue
        kept = {names.get(name, name): stored for name, stored in outline.kept.items()}
        result.append(replace(outline, kept=kept))
        told.append(_told(outline, names))
    return result, told


def _most_shapes(extra: Mapping[str, Shape], missing: Mapping[str, Shape]) -> bool:
    """Whether most tensors have one of their shape on the other side."""
    shared = (Counter(extra.values()) & Counter(missing.values())).total()
    return 2 * shared > max(len(extra), len(missing))


def _matched(
    extra: Mapping[str, Shape], missing: Mapping[str, Shape], *, mostly: bool
) -> dict[str, str] | None:
    """For each name the one that it stands for; `None` where two are equally good."""
    left, right, names = dict(extra), dict(missing), dict[str, str]()

    def take(pairs: Mapping[str, str]) -> None:
        for name, other in pairs.items():
            names[name] = other
            del left[name], right[other]

    take(_by_end(left, right, whole=not mostly))
    if not mostly:
        return names
    take(_by_layer(left, right))
    if set(left.values()) & set(right.values()):
        in_order = _in_order(extra, missing)
        agrees = all(in_order.get(name) == other for name, other in names.items())
        return in_order if in_order and agrees else None
    return names


def _by_end(
    left: Mapping[str, Shape], right: Mapping[str, Shape], *, whole: bool
) -> dict[str, str]:
    """Pairs of one shape and layer whose names end alike, each the other's only best."""
    pairs: dict[str, str] = {}
    for members, others in _groups(left, right):
        best = {name: _best(name, others, whole=whole) for name in members}
        back = {other: _best(other, members, whole=whole) for other in others}
        pairs |= {
            name: other for name, other in best.items() if other is not None and back[other] == name
        }
    return pairs


def _by_layer(left: Mapping[str, Shape], right: Mapping[str, Shape]) -> dict[str, str]:
    """Pairs that are the only ones of their shape in their layer."""
    return {
        members[0]: others[0]
        for members, others in _groups(left, right)
        if len(members) == len(others) == 1
    }


def _groups(
    left: Mapping[str, Shape], right: Mapping[str, Shape]
) -> list[tuple[list[str], list[str]]]:
    """Names of one shape and with the same numbers in them: those on the left, on the right."""
    groups: dict[object, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for side, names in enumerate((left, right)):
        for name, shape in names.items():
            numbers = tuple(part for part in _levels(name) if part.isdigit())
            groups[shape, numbers][side].append(name)
    return list(groups.values())


def _levels(name: str) -> list[str]:
    return [_SYNONYMS.get(part, part) for part in name.replace("/", ".").split(".")]


def _best(name: str, others: Sequence[str], *, whole: bool) -> str | None:
    """The name that ends like this one for longest; `None` where there is none, or two.

    With `whole` it has to end with all of the shorter name.
    """
    ends = sorted(((_common_end(name, other), other) for other in others), reverse=True)
    if not ends or ends[0][0] == 0 or (len(ends) > 1 and ends[1][0] == ends[0][0]):
        return None
    length, other = ends[0]
    return None if whole and length < min(len(_levels(name)), len(_levels(other))) else other


def _common_end(one: str, other: str) -> int:
    """How many levels of two names are the same, from the last on."""
    pairs = zip(reversed(_levels(one)), reversed(_levels(other)), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _in_order(extra: Mapping[str, Shape], missing: Mapping[str, Shape]) -> dict[str, str]:
    """The names in the order of both files; none where a file sorts its tensors by name."""
    sides = [list(extra), list(missing)]
    is_sorted = any(side in (sorted(side), sorted(side, key=natural_key)) for side in sides)
    if is_sorted or list(extra.values()) != list(missing.values()):
        return {}
    return dict(zip(*sides, strict=True))


def _told(outline: Outline, names: Mapping[str, str]) -> str:
    first = min(outline.checkpoints, key=lambda checkpoint: checkpoint.step)
    renamed = [(new, old) for new, old in names.items() if new != old]
    shown = ", ".join(f"{printable(new)} is {printable(old)}" for new, old in renamed[:_SHOWN])
    more = f" and {len(renamed) - _SHOWN} more" if len(renamed) > _SHOWN else ""
    return (
        f"{len(renamed)} tensors have other names in {len(outline.checkpoints)} checkpoints, first "
        f"at step {first.step}, and were matched by their names and shapes: {shown}{more}."
    )


def _ambiguous(
    outline: Outline, extra: Mapping[str, Shape], missing: Mapping[str, Shape]
) -> TrajectoryError:
    first = min(outline.checkpoints, key=lambda checkpoint: checkpoint.step)
    return TrajectoryError(
        f"{printable(first.relative)}: the tensors of all checkpoints are expected to have the "
        f"same names; from step {first.step} {len(extra)} have others "
        f"({printable(next(iter(extra)))}, ... instead of {printable(next(iter(missing)))}, ...), "
        "and several have the same shape, so which is which cannot be said. Open one part with "
        "--steps, or rename the tensors."
    )
