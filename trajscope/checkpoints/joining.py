"""Parts of several patterns that are one run: its stages, and names that change on the way."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from trajscope.checkpoints.clocks import Value
from trajscope.checkpoints.counters import Step
from trajscope.checkpoints.families import Part
from trajscope.checkpoints.likeness import Models
from trajscope.checkpoints.names import BRANCHES, RUNS, STAGES, stage_rank
from trajscope.checkpoints.segments import Segment, names_average
from trajscope.checkpoints.sources import Source, starts_again

_WORDS = "|".join(sorted(STAGES.keys() - {"stage", "phase"}))
_SPACED = re.sub(r"\b(mid|long)", r"\1[-_ ]?", _WORDS)
_STAGE = re.compile(rf"(?<![a-z])({_SPACED})(?![a-z])")
_COUNTED = re.compile(
    r"[-_ .=]*(step|iter|iteration|checkpoint|ckpt|epoch|ep|batch|ba)?[-_ .=]*$", re.IGNORECASE
)
_OTHER_RUN = re.compile(rf"({'|'.join(RUNS)})[-_=]?\d+", re.IGNORECASE)
_BRANCH = re.compile(rf"({'|'.join(BRANCHES)})[-_=]?\d+", re.IGNORECASE)
_MOST = 200
"""Parts among which those that fit together are looked for."""


@dataclass(frozen=True)
class Draft:
    """What will be a run: its segments, and of what the first of their parts is called.

    `is_branch` is for one that leaves the run before it in the list.
    """

    place: str
    pattern: str
    segments: tuple[Segment, ...]
    is_branch: bool = False


def joined(parts: Iterable[Part], models: Models) -> list[Draft]:
    """The parts of one place as runs.

    Parts of one model are of one run if their names differ in a word or number for a stage, or if
    their steps show that one continues the other: no step is there twice, and a clock that all
    have (tokens, epochs) rises over all of them, or their ranges do not overlap.
    """
    drafts: list[Draft] = []
    for group in _of_one_model(parts, models):
        stages = _by_stage(group)
        if len(stages) < 2:
            drafts.extend(_draft([each]) for each in _merged(group))
        else:
            drafts.extend(_staged(stages))
    return drafts


def _staged(stages: dict[Value, list[Part]]) -> list[Draft]:
    """A trunk of stages that follow one another, and its branches.

    Where one stage has several runs, the trunk ends before it. A stage that starts inside the one
    before and ends before that does is a branch.
    """
    unnamed = _merged(stages.pop("", []))
    order = sorted(stages, key=stage_rank)
    groups = [(label, _merged(stages[label])) for label in order]
    first, beside = groups[0][1], [part for each in unnamed for part in each]
    if unnamed and len(first) == 1 and _fit([*beside, *first[0]]):
        groups[0] = order[0], [[*beside, *first[0]]]
        unnamed = []
    elif len(unnamed) == 1 and stage_rank(order[0]) > stage_rank(1):
        groups.insert(0, ("", unnamed))
        unnamed = []
    trunk: list[tuple[Value, list[Part]]] = []
    branches: list[tuple[Value, list[Part]]] = []
    for label, runs in groups:
        open_end = not branches and len(runs) == 1 and not _leaves(runs[0], trunk)
        (trunk if open_end else branches).extend((label, run) for run in runs)
    alone = [_draft([run]) for run in unnamed]
    if not trunk:
        return [*alone, *(_draft([run], label) for label, run in branches)]
    whole = tuple(_segment(run, label) for label, run in trunk)
    start = trunk[0][1][0]
    return [
        *alone,
        Draft(start.place, start.pattern, whole),
        *(_draft([run], label, is_branch=True) for label, run in branches),
    ]


def _leaves(run: list[Part], trunk: list[tuple[Value, list[Part]]]) -> bool:
    """Whether a stage starts and ends between the steps of what goes on without it."""
    own, others = sorted(_steps(run)), sorted(_steps([part for _, own in trunk for part in own]))
    if not own or not others or starts_again(own, others):
        return False
    return own[-1] < others[-1] and set(own).isdisjoint(others)


def _steps(parts: Sequence[Part]) -> list[Step]:
    """The steps that the names say."""
    heads = [part.clocks.sources[0] for part in parts if part.clocks.sources]
    return [step for head in heads for step in head.values if step is not None]


def _draft(runs: list[list[Part]], stage: Value = "", *, is_branch: bool = False) -> Draft:
    first = runs[0][0]
    return Draft(first.place, first.pattern, tuple(_segment(run, stage) for run in runs), is_branch)


def _segment(parts: Sequence[Part], stage: Value) -> Segment:
    """The parts as one segment."""
    if len(parts) == 1:
        own = parts[0].clocks
        return Segment(parts[0].candidates, own.sources, own.coordinates, own.amounts, stage)
    first = parts[0].clocks.sources[0]
    steps = tuple(value for part in parts for value in part.clocks.sources[0].values)
    amounts = {name: _column(parts, name) for part in parts for name in part.clocks.amounts}
    changing = {name: values for name, values in amounts.items() if len(set(values)) > 1}
    coordinates = {n: _column(parts, n) for part in parts for n in part.clocks.coordinates}
    return Segment(
        tuple(candidate for part in parts for candidate in part.candidates),
        (Source(first.words, first.unit, steps, in_name=True),),
        coordinates | changing,
        amounts,
        stage,
    )


def _column(parts: Sequence[Part], name: str) -> tuple[Value | None, ...]:
    values: list[Value | None] = []
    for part in parts:
        known: Mapping[str, tuple[Value | None, ...]] = {
            **part.clocks.amounts,
            **part.clocks.coordinates,
        }
        values.extend(known.get(name, (None,) * len(part.candidates)))
    return tuple(values)


def _of_one_model(parts: Iterable[Part], models: Models) -> list[list[Part]]:
    """The parts in groups that may be one run by their tensors and names."""
    groups: list[list[Part]] = []
    for part in parts:
        group = next((each for each in groups if _may_belong(each[0], part, models)), None)
        if group is None:
            groups.append([part])
        else:
            group.append(part)
    return groups


def _may_belong(first: Part, second: Part, models: Models) -> bool:
    one, other = (next((c for c in part.candidates if c.parts), None) for part in (first, second))
    if one is None or other is None:
        return False
    kinds = [names_average(part.place, part.pattern) for part in (first, second)]
    numbers = [_found(_OTHER_RUN, part) for part in (first, second)]
    return kinds[0] == kinds[1] and numbers[0] == numbers[1] and models.alike(one, other)


def _found(what: re.Pattern[str], part: Part) -> tuple[str, ...]:
    return tuple(match.group().lower() for match in what.finditer(part.pattern))


def _by_stage(parts: Sequence[Part]) -> dict[Value, list[Part]]:
    """The parts by what their names call the stage, "" where they name none."""
    stages: dict[Value, list[Part]] = {}
    for part in parts:
        named = part.clocks.stage
        label = named if named != "" else _stage_word(part.pattern)
        stages.setdefault(label, []).append(part)
    return stages


def _stage_word(pattern: str) -> str:
    """What a pattern calls the stage in words: "anneal" in "anneal_iter_*"."""
    found = _STAGE.search(pattern.lower())
    if found is None:
        return ""
    text = re.split(r"[*/]", pattern[found.start() :])[0]
    # "cooldown-from-6000" and "cooldown-from-9000" are branches of one stage.
    return _COUNTED.sub("", _BRANCH.split(text)[0]).rstrip("-_ .=")


def _merged(parts: Sequence[Part]) -> list[list[Part]]:
    """The parts that are one run put together, those that hold most checkpoints first."""
    if len(parts) < 2 or _fit(parts):
        return [list(parts)] if parts else []
    if len(parts) > _MOST:
        return [[part] for part in parts]
    runs: list[list[Part]] = []
    for part in sorted(parts, key=lambda each: -each.readable):
        run = next((each for each in runs if _fit([*each, part])), None)
        if run is None:
            runs.append([part])
        else:
            run.append(part)
    return runs


def _fit(parts: Sequence[Part]) -> bool:
    """Whether the steps of parts show that they are one run.

    Only numbers behind a word for steps or epochs count.
    """
    if len({_found(_BRANCH, part) for part in parts}) > 1:
        return False
    heads = [part.clocks.sources[0] for part in parts if part.clocks.sources]
    kinds = {(head.words, head.unit) for head in heads}
    if len(heads) < len(parts) or len(kinds) > 1:
        return False
    if heads[0].unit == "index" or not heads[0].words.startswith("number after"):
        return False
    steps = [step for head in heads for step in head.values if step is not None]
    if len(set(steps)) < len(steps):
        return False
    shared = set.intersection(*(set(part.clocks.amounts) for part in parts))
    clocks = [_in_order(steps, _column(parts, name)) for name in sorted(shared)]
    if any(own != sorted(own) for own in clocks):
        return False
    return any(own[0] != own[-1] for own in clocks) or _apart(heads)


def _in_order(steps: Sequence[Step], column: Sequence[Value | None]) -> list[float]:
    """The numbers of a column in the order of the steps."""
    numbers = [value for value in column if isinstance(value, int | float)]
    return [number for _, number in sorted(zip(steps, numbers, strict=True))]


def _apart(heads: Sequence[Source]) -> bool:
    """Whether parts of several checkpoints each lie in ranges of steps that do not overlap.

    And whether none but the first begins near step 0, as a run of its own does.
    """
    ranges = sorted(sorted(step for step in head.values if step is not None) for head in heads)
    several = all(len(head.values) > 1 for head in heads)
    return several and all(
        before[-1] < after[0] and not starts_again(after) for before, after in pairwise(ranges)
    )
