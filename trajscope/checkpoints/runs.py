"""Which candidates belong to one run: the same naming pattern in the same place."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from trajscope.checkpoints.base import Candidate, Skipped
from trajscope.checkpoints.names import EPOCH, METRIC, Name, filled, read_name
from trajscope.checkpoints.steps import step_slot
from trajscope.errors import OptionError, TrajectoryError, printable

# Never part of a word: "schema" is none.
_AVERAGED = re.compile(r"(^|[-_./])(ema|swa|averaged?|teacher)(?![a-z])")
_DIGITS = re.compile(r"\d+", re.ASCII)
_ALIAS = re.compile(r"(^|[-_.])(last|latest|best|final|newest|current)([-_.]|$)")


@dataclass(frozen=True)
class Run:
    """Candidates of one naming pattern, or one store; `name` is what ``--run`` asks for."""

    name: str
    place: str
    pattern: str
    candidates: tuple[Candidate, ...]
    in_store: int = 0

    @property
    def readable(self) -> int:
        """Number of checkpoints whose header could be read."""
        return self.in_store + sum(1 for candidate in self.candidates if candidate.parts)


def find_runs(candidates: Sequence[Candidate], root: Path) -> tuple[list[Run], list[Skipped]]:
    """The runs among `candidates`, and the aliases and stray files that belong to none.

    A run is a set of files whose paths differ only in numbers that count training. Where numbers
    of another meaning tell files of one step apart ("net1_step10", "net2_step10"), each value of
    them is a run. Files without a number make one run together where there is none with numbers
    beside them, since their steps may be inside. A name like "last" or "best" beside numbered
    files is an alias, and so is a second link to the same file. A file that is alone in its
    pattern is a stray when a run exists.
    """
    originals, skipped = _without_links(candidates)
    merged = _merge_numbered_folders(originals)
    groups: dict[tuple[str, str], list[Candidate]] = defaultdict(list)
    for candidate in merged:
        groups[candidate.name.place, _pattern(candidate.name)].append(candidate)
    split = [piece for group in groups.values() for piece in _split_by_other_numbers(group)]
    kept, strays = _without_strays(split)
    skipped.extend(
        Skipped(printable(candidate.relative), candidate.damage or reason)
        for candidate, reason in strays
    )
    return _named(kept, root), skipped


def choose_run(
    runs: Sequence[Run], wanted: str | None, root: Path, *, average: bool = False
) -> Run:
    """The run called `wanted`, or the only one.

    Of several, runs whose files are called averages of the weights ("ema_10.pt") count only with
    `average`, and the others only without.

    Raises
    ------
    OptionError
        No run has this name.
    TrajectoryError
        There are several runs and none was asked for.
    """
    listing = "".join(
        f"\n  {printable(run.name)}  ({run.readable} checkpoint{'' if run.readable == 1 else 's'})"
        for run in runs[:50]
    ) + (f"\n  and {len(runs) - 50} more" if len(runs) > 50 else "")
    if wanted is not None:
        for run in runs:
            if wanted.rstrip("/") == run.name:
                return run
        raise OptionError(
            f"No run named {printable(wanted)!r} exists in {printable(root)}. Runs found:{listing}"
        )
    of_kind = [run for run in runs if is_average(run) == average]
    if len(of_kind) == 1 and len(runs) > 1:
        return of_kind[0]
    if len(runs) > 1:
        raise TrajectoryError(
            f"{printable(root)} holds {len(runs)} runs; one is expected:{listing}\nSelect one with "
            "--run NAME."
        )
    return runs[0]


def is_average(run: Run) -> bool:
    """Whether the files of a run are averages of the weights by their name ("model_ema_*.pt")."""
    return _AVERAGED.search(f"{run.place}/{run.pattern}".lower()) is not None


def same_tensors(first: Candidate, second: Candidate) -> bool:
    """Whether two candidates hold tensors of the same names and shapes."""
    return _outline(first) == _outline(second)


def _outline(candidate: Candidate) -> dict[str, tuple[int, ...]]:
    return {
        name: spec.shape for part in candidate.parts for name, spec in part.header.tensors.items()
    }


def _without_links(
    candidates: Sequence[Candidate],
) -> tuple[list[Candidate], list[Skipped]]:
    """One candidate for each file on disk: a numbered, real, usual name before others.

    Names that differ only in their numbers are kept all: that one file stands for several steps is
    for an audit to judge.
    """
    files = [part.file.identity for candidate in candidates for part in candidate.parts]
    if len(set(files)) == len(files):  # as nearly always, for 20,000 of them too
        return sorted(candidates, key=lambda candidate: candidate.relative), []
    usual = Counter(candidate.name.pattern for candidate in candidates)

    def preference(candidate: Candidate) -> tuple[bool, bool, bool, int, str]:
        name = candidate.name
        is_link = bool(candidate.parts) and candidate.parts[0].file.is_link
        return (
            _is_alias(candidate),
            not name.numbers,
            is_link,
            -usual[name.pattern],
            candidate.relative,
        )

    kept, skipped = [], []
    first_names: dict[tuple[tuple[int, int], ...], str] = {}
    for candidate in sorted(candidates, key=preference):
        identity = tuple(part.file.identity for part in candidate.parts)
        first = first_names.get(identity) if identity else None
        if first is not None and not _renumbered(first, candidate):
            reason = f"the same file as {printable(first)}"
            skipped.append(Skipped(printable(candidate.relative), reason))
        else:
            first_names.setdefault(identity, candidate.relative)
            kept.append(candidate)
    kept.sort(key=lambda candidate: candidate.relative)
    return kept, skipped


def _renumbered(relative: str, candidate: Candidate) -> bool:
    """Whether the name of a candidate is another one with other numbers."""
    return _DIGITS.sub("0", relative) == _DIGITS.sub("0", candidate.relative)


def _is_alias(candidate: Candidate) -> bool:
    return _names_alias(candidate.name.pattern)


@lru_cache(maxsize=1024)  # 20,000 names have one pattern
def _names_alias(pattern: str) -> bool:
    return any(_ALIAS.search(part) for part in pattern.lower().split("/"))


def _pattern(name: Name) -> str:
    """The pattern of a name; files without numbers share one."""
    if name.numbers:
        return name.pattern
    folder, _, file = name.pattern.rpartition("/")
    return f"{folder}/*{Path(file).suffix}" if folder else f"*{Path(file).suffix}"


def _merge_numbered_folders(candidates: list[Candidate]) -> list[Candidate]:
    """Candidates in which ``net_10/weights.npz``, ``net_20/weights.npz`` count as one pattern.

    That is done where the numbers in the last folder's name are the only ones, each such folder
    holds one file, all hold the same tensors, and no word like "seed" says that these are runs.
    """
    families: dict[tuple[str, str], list[Candidate]] = defaultdict(list)
    per_place = Counter(candidate.name.place for candidate in candidates)
    for candidate in candidates:
        name = candidate.name
        if name.numbers or per_place[name.place] > 1:
            continue
        above, _, folder = name.place.rpartition("/")
        as_file = read_name(folder, "")
        if as_file.numbers:
            families[above, f"{as_file.pattern}/{name.pattern}"].append(candidate)
    merged: dict[str, Candidate] = {}
    for (above, pattern), family in families.items():
        readable = [candidate for candidate in family if candidate.parts]
        if len(readable) < 2 or not all(same_tensors(readable[0], c) for c in readable[1:]):
            continue
        for candidate in family:
            numbers = read_name(candidate.name.place.rpartition("/")[2], "").numbers
            merged[candidate.relative] = replace(candidate, name=Name(above, pattern, numbers))
    return [merged.get(candidate.relative, candidate) for candidate in candidates]


def _split_by_other_numbers(group: list[Candidate]) -> list[list[Candidate]]:
    """`group`, or its parts where a number other than the step tells repeated steps apart."""
    names = [candidate.name for candidate in group]
    slot = step_slot(names)
    if slot is None or len({name.numbers[slot].value for name in names}) == len(names):
        return [group]
    others = {
        i
        for i, number in enumerate(names[0].numbers)
        if i != slot and number.kind not in (METRIC, EPOCH)
    }
    changing = {i for i in others if len({name.numbers[i].value for name in names}) > 1}
    if not changing:
        return [group]

    def key(candidate: Candidate) -> str:
        return filled(candidate.name, changing)

    return [list(part) for _, part in groupby(sorted(group, key=key), key=key)]


def _without_strays(
    groups: list[list[Candidate]],
) -> tuple[list[list[Candidate]], list[tuple[Candidate, str]]]:
    """Groups that can be runs, and candidates that are not part of one, with reasons."""
    numbered = {g[0].name.place for g in groups if g[0].name.numbers and not _is_alias(g[0])}
    kept: list[list[Candidate]] = []
    strays: list[tuple[Candidate, str]] = []
    for group in groups:
        place = group[0].name.place
        if place in numbered and (_is_alias(group[0]) or not group[0].name.numbers):
            reason = "its name lacks a number: an alias or copy of a numbered checkpoint"
            if _is_alias(group[0]):
                reason = "an alias of another checkpoint, according to its name"
            strays.extend((candidate, reason) for candidate in group)
        else:
            kept.append(group)
    series = [group for group in kept if sum(1 for c in group if c.parts) > 1]
    if not series:
        return kept, strays
    for group in kept:
        if group not in series:
            reason = "the only file with this naming pattern, not part of a series"
            strays.extend((candidate, reason) for candidate in group)
    return series, strays


def _named(groups: list[list[Candidate]], root: Path) -> list[Run]:
    per_place = Counter(group[0].name.place for group in groups)
    runs = []
    for group in groups:
        place = group[0].name.place
        pattern = _group_pattern(group)
        name = place or root.name
        if per_place[place] > 1:
            name = f"{place}/{pattern}" if place else pattern
        runs.append(Run(name, place, pattern, tuple(group)))
    return sorted(runs, key=lambda run: run.name)


def _group_pattern(group: list[Candidate]) -> str:
    """The pattern of a group with the numbers written out that tell it from its siblings."""
    first = group[0].name
    if not first.numbers:
        return _pattern(first)
    slot = step_slot([candidate.name for candidate in group])
    fixed = {
        i
        for i, number in enumerate(first.numbers)
        if i != slot and len({c.name.numbers[i].value for c in group}) == 1
    }
    return filled(first, fixed)
