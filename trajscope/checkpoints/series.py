"""Which files under a folder are the checkpoints of one run, in the order of their steps."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trajscope.checkpoints.base import Candidate, Series, Skipped, Store
from trajscope.checkpoints.folders import ONE_ARRAY, join_folders
from trajscope.checkpoints.parts import find_candidates
from trajscope.checkpoints.repeats import one_per_step
from trajscope.checkpoints.runs import Run, choose_run, find_runs, is_average
from trajscope.checkpoints.scan import Scan, is_result, scan, store_reader
from trajscope.checkpoints.steps import find_steps, ordered_steps
from trajscope.checkpoints.stores import read_stores, store_series
from trajscope.checkpoints.unfinished import unfinished_damaged
from trajscope.errors import CheckpointError, OptionError, TrajectoryError, printable
from trajscope.readers import READERS


def find_series(
    path: str | Path,
    *,
    run: str | None = None,
    exclude: Sequence[str] = (),
    order: str = "step",
    average: bool = False,
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
    order :
        "step", or "mtime" or "name": number the checkpoints in that order, whatever their steps.
    average :
        Take files that are averages of the weights by their name, and leave the others.
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
        _check_order(order, store)
        return store_series(root, root.name, store, tuple(exclude))
    if not root.is_dir():
        raise TrajectoryError(
            f"{printable(root)} is a file; a folder of checkpoints was expected. Give its folder: "
            f"{printable(root.parent)}"
        )
    found = scan(root, tuple(exclude))
    stores, single = read_stores(found)
    runs, skipped = _find_runs(found, single)
    if not runs and not stores:
        raise TrajectoryError(_nothing_found(found, skipped))
    in_stores = [Run(name, name, "", (), store.header.n_steps) for name, store in stores.items()]
    listed = [*runs, *in_stores]
    chosen = choose_run(listed, run, root, average=average)
    if chosen in in_stores:
        _check_order(order, stores[chosen.name])
        series = store_series(root, chosen.name, stores[chosen.name], found.exclude)
        return replace(
            series,
            runs=tuple(each.name for each in listed),
            skipped=(*found.skipped, *skipped),
            unmatched=_unmatched(found),
        )
    skipped.extend(_other_kind(listed, chosen) if run is None else ())
    return _series_of(chosen, listed, found, skipped, order, strict=strict)


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


def _check_order(order: str, store: Store) -> None:
    if order != "step":
        raise OptionError(
            f"--order {printable(order)} orders files; {printable(store.path)} is a single store "
            "with its own order. Omit the option."
        )


def _other_kind(runs: Sequence[Run], chosen: Run) -> list[Skipped]:
    """The runs that were passed over because of their kind, live weights or averages."""
    kinds = (
        "live weights",
        "an average of the weights, according to its name; use it with --weights ema",
    )
    return [
        Skipped(printable(run.name), kinds[is_average(run)]) for run in runs if run is not chosen
    ]


def _find_runs(found: Scan, single: Sequence[Candidate]) -> tuple[list[Run], list[Skipped]]:
    """Runs with something to read in them; candidates without weights and strays are skipped."""
    candidates = []
    for candidate in unfinished_damaged(join_folders([*find_candidates(found), *single])):
        if candidate.parts and not any(part.header.tensors for part in candidate.parts):
            found.skip(candidate.relative, "it contains no arrays")
        elif candidate.relative.endswith(ONE_ARRAY) and not candidate.name.numbers:
            found.skip(
                candidate.relative, "a single array without a number in its file or folder name"
            )
        else:
            candidates.append(candidate)
    runs, skipped = find_runs(candidates, found.root)
    for run in runs:
        if not run.readable:
            skipped.extend(_damaged(run.candidates))
    return [run for run in runs if run.readable], skipped


def _series_of(
    run: Run,
    runs: Sequence[Run],
    found: Scan,
    skipped: list[Skipped],
    order: str,
    *,
    strict: bool,
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
    in_steps = order == "step"
    steps = find_steps(readable, found.root) if in_steps else ordered_steps(readable, order)
    checkpoints, doubles, double_warnings = one_per_step(readable, steps.values, strict=strict)
    return Series(
        root=found.root,
        run=run.name,
        runs=tuple(each.name for each in runs),
        checkpoints=tuple(checkpoints),
        step_unit=steps.unit,
        step_source=steps.source,
        skipped=(*found.skipped, *skipped, *_damaged(damaged), *doubles),
        warnings=(*warnings, *steps.warnings, *double_warnings),
        decisions=(*_of_cache(readable[0], found), *_decisions(readable)),
        unmatched=_unmatched(found),
        averaged=is_average(run),
        renamed=bool(found.caches),
    )


def _of_cache(candidate: Candidate, found: Scan) -> tuple[str, ...]:
    """That a run lies in a cache of the Hub, where it does."""
    return tuple(
        f"The folder is a cache of the Hugging Face Hub; its refs name {count} revision"
        f"{'' if count == 1 else 's'} of the model, which are read as checkpoints."
        for cache, count in found.caches.items()
        if count and candidate.path.is_relative_to(cache)
    )


def _decisions(candidates: Sequence[Candidate]) -> tuple[str, ...]:
    """What the user should know of how files were made checkpoints."""
    parts = [part.file.relative for part in candidates[0].parts]
    if len(parts) < 2:
        return ()
    names = ", ".join(printable(name) for name in parts[:3]) + ("..." if len(parts) > 3 else "")
    return (f"Each checkpoint consists of several files; the first of {len(parts)}: {names}.",)


def _damaged(candidates: Sequence[Candidate]) -> list[Skipped]:
    return [
        Skipped(printable(candidate.relative), candidate.damage)
        for candidate in candidates
        if not candidate.parts
    ]


def _unmatched(found: Scan) -> tuple[str, ...]:
    return tuple(glob for glob in found.exclude if glob not in found.matched)


def _nothing_found(found: Scan, skipped: Sequence[Skipped]) -> str:
    """Why a folder is no trajectory, with what was seen there."""
    endings = ", ".join(sorted({suffix for reader in READERS for suffix in reader.suffixes}))
    message = (
        f"{printable(found.root)}: checkpoints were expected (files ending in {endings}, or a zarr "
        "store with a step axis), but "
    )
    seen = [*found.skipped, *skipped]
    if not seen:
        return message + "none were found. Give the folder that your training writes to."
    by_reason: dict[str, list[str]] = {}
    for each in seen:
        by_reason.setdefault(each.reason, []).append(each.path)
    shown = "".join(
        f"\n  {paths[0]}{f' and {len(paths) - 1} more' if len(paths) > 1 else ''}: {reason}"
        for reason, paths in list(by_reason.items())[:5]
    )
    left = sum(len(paths) for paths in list(by_reason.values())[5:])
    more = f"\n  and {left} more" if left else ""
    return f"{message}none can be read. Found:{shown}{more}"
