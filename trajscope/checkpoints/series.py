"""Which files under a folder are the checkpoints of one run, in the order of their steps."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trajscope.checkpoints.base import Candidate, Series, Skipped, Store
from trajscope.checkpoints.choosing import choose_run
from trajscope.checkpoints.chosen import damaged_of, no_folder, series_of, unmatched_of
from trajscope.checkpoints.copies import without_copies
from trajscope.checkpoints.file_kinds import SIDECAR, known_suffix
from trajscope.checkpoints.folders import ONE_ARRAY, join_folders
from trajscope.checkpoints.inside import split_by_step
from trajscope.checkpoints.likeness import Models
from trajscope.checkpoints.parts import find_candidates
from trajscope.checkpoints.runs import find_runs
from trajscope.checkpoints.scan import Scan, is_result, regular_file, scan, store_reader
from trajscope.checkpoints.segments import Run
from trajscope.checkpoints.stores import read_stores, store_series
from trajscope.checkpoints.unfinished import unfinished_damaged
from trajscope.errors import OptionError, TrajectoryError, printable
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
        Name of the run, where there are several; or a glob, or names and globs with commas between
        them, to join what they match.
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
    found = _scanned(root, tuple(exclude))
    stores, single = read_stores(found)
    models = Models()
    runs, skipped = _find_runs(found, single, models)
    if not runs and not stores:
        raise TrajectoryError(_nothing_found(found, skipped))
    in_stores = [
        Run(name, name, "", (), in_store=store.header.n_steps) for name, store in stores.items()
    ]
    listed = [*runs, *in_stores]
    chosen = choose_run(listed, run, root, models, average=average)
    if chosen in in_stores:
        _check_order(order, stores[chosen.name])
        series = store_series(root, chosen.name, stores[chosen.name], found.exclude)
        return replace(
            series,
            runs=tuple(each.name for each in listed),
            skipped=(*found.skipped, *skipped),
            unmatched=unmatched_of(found),
        )
    skipped.extend(_other_kind(listed, chosen) if run is None else ())
    chosen, opened_up = _opened_up(chosen, found, models)
    series = series_of(chosen, listed, found, skipped, order, strict=strict)
    return replace(series, decisions=(*opened_up, *series.decisions))


def _scanned(root: Path, exclude: tuple[str, ...]) -> Scan:
    """What lies in a folder, or one file; what is called like a trainer's state, if it is all."""
    if not root.is_dir():
        return _one_file(root, exclude)
    found = scan(root, exclude)
    if found.files or found.stores or not any(each.reason == SIDECAR for each in found.skipped):
        return found
    return scan(root, exclude, sidecars=True)


def _opened_up(run: Run, found: Scan, models: Models) -> tuple[Run, list[str]]:
    """The run with the checkpoints inside its only file, if there are some, and what was done."""
    readable = [candidate for candidate in run.candidates if candidate.parts]
    several, told = split_by_step(readable[0]) if len(readable) == 1 else ([], "")
    if not several:
        return run, []
    runs, _ = find_runs(several, found.root, models)
    longest = max(runs, key=lambda each: each.readable)
    return replace(longest, name=run.name), [told]


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


def _one_file(path: Path, exclude: tuple[str, ...]) -> Scan:
    """The scan of a folder in which there is nothing but this file."""
    found = Scan(path, exclude)
    file = regular_file(found, path, path.name) if known_suffix(path.name) else None
    if file is None:
        raise no_folder(path)
    found.files.append(file)
    return found


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
        Skipped(
            printable(run.name),
            f"a branch of {printable(run.trunk)}" if run.trunk else kinds[run.is_average],
        )
        for run in runs
        if run is not chosen
    ]


def _find_runs(
    found: Scan, single: Sequence[Candidate], models: Models
) -> tuple[list[Run], list[Skipped]]:
    """Runs with something to read in them; candidates without weights and strays are skipped."""
    files, copies = without_copies(find_candidates(found), models)
    candidates = []
    for candidate in unfinished_damaged(join_folders([*files, *single])):
        if candidate.parts and not any(part.header.tensors for part in candidate.parts):
            found.skip(candidate.relative, "it contains no arrays")
        elif candidate.relative.endswith(ONE_ARRAY) and not candidate.name.texts:
            found.skip(
                candidate.relative, "a single array without a number in its file or folder name"
            )
        else:
            candidates.append(candidate)
    runs, skipped = find_runs(candidates, found.root, models)
    skipped.extend(copies)
    for run in runs:
        if not run.readable:
            skipped.extend(damaged_of(run.candidates))
    runs = [run for run in runs if run.readable]
    with_weights = [run for run in runs if _holds_weights(run, models)]
    if not with_weights:
        return runs, skipped
    reason = "no weights are in its files"
    skipped.extend(Skipped(printable(r.name), reason) for r in runs if r not in with_weights)
    return with_weights, skipped


def _holds_weights(run: Run, models: Models) -> bool:
    """Whether there are weights in the first file of a run, and not only an optimizer's state."""
    candidates = (each for segment in run.segments for each in segment.candidates)
    return bool(models.weights(next(each for each in candidates if each.parts)))


def _of_it(skipped: Skipped, root: Path) -> str:
    """Why something was skipped, in words that are the same for all with one reason."""
    for name in (skipped.path, printable(root / skipped.path)):
        if skipped.reason.startswith(f"{name} "):
            return f"it{skipped.reason.removeprefix(name)}"
    return skipped.reason


def _nothing_found(found: Scan, skipped: Sequence[Skipped]) -> str:
    """Why a folder is no trajectory, with what was seen there."""
    endings = ", ".join(sorted({suffix for reader in READERS for suffix in reader.suffixes}))
    message = (
        f"{printable(found.root)}: checkpoints were expected (files ending in {endings}, or a zarr "
        "store with a step axis), but "
    )
    seen = [*found.skipped, *skipped]
    if not seen:
        ending, count = max(found.others.items(), key=lambda each: each[1], default=("", 0))
        there = f" (there are {count} files ending in {printable(ending)})" if ending else ""
        return message + (f"none were found{there}. Give the folder that your training writes to.")
    by_reason: dict[str, list[str]] = {}
    for each in seen:
        by_reason.setdefault(_of_it(each, found.root), []).append(each.path)
    shown = "".join(
        f"\n  {paths[0]}{f' and {len(paths) - 1} more' if len(paths) > 1 else ''}: {reason}"
        for reason, paths in list(by_reason.items())[:5]
    )
    left = sum(len(paths) for paths in list(by_reason.values())[5:])
    more = f"\n  and {left} more" if left else ""
    return f"{message}none can be read. Found:{shown}{more}"
