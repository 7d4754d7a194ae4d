"""One checkpoint per step, where several files of a run say the same step."""

from collections import defaultdict
from collections.abc import Sequence

from trajscope.checkpoints.base import Candidate, Checkpoint, CheckpointPart, Skipped
from trajscope.checkpoints.counters import Step
from trajscope.errors import CheckpointError, TrajectoryError, printable
from trajscope.readers.base import TensorSpec
from trajscope.readers.files import is_here, same_content

_BLOCK = 2**20
"""Elements that are compared at once."""


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
                reason = f"a copy of {_shown(taken, other)}"
            else:
                reason = f"step {step} repeated; {_shown(taken, other)} was written later"
                differing.append((step, other, taken))
            skipped.append(Skipped(_shown(other, taken), reason))
    if not differing:
        return kept, skipped, []
    step, other, taken = differing[0]
    message = (
        f"{len(differing)} {'checkpoints repeat' if len(differing) > 1 else 'checkpoint repeats'} "
        f"a step with other weights, first step {step} in {_shown(other, taken)} and "
        f"{_shown(taken, other)}; "
    )
    if strict:
        raise TrajectoryError(
            message + "expected one checkpoint per step. Leave one out with --exclude."
        )
    return kept, skipped, [message + "the one written last is used."]


def _age(candidate: Candidate) -> tuple[int, str]:
    return max(part.file.mtime_ns for part in candidate.parts), candidate.relative


def _shown(candidate: Candidate, beside: Candidate) -> str:
    """How a candidate is called; shards without an index, as a file beside them, by the first."""
    same = candidate.relative == beside.relative and len(candidate.parts) > 1
    return printable(candidate.parts[0].file.relative if same else candidate.relative)


def _same_content(first: Candidate, second: Candidate) -> bool:
    """Whether two candidates hold one checkpoint each, and the same: in files or in tensors."""
    if any(part.inside for part in (*first.parts, *second.parts)):
        return False
    try:
        return _same_files(first, second) or _same_tensors(first, second)
    except (OSError, CheckpointError, TypeError):  # of a dtype without numbers
        return False


def _same_files(first: Candidate, second: Candidate) -> bool:
    if [part.file.size for part in first.parts] != [part.file.size for part in second.parts]:
        return False
    pairs = zip(first.parts, second.parts, strict=True)
    return all(
        a.file.identity == b.file.identity or same_content(a.file.path, b.file.path)
        for a, b in pairs
    )


def _same_tensors(first: Candidate, second: Candidate) -> bool:
    """Whether all tensors are equal, in whatever files; `False` where that cannot be read here."""
    one, other = _tensors(first), _tensors(second)
    described = [
        {name: (spec.shape, spec.dtype, spec.original) for name, (_, spec) in each.items()}
        for each in (one, other)
    ]
    here = all(is_here(part.file.path) for part in (*first.parts, *second.parts))
    if not here or described[0] != described[1]:
        return False
    return all(
        _values(one[name], start) == _values(other[name], start)
        for name, (_, spec) in one.items()
        for start in range(0, spec.size, _BLOCK)
    )


_Tensor = tuple[CheckpointPart, TensorSpec]


def _tensors(candidate: Candidate) -> dict[str, _Tensor]:
    return {
        part.shown(name): (part, spec)
        for part in candidate.parts
        for name, spec in part.header.tensors.items()
    }


def _values(tensor: _Tensor, start: int) -> bytes:
    part, spec = tensor
    stop = min(start + _BLOCK, spec.size)
    return part.reader.read_range(part.file.path, spec, start, stop).tobytes()
