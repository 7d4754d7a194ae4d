"""Candidates by the patterns of their names, each with what its numbers count."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from trajscope.checkpoints.base import Candidate, Skipped
from trajscope.checkpoints.clocks import Clocks, clocks_of, fixed_slots, separated
from trajscope.checkpoints.columns import columns_of
from trajscope.checkpoints.copies import without_format
from trajscope.checkpoints.hashes import without_hashes
from trajscope.checkpoints.likeness import Models
from trajscope.checkpoints.names import Name, filled, read_name
from trajscope.checkpoints.shards import with_shards_joined
from trajscope.errors import printable

_DIGITS = re.compile(r"\d+", re.ASCII)
_ALIAS = re.compile(r"(^|[-_.])(last|latest|best|final|newest|current)([-_.]|$)")
_TIP = re.compile(r"(^|/)(main|master)$")
_PULL_REQUEST = re.compile(r"(^|/)refs/pr$")


@dataclass(frozen=True)
class Part:
    """Candidates of one naming pattern in one place, and of one run.

    `pattern` has the numbers written out that are the same in all names.
    """

    place: str
    pattern: str
    candidates: tuple[Candidate, ...]
    clocks: Clocks

    @property
    def readable(self) -> int:
        """How many of them could be read."""
        return sum(1 for candidate in self.candidates if candidate.parts)


def find_parts(candidates: Sequence[Candidate], models: Models) -> tuple[list[Part], list[Skipped]]:
    """The parts among `candidates`, and the aliases and links that belong to none.

    Files without a number make one part together where there is none with numbers beside them,
    since their steps may be inside. A name like "last" or "best" beside numbered files is an alias,
    and so is a second link to the same file. Files whose names differ in their format alone are of
    one part where no step is there twice. Hashes in names, another in each, tell nothing apart.
    """
    originals, skipped = _without_links(without_hashes(candidates))
    groups: dict[tuple[str, str, int], list[Candidate]] = defaultdict(list)
    for candidate in _merge_numbered_folders(originals, models):
        name = candidate.name
        groups[name.place, _pattern(name), len(name.texts)].append(candidate)
    kept, aliases = _without_aliases(list(groups.values()))
    skipped.extend(
        Skipped(printable(candidate.relative), candidate.damage or reason)
        for candidate, reason in aliases
    )
    pieces = [
        piece
        for group in kept
        for piece in with_shards_joined(
            [[group[row] for row in rows] for rows in separated([each.name for each in group])],
            models,
        )
    ]
    return [_part(piece) for piece in _across_formats(pieces, models)], skipped


def _part(group: Sequence[Candidate]) -> Part:
    names = [candidate.name for candidate in group]
    first = names[0]
    columns = columns_of(names)
    pattern = filled(first, fixed_slots(columns)) if first.texts else _pattern(first)
    return Part(first.place, pattern, tuple(group), clocks_of(columns))


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
            not name.texts,
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
    if name.texts:
        return name.pattern
    folder, _, file = name.pattern.rpartition("/")
    return f"{folder}/*{Path(file).suffix}" if folder else f"*{Path(file).suffix}"


def _merge_numbered_folders(candidates: list[Candidate], models: Models) -> list[Candidate]:
    """Candidates in which ``net_10/weights.npz``, ``net_20/weights.npz`` count as one pattern.

    That is done where the numbers in the last folder's name are the only ones, each such folder
    holds one file, all hold the same tensors, and no word like "seed" says that these are runs.
    """
    families: dict[tuple[str, str], list[tuple[Candidate, Name]]] = defaultdict(list)
    per_place = Counter(candidate.name.place for candidate in candidates)
    for candidate in candidates:
        name = candidate.name
        if name.texts or per_place[name.place] > 1:
            continue
        above, _, folder = name.place.rpartition("/")
        as_file = read_name(folder, "")
        if as_file.texts:
            families[above, f"{as_file.pattern}/{name.pattern}"].append((candidate, as_file))
    merged: dict[str, Candidate] = {}
    for (above, pattern), family in families.items():
        readable = [candidate for candidate, _ in family if candidate.parts]
        if len(readable) < 2 or not all(models.equal(readable[0], c) for c in readable[1:]):
            continue
        for candidate, as_file in family:
            name = Name(above, pattern, as_file.slots, as_file.texts)
            merged[candidate.relative] = replace(candidate, name=name)
    return [merged.get(candidate.relative, candidate) for candidate in candidates]


def _without_aliases(
    groups: list[list[Candidate]],
) -> tuple[list[list[Candidate]], list[tuple[Candidate, str]]]:
    """Groups that can be runs, and candidates that are another name of one, with reasons."""
    numbered = {g[0].name.place for g in groups if g[0].name.texts and not _is_alias(g[0])}
    kept: list[list[Candidate]] = []
    aliases: list[tuple[Candidate, str]] = []
    for group in groups:
        place, has_numbers = group[0].name.place, bool(group[0].name.texts)
        reason = ""
        if place in numbered and _is_alias(group[0]):
            reason = "an alias of another checkpoint, according to its name"
        elif place in numbered and not has_numbers:
            reason = "its name lacks a number: an alias or copy of a numbered checkpoint"
        elif not has_numbers and _TIP.search(place) and place.rpartition("/")[0] in numbered:
            reason = "an alias of another checkpoint, according to its name"
        elif _PULL_REQUEST.search(place) and numbered - {place}:
            reason = "a pull request, not a checkpoint of the training"
        if reason:
            aliases.extend((candidate, reason) for candidate in group)
        else:
            kept.append(group)
    return kept, aliases


def _across_formats(pieces: list[list[Candidate]], models: Models) -> list[list[Candidate]]:
    """The pieces, those of one run that is stored in several formats put together."""
    if len(pieces) < 2:
        return pieces
    families: dict[tuple[object, ...], list[list[Candidate]]] = defaultdict(list)
    for piece in pieces:
        name = piece[0].name
        fixed = filled(name, fixed_slots(columns_of([each.name for each in piece])))
        families[name.place, without_format(fixed), bool(name.texts)].append(piece)
    result = []
    for (_, _, has_numbers), family in families.items():
        together = [candidate for piece in family for candidate in piece]
        if len(family) > 1 and has_numbers and _complete_each_other(family, together, models):
            result.append(sorted(together, key=lambda candidate: candidate.relative))
        else:
            result.extend(family)
    return result


def _complete_each_other(
    family: Sequence[Sequence[Candidate]], together: Sequence[Candidate], models: Models
) -> bool:
    """Whether pieces are of one model and no step is in two of them."""
    readable = [next((each for each in piece if each.parts), None) for piece in family]
    first = readable[0]
    if first is None or not all(each and models.alike(first, each) for each in readable[1:]):
        return False
    sources = clocks_of(columns_of([candidate.name for candidate in together])).sources
    return bool(sources) and sources[0].distinct == len(together)
