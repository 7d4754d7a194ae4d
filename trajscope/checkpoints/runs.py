"""Which candidates belong to one run: one naming pattern in one place, or several that go on."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trajscope.checkpoints.base import Candidate, Skipped
from trajscope.checkpoints.families import Part, find_parts
from trajscope.checkpoints.joining import Draft, joined
from trajscope.checkpoints.likeness import Models
from trajscope.checkpoints.segments import Run
from trajscope.errors import printable

_STRAY = "the only file with this naming pattern, not part of a series"


def find_runs(
    candidates: Sequence[Candidate], root: Path, models: Models
) -> tuple[list[Run], list[Skipped]]:
    """The runs among `candidates`, and the aliases and stray files that belong to none.

    A run is a set of files whose paths differ only in numbers that count training. Where numbers
    of another meaning tell files of one step apart ("net1_step10", "net2_step10"), each value of
    them is a run. Patterns that go on where another ends, such as those of stages, are one run. A
    file that is alone in its pattern is a stray when a run exists; where most files of one model
    would be strays, each is a run of its own.
    """
    parts, skipped = find_parts(candidates, models)
    places: dict[str, list[Part]] = defaultdict(list)
    for part in parts:
        places[part.place].append(part)
    drafts = [draft for own in places.values() for draft in joined(own, models)]
    kept, strays = _without_strays(drafts, models)
    skipped.extend(
        Skipped(printable(candidate.relative), candidate.damage or _STRAY)
        for draft in strays
        for candidate in _candidates(draft)
    )
    return _named(kept, root), skipped


def _candidates(draft: Draft) -> list[Candidate]:
    return [each for segment in draft.segments for each in segment.candidates]


def _without_strays(drafts: list[Draft], models: Models) -> tuple[list[Draft], list[Draft]]:
    """Drafts that can be runs, and those of a single file that are no part of one."""
    readable = {id(draft): [each for each in _candidates(draft) if each.parts] for draft in drafts}
    series = [draft for draft in drafts if draft.is_branch or len(readable[id(draft)]) > 1]
    taken = set(map(id, series))
    strays = [draft for draft in drafts if id(draft) not in taken]
    if all(draft.is_branch for draft in series):
        return drafts, []
    firsts = [each for draft in series for each in readable[id(draft)][:1]]
    alike = [
        draft
        for draft in strays
        for own in readable[id(draft)]
        if own.name.texts and any(models.alike(first, own) for first in firsts)
    ]
    if len(alike) > sum(len(readable[id(draft)]) for draft in series):
        return drafts, []
    return series, strays


def _named(drafts: list[Draft], root: Path) -> list[Run]:
    per_place = Counter(draft.place for draft in drafts)
    runs: list[Run] = []
    trunk = ""
    for draft in drafts:
        name = draft.place or root.name
        if per_place[draft.place] > 1:
            name = f"{draft.place}/{draft.pattern}" if draft.place else draft.pattern
        trunk = trunk if draft.is_branch else name
        run = Run(name, draft.place, draft.pattern, draft.segments)
        runs.append(replace(run, trunk=trunk) if draft.is_branch else run)
    return sorted(runs, key=lambda run: run.name)
