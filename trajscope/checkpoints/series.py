"""Which files under a folder are the checkpoints of one run, in the order of their steps."""

import filecmp
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trajscope.checkpoints.base import Candidate, Checkpoint, Series, Skipped, Store
from trajscope.checkpoints.counters import Step
from trajscope.checkpoints.names import counts_steps
from trajscope.checkpoints.parts import find_candidates
from trajscope.checkpoints.runs import Run, choose_run, find_runs
from trajscope.checkpoints.scan import Scan, is_result, scan, store_reader
from trajscope.checkpoints.steps import find_steps
from trajscope.errors import CheckpointError, TrajectoryError, printable
from trajscope.readers import READERS


def find_series(
    path: str | Path,
    *,
    run: str | None = None,
    exclude: Sequence[str] = (),
    strict: bool = False,
) -> Series:
    """The checkpoints of one run below a folder. Reads names and headers, no weights.

    Parameters
    ----------
    path :
        A folder, or one store of arrays with a step axis.
    run :
        Name of the run, where there are several.
    exclude :
        Globs; a file or folder whose name or relative path matches one is left out.
    strict :
        Fail where a checkpoint cannot be read or a step occurs twice, instead of warning.

    Raises
    ------
    TrajectoryError
        No checkpoint, several runs, or no step.
    OptionError
        No run of this name.
    CheckpointError
        With `strict`: a checkpoint cannot be read.
    """
    root = _existing(Path(path))
    reader = store_reader(root)
    if reader is not None:
        if is_result(root):
            raise TrajectoryError(
                f"{printable(root)} is a result of trajscope; checkpoints were expected. Show it "
                "with 'trajscope report'."
            )
        store = Store(root, reader, reader.read_header(root))
        return _store_series(root, root.name, store, tuple(exclude))
    if not root.is_dir():
        raise TrajectoryError(
            f"{printable(root)} is a file; a folder of checkpoints was expected, since one file "
            f"is one step. Give the folder it lies in: {printable(root.parent)}"
        )
    found = scan(root, tuple(exclude))
    runs, skipped = _find_runs(found)
    stores = _readable_stores(found)
    if not runs and not stores:
        raise TrajectoryError(_nothing_found(found, skipped))
    in_stores = [Run(name, name, "", (), store.header.n_steps) for name, store in stores.items()]
    listed = [*runs, *in_stores]
    chosen = choose_run(listed, run, root)
    if chosen in in_stores:
        series = _store_series(root, chosen.name, stores[chosen.name], found.exclude)
        return replace(
            series,
            runs=tuple(each.name for each in listed),
            skipped=(*found.skipped, *skipped),
            unmatched=_unmatched(found),
        )
    return _series_of(chosen, listed, found, skipped, strict=strict)


def _existing(path: Path) -> Path:
    """The folder at the end of all links, absolute."""
    try:
        return path.expanduser().resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as error:  # a name with NUL, a loop, no such user
        reason = error.strerror if isinstance(error, OSError) else error
        raise TrajectoryError(
            f"{printable(path)} cannot be reached: {printable(reason)}. A folder of checkpoints "
            "was expected; check the spelling and the permissions."
        ) from error


def _readable_stores(found: Scan) -> dict[str, Store]:
    """The stores below the folder that are trajectories, by relative path; others are skipped."""
    stores = {}
    for path, reader in found.stores:
        relative = path.relative_to(found.root).as_posix()
        try:
            stores[relative] = Store(path, reader, reader.read_header(path))
        except CheckpointError as error:
            found.skip(relative, str(error))
    single = [name for name, store in stores.items() if _is_one_step(store)]
    for name in single if len(single) > 1 else ():
        del stores[name]
        found.skip(name, "by its name a store of one step; a store with a step axis is read")
    return stores


def _is_one_step(store: Store) -> bool:
    """Whether a store without steps of its own has a name that says which step it holds."""
    return store.header.steps is None and counts_steps(store.path.name)


def _find_runs(found: Scan) -> tuple[list[Run], list[Skipped]]:
    """Runs with something to read in them; candidates without weights and strays are skipped."""
    candidates = []
    for candidate in find_candidates(found):
        if candidate.parts and not any(part.header.tensors for part in candidate.parts):
            found.skip(candidate.relative, "it holds no arrays")
        else:
            candidates.append(candidate)
    runs, skipped = find_runs(candidates, found.root)
    for run in runs:
        if not run.readable:
            skipped.extend(_damaged(run.candidates))
    return [run for run in runs if run.readable], skipped


def _series_of(
    run: Run, runs: Sequence[Run], found: Scan, skipped: list[Skipped], *, strict: bool
) -> Series:
    damaged = [candidate for candidate in run.candidates if not candidate.parts]
    if damaged and strict:
        raise CheckpointError(damaged[0].damage)
    warnings = []
    if damaged:
        warnings.append(
            f"{len(damaged)} of {len(run.candidates)} checkpoints cannot be read and were skipped; "
            f"the first: {damaged[0].damage}"
        )
    readable = [candidate for candidate in run.candidates if candidate.parts]
    if len(readable) == 1:
        raise TrajectoryError(
            f"{printable(found.root)} holds one checkpoint, {printable(readable[0].relative)}; "
            "at least 2 are needed to see a movement."
            + (f" {warnings[0]}" if warnings else " Log more often, or point at the folder above.")
        )
    steps = find_steps(readable, found.root)
    checkpoints, doubles, double_warnings = _one_per_step(readable, steps.values, strict=strict)
    return Series(
        root=found.root,
        run=run.name,
        runs=tuple(each.name for each in runs),
        checkpoints=tuple(checkpoints),
        step_unit=steps.unit,
        step_source=steps.source,
        skipped=(*found.skipped, *skipped, *_damaged(damaged), *doubles),
        warnings=(*warnings, *steps.warnings, *double_warnings),
        unmatched=_unmatched(found),
    )


def _damaged(candidates: Sequence[Candidate]) -> list[Skipped]:
    return [
        Skipped(printable(candidate.relative), candidate.damage)
        for candidate in candidates
        if not candidate.parts
    ]


def _unmatched(found: Scan) -> tuple[str, ...]:
    return tuple(glob for glob in found.exclude if glob not in found.matched)


def _one_per_step(
    candidates: Sequence[Candidate], steps: Sequence[Step], *, strict: bool
) -> tuple[list[Checkpoint], list[Skipped], list[str]]:
    """Checkpoints with steps that increase strictly; of several at one step the newest is kept.

    The newest is the one written last, since a resumed run repeats the steps after its restart;
    among equally old ones the last in the order of names.
    """
    by_step: dict[Step, list[Candidate]] = defaultdict(list)
    for candidate, step in zip(candidates, steps, strict=True):
        by_step[step].append(candidate)
    kept, skipped, differing = [], [], []
    for step, group in sorted(by_step.items()):
        newest = max(group, key=_age)
        copies = [each for each in group if each is newest or _same_content(each, newest)]
        taken = min(copies, key=lambda each: (len(each.relative), each.relative))
        kept.append(Checkpoint(step, taken.path, taken.relative, taken.parts))
        for other in group:
            if other is taken:
                continue
            if other in copies:
                reason = f"a copy of {printable(taken.relative)}"
            else:
                reason = f"step {step} again; {printable(taken.relative)} was written later"
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
        raise TrajectoryError(message + "one per step was expected. Leave one out with --exclude.")
    return kept, skipped, [message + "the one written last is taken."]


def _age(candidate: Candidate) -> tuple[int, str]:
    return max(part.file.mtime_ns for part in candidate.parts), candidate.relative


def _same_content(first: Candidate, second: Candidate) -> bool:
    """Whether the files of two candidates are equal byte by byte."""
    if [part.file.size for part in first.parts] != [part.file.size for part in second.parts]:
        return False
    pairs = zip(first.parts, second.parts, strict=True)
    try:
        return all(filecmp.cmp(a.file.path, b.file.path, shallow=False) for a, b in pairs)
    except OSError:
        return False


def _store_series(root: Path, name: str, store: Store, exclude: tuple[str, ...]) -> Series:
    """The series that lies in one store, ordered by its own step coordinate where it has one."""
    header = store.header
    unit, source = header.step_unit, header.step_source
    values: Sequence[float] = header.steps or ()
    if len(values) != header.n_steps or not all(math.isfinite(value) for value in values):
        values = range(header.n_steps)
        unit, source = "index", "position along the step axis"
    rows: dict[Step, int] = {}
    for row, value in enumerate(values):
        rows[int(value) if float(value).is_integer() else float(value)] = row
    warnings = []
    if header.unwritten:
        warnings.append(
            f"{printable(name)}: nothing was written at the last {header.unwritten} of "
            f"{header.n_steps + header.unwritten} entries of the step axis; they are left out. "
            "Open it again once the training has finished."
        )
    if len(rows) < header.n_steps:
        warnings.append(
            f"{printable(name)}: {header.n_steps - len(rows)} entries of the step axis repeat a "
            "step; the last of each is taken."
        )
    return Series(
        root=root,
        run=name,
        runs=(name,),
        checkpoints=tuple(
            Checkpoint(step, store.path, name, row=row) for step, row in sorted(rows.items())
        ),
        step_unit=unit,
        step_source=source,
        warnings=tuple(warnings),
        unmatched=exclude,
        store=store,
    )


def _nothing_found(found: Scan, skipped: Sequence[Skipped]) -> str:
    """Why a folder is no trajectory, with what was seen there."""
    endings = ", ".join(sorted({suffix for reader in READERS for suffix in reader.suffixes}))
    message = (
        f"{printable(found.root)}: checkpoints were expected (files ending in {endings}, or a zarr "
        "store with a step axis), but "
    )
    seen = [*found.skipped, *skipped]
    if not seen:
        return message + "there are none. Point at the folder that your training writes to."
    shown = "".join(f"\n  {each.path}: {each.reason}" for each in seen[:5])
    more = f"\n  and {len(seen) - 5} more" if len(seen) > 5 else ""
    return f"{message}none can be read. What is there:{shown}{more}"
