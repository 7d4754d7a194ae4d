"""One checkpoint per step, where several files of a run say the same step."""

from collections import defaultdict
from collections.abc import Sequence

from trajscope.checkpoints.base import Candidate, Checkpoint, Skipped
from trajscope.checkpoints.counters import Step
from trajscope.errors import TrajectoryError, printable
from trajscope.readers.files import same_content


def one_per_step(
    candidates: Sequence[Candidate],
    steps: Sequence[Step],
    counts: Sequence[tuple[int | float | str | None, ...]],
    *,
    strict: bool,
) -> tuple[list[Checkpoint], list[Skipped], list[str]]:
    """Checkpoints with steps that increase strictly; of several at one step the newest is kept.

    The newest is the one written last, since a resumed run repeats the steps after its restart;
    among equally old ones the last in the order of names. `counts` are what else is counted at
    each candidate.
    """
    counted = {id(each): own for each, own in zip(candidates, counts, strict=True)}
    by_step: dict[Step, list[Candidate]] = defaultdict(list)
    for candidate, step in zip(candidates, steps, strict=True):
        by_step[step].append(candidate)
    kept, skipped, differing = [], [], []
    for step, group in sorted(by_step.items()):
        if len(group) == 1:
            (taken,) = group
            own = counted[id(taken)]
            kept.append(Checkpoint(step, taken.path, taken.relative, taken.parts, counts=own))
            continue
        newest = max(group, key=_age)
        copies = [each for each in group if each is newest or _same_content(each, newest)]
        taken = min(copies, key=lambda each: (len(each.relative), each.relative))
        own = counted[id(taken)]
        kept.append(Checkpoint(step, taken.path, taken.relative, taken.parts, counts=own))
        for other in group:
            if other is taken:
                continue
            if other in copies:
                reason = f"a copy of {printable(taken.relative)}"
            else:
                reason = f"step {step} repeated; {printable(taken.relative)} was written later"
                differing.append((step, other, taken))
            skipped.append(Skipped(printable(other.relative), reason))
    if not differing:
        return kept, skipped, []
    step, other, taken = differing[0]
    message = (
        f"{len(differing)} {'checkpoints repeat' if len(differing) > 1 else 'checkpoint repeats'} "
        f"a step with other weights, first step {step} in {printable(other.relative)} and "
        f"{printable(taken.relative)}; "
    )
    if strict:
        raise TrajectoryError(
            message + "expected one checkpoint per step. Leave one out with --exclude."
        )
    return kept, skipped, [message + "the one written last is used."]


def _age(candidate: Candidate) -> tuple[int, str]:
    return max(part.file.mtime_ns for part in candidate.parts), candidate.relative


def _same_content(first: Candidate, second: Candidate) -> bool:
    """Whether the files of two candidates are equal byte by byte, and hold one checkpoint each."""
    if any(part.inside for part in first.parts):
        return False
    if [part.file.size for part in first.parts] != [part.file.size for part in second.parts]:
        return False
    pairs = zip(first.parts, second.parts, strict=True)
    try:
        return all(
            a.file.identity == b.file.identity or same_content(a.file.path, b.file.path)
            for a, b in pairs
        )
    except OSError:
        return False
