"""Which of the checkpoints that are folders of chunks are still being written."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from trajscope.checkpoints.base import Candidate
from trajscope.errors import printable


def unfinished_damaged(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates, with those damaged that hold less than the checkpoints beside them.

    A chunk of nothing but zeros is not stored, so one that is missing says nothing by itself. It
    does where the checkpoint before has it: at the end of a run the rest is still being written,
    and inside it, where the checkpoint after has it too, something was lost.
    """
    families: dict[tuple[str, str], list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        if candidate.parts and all(part.header.partial is not None for part in candidate.parts):
            families[candidate.name.place, candidate.name.pattern].append(candidate)
    damage = {}
    for family in families.values():
        family.sort(key=lambda candidate: candidate.name.values)
        damage.update(_lost(family))
    return [
        replace(candidate, parts=(), damage=damage[candidate.relative])
        if candidate.relative in damage
        else candidate
        for candidate in candidates
    ]


def _lost(family: list[Candidate]) -> dict[str, str]:
    """What is wrong with some checkpoints of one run, by their path."""
    damage = {}
    while len(family) > 1 and (what := _lacks(family[-1], family[-2])):
        last = family.pop()
        damage[last.relative] = (
            f"{printable(last.relative)} lacks {what}, which the checkpoint before it has. It may "
            "be unfinished; wait, or leave it out with --exclude."
        )
    before = family[:1]
    for candidate, after in pairwise(family[1:]):
        what = _lacks(candidate, before[0])
        if what and _lacks(candidate, after):
            damage[candidate.relative] = (
                f"{printable(candidate.relative)} lacks {what}, which the checkpoints before and "
                "after it have. Copy it again, or leave it out with --exclude."
            )
        else:
            before = [candidate]
    return damage


def _lacks(candidate: Candidate, other: Candidate) -> str:
    """In words, the first array that `other` has more of; "" if there is none."""
    for part, beside in zip(candidate.parts, other.parts, strict=False):
        own, theirs = part.header, beside.header
        for name, spec in theirs.tensors.items():
            if name not in own.tensors:
                return f"the array '{printable(name)}'"
            there = (own.partial or {}).get(name)
            if there is None or own.tensors[name].shape != spec.shape:
                continue
            known = (theirs.partial or {}).get(name)
            if known is None or known - there:
                return f"chunks of the array '{printable(name)}'"
    return ""
