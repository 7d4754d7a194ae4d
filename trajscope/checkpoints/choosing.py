"""Which of the runs in a folder is taken: by its name, by globs, or as the only one."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from trajscope.checkpoints.likeness import Models
from trajscope.checkpoints.names import stage_rank
from trajscope.checkpoints.segments import Run
from trajscope.errors import OptionError, TrajectoryError, printable
from trajscope.readers.natural import natural_key

_LISTED = 50


def choose_run(
    runs: Sequence[Run],
    wanted: str | None,
    root: Path,
    models: Models,
    *,
    average: bool = False,
) -> Run:
    """The run called `wanted`, those that it matches joined to one, or the only one.

    `wanted` is the name of a run or of a folder that holds one, a glob, or several of these with
    commas between them. Of several runs, those whose files are called averages of the weights
    ("ema_10.pt") count only with `average` and the others only without, and branches not at all
    beside their trunk.

    Raises
    ------
    OptionError
        No run has this name, or several are in this folder.
    TrajectoryError
        There are several runs and none was asked for, or those asked for are of several models.
    """
    if wanted is not None:
        chosen = _asked(runs, wanted, root, average=average)
        return chosen[0] if len(chosen) == 1 else _joined(chosen, wanted, root, models)
    of_kind = [run for run in runs if _is_average(run, runs, models) == average]
    trunks = {run.name for run in of_kind}
    of_kind = [run for run in of_kind if not (run.trunk and run.trunk in trunks)]
    if len(of_kind) == 1 and len(runs) > 1:
        return of_kind[0]
    if len(runs) > 1:
        raise TrajectoryError(
            f"{printable(root)} holds {len(runs)} runs; one is expected:{_listing(runs)}\nSelect "
            "one with --run NAME. To join parts of one run: --run 'GLOB', or --run NAME,NAME."
        )
    return runs[0]


def _is_average(run: Run, runs: Sequence[Run], models: Models) -> bool:
    """Whether a run is that of averages: by its name, and since it has the tensors of another."""
    if not run.is_average:
        return False
    others = [each for each in runs if not each.is_average]
    if run.in_store or not others:
        return True
    own = next(each for each in run.candidates if each.parts)
    return any(
        other.in_store or models.alike(own, next(each for each in other.candidates if each.parts))
        for other in others
    )


def _asked(runs: Sequence[Run], wanted: str, root: Path, *, average: bool) -> list[Run]:
    """The runs that are asked for, in their order."""
    exact = [run for run in runs if run.name == wanted.rstrip("/")]
    if exact:
        return exact[:1]
    found: dict[str, Run] = {}
    for piece in wanted.split(","):
        matches = _matches(runs, piece.strip().rstrip("/"), average=average)
        if not matches:
            raise OptionError(
                f"No run named {printable(piece.strip())!r} exists in {printable(root)}. Runs "
                f"found:{_listing(runs)}"
            )
        if len(matches) > 1 and not _is_glob(piece):
            raise OptionError(
                f"{printable(piece.strip())!r} holds {len(matches)} runs; one is expected:"
                f"{_listing(matches)}\nGive the name of one, or join all with --run "
                f"'{printable(piece.strip().rstrip('/'))}/*'."
            )
        found |= {run.name: run for run in matches}
    return list(found.values())


def _matches(runs: Sequence[Run], piece: str, *, average: bool) -> list[Run]:
    """The runs that one name or glob means, in their order."""
    exact = [run for run in runs if run.name == piece]
    if exact or not piece:
        return exact
    if not _is_glob(piece):
        below = [run for run in runs if run.name.startswith(f"{piece}/")]
        return below or [run for run in runs if f"/{piece}/" in f"/{run.name}/"]
    matching = [run for run in runs if any(fnmatchcase(each, piece) for each in _names(run.name))]
    matching = matching or [
        run
        for run in runs
        if any(fnmatchcase(each, piece) for tail in _tails(run.name) for each in _names(tail))
    ]
    of_kind = [run for run in matching if run.is_average == average]
    return sorted(of_kind or matching, key=_order)


def _names(name: str) -> list[str]:
    """The name of a run and of the folders that hold it."""
    levels = name.split("/")
    return ["/".join(levels[:depth]) for depth in range(len(levels), 0, -1)]


def _tails(name: str) -> list[str]:
    """The name of a run without the first folders."""
    levels = name.split("/")
    return ["/".join(levels[depth:]) for depth in range(1, len(levels))]


def _is_glob(piece: str) -> bool:
    return any(sign in piece for sign in "*?[")


def _order(run: Run) -> tuple[object, ...]:
    """What runs that one glob matches are joined by: their stages, then their names."""
    stage = run.segments[0].stage if run.segments else ""
    return (stage_rank(stage) if stage != "" else (-1, ())), natural_key(run.name)


def _joined(chosen: Sequence[Run], wanted: str, root: Path, models: Models) -> Run:
    """The runs as one."""
    stores = [run for run in chosen if run.in_store]
    if stores:
        raise OptionError(
            f"--run {printable(wanted)!r} matches {len(chosen)} runs of {printable(root)}, of "
            f"which {printable(stores[0].name)} is a store with its own steps; only runs in files "
            f"can be joined:{_listing(chosen)}\nGive the name of one."
        )
    firsts = [next(each for each in run.candidates if each.parts) for run in chosen]
    for run, first in zip(chosen, firsts, strict=True):
        if not models.alike(firsts[0], first):
            raise TrajectoryError(
                f"--run {printable(wanted)!r}: parts of one run are expected, but "
                f"{printable(chosen[0].name)} and {printable(run.name)} hold different tensors. "
                "Give the name of one."
            )
    pattern = f"{chosen[0].place}/{chosen[0].pattern}".lstrip("/")
    segments = tuple(segment for run in chosen for segment in run.segments)
    return Run(wanted, "", pattern, segments, parts=tuple(run.name for run in chosen))


def _listing(runs: Sequence[Run]) -> str:
    shown = "".join(
        f"\n  {printable(run.name)}  ({run.readable} checkpoint{'' if run.readable == 1 else 's'})"
        for run in runs[:_LISTED]
    )
    return shown + (f"\n  and {len(runs) - _LISTED} more" if len(runs) > _LISTED else "")
