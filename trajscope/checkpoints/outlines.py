"""Which tensors all checkpoints of a series share, and where the others differ."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trajscope.checkpoints.base import Checkpoint, Series
from trajscope.checkpoints.sections import LeftOut
from trajscope.checkpoints.stored import Stored
from trajscope.errors import printable
from trajscope.readers.base import TensorSpec


@dataclass(frozen=True)
class Outline:
    """Checkpoints that hold arrays of the same names, shapes and dtypes."""

    checkpoints: list[Checkpoint]
    kept: Mapping[str, Stored]
    left_out: Mapping[str, LeftOut]


def grouped(series: Series) -> list[list[Checkpoint]]:
    """Checkpoints grouped by what their headers list and share, the largest group first."""
    groups: list[list[Checkpoint]] = []
    known: dict[tuple[object, ...], int] = {}
    # Readers share the table of tensors between files with equal headers.
    seen: dict[tuple[int, ...], int] = {}
    for checkpoint in series.checkpoints:
        tables = tuple(id(part.header.tensors) for part in checkpoint.parts)
        if tables not in seen:
            shared: dict[tuple[int, str], int] = {}  # which arrays share memory, whatever its name
            outline = tuple(
                (
                    *(index, part.shown(name), spec.shape, spec.dtype, spec.role),
                    shared.setdefault((index, spec.storage or name), len(shared)),
                )
                for index, part in enumerate(checkpoint.parts)
                for name, spec in part.header.tensors.items()
            )
            seen[tables] = known.setdefault(outline, len(known))
            if seen[tables] == len(groups):
                groups.append([])
        groups[seen[tables]].append(checkpoint)
    return sorted(groups, key=len, reverse=True)


def arrays_of(series: Series, checkpoint: Checkpoint) -> dict[str, Stored]:
    """Every array of a checkpoint by its name there, weights or not."""
    if series.store is not None:
        tensors = series.store.header.tensors
        shown = [tensor.name or array for array, tensor in tensors.items()]
        return {
            name: Stored(0, array, TensorSpec(tensor.shape, tensor.one_dtype))
            for name, (array, tensor) in zip(
                shown if len(set(shown)) == len(shown) else tensors, tensors.items(), strict=True
            )
        }
    return {
        part.shown(name): Stored(index, name, spec)
        for index, part in enumerate(checkpoint.parts)
        for name, spec in part.header.tensors.items()
    }


def usual_shapes(outlines: Sequence[Outline]) -> dict[str, tuple[int, ...]]:
    """Each tensor that more than half of the checkpoints hold, with its most frequent shape."""
    total = sum(len(outline.checkpoints) for outline in outlines)
    shapes: dict[str, Counter[tuple[int, ...]]] = defaultdict(Counter)
    for outline in outlines:
        for name, stored in outline.kept.items():
            shapes[name][stored.spec.shape] += len(outline.checkpoints)
    return {
        name: counts.most_common(1)[0][0]
        for name, counts in shapes.items()
        if 2 * counts.total() > total
    }


def agreeing(outline: Outline, usual: Mapping[str, tuple[int, ...]]) -> int:
    """How many of the usual tensors the checkpoints of an outline hold in their usual shape."""
    return sum(
        1
        for name, shape in usual.items()
        if name in outline.kept and outline.kept[name].spec.shape == shape
    )


def changed_tensors(
    outlines: Sequence[Outline], usual: Mapping[str, tuple[int, ...]]
) -> dict[str, str]:
    """For each tensor that is not the same at every checkpoint, where it differs and how."""
    changes: dict[str, str] = {}
    for outline in outlines:
        first = min(outline.checkpoints, key=lambda checkpoint: checkpoint.step)
        where = f"at step {first.step} ({printable(first.relative)})"
        for name, shape in usual.items():
            stored = outline.kept.get(name)
            if stored is None and name in outline.left_out:
                changes.setdefault(name, f"{where}: {outline.left_out[name].reason}")
            elif stored is None:
                changes.setdefault(name, f"missing {where}")
            elif stored.spec.shape != shape:
                changes.setdefault(
                    name, f"shape {stored.spec.shape} {where}, but {shape} at most steps"
                )
        for name, stored in outline.kept.items():
            if name not in usual:
                changes.setdefault(
                    name, f"shape {stored.spec.shape} {where}, but missing at most steps"
                )
    return changes
