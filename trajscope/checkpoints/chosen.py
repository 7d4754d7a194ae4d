"""A run that was chosen as a series: its checkpoints by step, and what is told of it."""

from collections.abc import Sequence
from pathlib import Path

from trajscope.checkpoints.base import Candidate, Checkpoint, Series, Skipped
from trajscope.checkpoints.chain import Chain, chained, coordinates_of
from trajscope.checkpoints.changes import changes
from trajscope.checkpoints.repeats import one_per_step
from trajscope.checkpoints.scan import Scan
from trajscope.checkpoints.segments import Run
from trajscope.checkpoints.steps import ordered_steps
from trajscope.errors import CheckpointError, TrajectoryError, printable

_LISTED = 10


def series_of(
    run: Run,
    runs: Sequence[Run],
    found: Scan,
    skipped: list[Skipped],
    order: str,
    *,
    strict: bool,
) -> Series:
    """The checkpoints of a run of `runs`, one for each step.

    Raises
    ------
    TrajectoryError
        There is only one, or no step; or with `strict` a step occurs twice.
    CheckpointError
        With `strict`: one cannot be read.
    """
    damaged = [candidate for candidate in run.candidates if not candidate.parts]
    if damaged and strict:
        raise CheckpointError(damaged[0].damage)
    warnings = []
    if damaged:
        warnings.append(
            f"{len(damaged)} of {len(run.candidates)} checkpoints cannot be read and were skipped; "
            f"the first: {damaged[0].damage}"
        )
    chain = _chain(run, found, order, warnings)
    counts = list(zip(*chain.coordinates.values(), strict=True))
    checkpoints, doubles, double_warnings = one_per_step(
        chain.candidates,
        chain.steps.values,
        counts or [()] * len(chain.candidates),
        strict=strict,
    )
    return Series(
        root=found.root,
        run=run.name,
        runs=tuple(each.name for each in runs),
        checkpoints=tuple(checkpoints),
        step_unit=chain.steps.unit,
        step_source=chain.steps.source,
        skipped=(*found.skipped, *skipped, *damaged_of(damaged), *chain.skipped, *doubles),
        warnings=(*warnings, *_branches(run, runs), *chain.steps.warnings, *double_warnings),
        decisions=(
            *_of_cache(checkpoints, found),
            *_decisions(run),
            *chain.decisions,
            *changes(checkpoints, chain.candidates),
        ),
        coordinates=tuple(chain.coordinates),
        unmatched=unmatched_of(found),
        averaged=run.is_average,
        renamed=bool(found.caches),
    )


def no_folder(path: Path) -> TrajectoryError:
    """The error for a file that holds no trajectory."""
    return TrajectoryError(
        f"{printable(path)} is a file; a folder of checkpoints was expected, or one file with a "
        f"state dict for each step. Give its folder: {printable(path.parent)}"
    )


def _chain(run: Run, found: Scan, order: str, warnings: Sequence[str]) -> Chain:
    """What can be read of the run, its segments behind one another or in the order asked for."""
    segments = [
        segment.at(rows)
        for segment in run.segments
        if (rows := [row for row, each in enumerate(segment.candidates) if each.parts])
    ]
    readable = [candidate for segment in segments for candidate in segment.candidates]
    if len(readable) == 1 and not found.root.is_dir():
        raise no_folder(found.root)
    if len(readable) == 1:
        raise TrajectoryError(
            f"{printable(found.root)} holds one checkpoint, {printable(readable[0].relative)}; at "
            "least 2 are needed."
            + (
                f" {warnings[0]}"
                if warnings
                else " Download more revisions by their names."
                if found.caches
                else " Save checkpoints more often, or give the parent folder."
            )
        )
    if order == "step":
        return chained(segments, found.root)
    return Chain(tuple(readable), ordered_steps(readable, order), coordinates_of(segments))


def _branches(run: Run, runs: Sequence[Run]) -> list[str]:
    """A warning where runs branch off from this one, with what continues it."""
    branches = [each for each in runs if each.trunk == run.name]
    if not branches:
        return []
    names = ", ".join(
        f"{printable(each.name)} ({each.readable} checkpoint{'' if each.readable == 1 else 's'})"
        for each in branches[:_LISTED]
    ) + (f" and {len(branches) - _LISTED} more" if len(branches) > _LISTED else "")
    return [
        f"{len(branches)} branch{'' if len(branches) == 1 else 'es'} of this run "
        f"{'is' if len(branches) == 1 else 'are'} left out: {names}. To continue into one: --run "
        f"'{printable(run.name)},{printable(branches[0].name)}'."
    ]


def _of_cache(checkpoints: Sequence[Checkpoint], found: Scan) -> tuple[str, ...]:
    """That a run lies in a cache of the Hub, where it does."""
    return tuple(
        f"The folder is a cache of the Hugging Face Hub; its refs name {count} revision"
        f"{'' if count == 1 else 's'} of the model, which are read as checkpoints."
        for cache, count in found.caches.items()
        if count and checkpoints[0].path.is_relative_to(cache)
    )


def _decisions(run: Run) -> tuple[str, ...]:
    """What the user should know of how files were made checkpoints."""
    told = [f"Joined, in this order: {', '.join(map(printable, run.parts))}."] if run.parts else []
    first = next(each for each in run.candidates if each.parts)
    parts = [part.file.relative for part in first.parts]
    if len(parts) < 2:
        return tuple(told)
    names = ", ".join(printable(name) for name in parts[:3])
    names += f" and {len(parts) - 3} more" if len(parts) > 3 else ""
    told.append(f"Each checkpoint consists of several files; the first of {len(parts)}: {names}.")
    return tuple(told)


def damaged_of(candidates: Sequence[Candidate]) -> list[Skipped]:
    """Those of the candidates that cannot be read, and why."""
    return [
        Skipped(printable(candidate.relative), candidate.damage)
        for candidate in candidates
        if not candidate.parts
    ]


def unmatched_of(found: Scan) -> tuple[str, ...]:
    """The globs of ``exclude`` that matched no file."""
    return tuple(glob for glob in found.exclude if glob not in found.matched)
