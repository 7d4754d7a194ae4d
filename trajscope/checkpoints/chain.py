"""The segments of a run behind one another, so that the steps rise from the first to the last."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trajscope.checkpoints.base import Candidate, Skipped
from trajscope.checkpoints.clocks import Value
from trajscope.checkpoints.counters import Step
from trajscope.checkpoints.names import stage_rank
from trajscope.checkpoints.segments import Segment
from trajscope.checkpoints.sources import counts_from_start, starts_again
from trajscope.checkpoints.steps import Steps, find_steps
from trajscope.errors import TrajectoryError, printable
from trajscope.schema import EPOCH


@dataclass(frozen=True)
class Chain:
    """Candidates with their steps, and what else is counted at each; all in one order."""

    candidates: tuple[Candidate, ...]
    steps: Steps
    coordinates: Mapping[str, tuple[Value | None, ...]]
    skipped: tuple[Skipped, ...] = ()
    decisions: tuple[str, ...] = ()


@dataclass
class _Link:
    """A segment whose steps are known; `shift` is added to them."""

    segment: Segment
    steps: Steps
    kept: list[int]
    shift: Step = 0

    def first(self) -> Step:
        return min(self.steps.values[row] for row in self.kept) + self.shift

    def name(self) -> str:
        row = min(self.kept, key=lambda row: self.steps.values[row])
        return printable(self.segment.candidates[row].relative)

    def last(self) -> Step:
        return max(self.steps.values[row] for row in self.kept) + self.shift


def chained(segments: Sequence[Segment], root: Path) -> Chain:
    """The candidates of all segments in which every step is there as often as in one of them.

    Where the steps of a segment start again, and it is another stage, they go on from the last
    step before; the number that the checkpoint itself has is kept as ``stage_step``. Where they
    start again otherwise, the run was resumed there: what was written before from that step on is
    left. Positions, which are no steps, go on counting.

    Raises
    ------
    TrajectoryError
        No source knows the steps of a segment, two of them count different things, or two are the
        same stage.
    """
    links = [
        _Link(segment, find_steps(segment.candidates, root, segment.sources), kept)
        for segment in segments
        for kept in [list(range(len(segment.candidates)))]
    ]
    unit = _unit(links, root)
    decisions: list[str] = []
    skipped: list[Skipped] = []
    for index, link in enumerate(links[1:], 1):
        told, left = _attached([each for each in links[:index] if each.kept], link, unit)
        decisions.extend(told)
        skipped.extend(left)
    rows = [(link, row) for link in links for row in link.kept]
    coordinates = coordinates_of([link.segment.at(link.kept) for link in links])
    if "stage" in coordinates and any(link.shift for link in links):
        coordinates["stage_step"] = tuple(link.steps.values[row] for link, row in rows)
    if EPOCH not in coordinates and all(link.steps.epochs for link in links):
        coordinates[EPOCH] = tuple(link.steps.epochs[row] for link, row in rows)
    values = tuple(link.steps.values[row] + link.shift for link, row in rows)
    sources = dict.fromkeys(link.steps.source for link in links)
    steps = Steps(
        values,
        unit,
        "; ".join(sources),
        tuple(dict.fromkeys(text for link in links for text in link.steps.warnings)),
    )
    return Chain(
        tuple(link.segment.candidates[row] for link, row in rows),
        steps,
        coordinates,
        tuple(skipped),
        tuple(decisions),
    )


def _unit(links: Sequence[_Link], root: Path) -> str:
    """What the steps of all segments count."""
    units = {link.steps.unit for link in links}
    if len(units) == 1:
        return units.pop()
    if {link.steps.source for link in links} == {"number in the name"}:
        values = [value for link in links for value in link.steps.values]
        return "index" if counts_from_start(values) else "step"
    shown = "; ".join(f"{link.name()}: {link.steps.unit} ({link.steps.source})" for link in links)
    raise TrajectoryError(
        f"{printable(root)}: the parts of one run are expected to count the same; found {shown}. "
        "Write the step into the metadata (for example 'step'), or open one part with --run."
    )


def _attached(before: Sequence[_Link], link: _Link, unit: str) -> tuple[list[str], list[Skipped]]:
    """What was decided to put a segment behind others; changes its shift and what they keep."""
    last = max(each.last() for each in before)
    if link.first() > last:
        return [], []
    name = link.name()
    if unit == "index":
        link.shift = last + 1 - link.first()
        return [f"From {name} on the checkpoints are counted on from {last}."], []
    stage, stages = link.segment.stage, [each.segment.stage for each in before]
    if stage != "" and stage in stages:
        raise TrajectoryError(
            f"Two parts are the stage {printable(stage)} and start again at the same steps, the "
            f"second with {name}: these are branches, of which one is expected. Select one with "
            "--run."
        )
    # What names no stage may be the first one.
    follows = stage != "" and (
        any(each != "" for each in stages) or stage_rank(stage) > stage_rank(1)
    )
    there = sorted(value for each in before for value in each.steps.values)
    if follows and starts_again(sorted(link.steps.values), there):
        # An epoch in a name is its index, so that epoch 0 ends one after the last before.
        link.shift = last + (unit == "epoch" and link.first() == 0)
        text = (
            f"The steps start again in stage {printable(stage)} ({name}) and go on from step "
            f"{last}; the coordinate 'stage_step' has the steps of each stage."
        )
        return [text], []
    return _resumed(before, link, name)


def _resumed(before: Sequence[_Link], link: _Link, name: str) -> tuple[list[str], list[Skipped]]:
    """What earlier segments lose to one that starts inside them."""
    own = set(link.steps.values)
    first, last = min(own), max(own)
    skipped: list[Skipped] = []
    for each in before:
        steps = {row: each.steps.values[row] + each.shift for row in each.kept}
        repeats = any(step in own for step in steps.values())
        # A stage is not what the one before went on with, where it ends earlier too.
        goes_on = last >= max(steps.values()) or link.segment.stage not in ("", each.segment.stage)
        gone = [
            row
            for row, step in steps.items()
            if step in own or (step >= first and (repeats or goes_on))
        ]
        each.kept = [row for row in each.kept if row not in set(gone)]
        skipped.extend(
            Skipped(
                printable(each.segment.candidates[row].relative),
                f"the run was resumed before this step, with {name}",
            )
            for row in gone
        )
    if not skipped:
        return [], []
    count = f"{len(skipped)} checkpoint{'' if len(skipped) == 1 else 's'}"
    return [
        f"{name} continues from before step {first}, so {count} from there on "
        "of the earlier parts are replaced."
    ], skipped


def coordinates_of(segments: Sequence[Segment]) -> dict[str, tuple[Value | None, ...]]:
    """By name, what is counted at each candidate of the segments besides their steps."""
    names = dict.fromkeys(name for segment in segments for name in segment.coordinates)
    columns: dict[str, tuple[Value | None, ...]] = {}
    stages = dict.fromkeys(segment.stage for segment in segments)
    if len(stages) > 1:
        whole = all(isinstance(stage, int) for stage in stages)
        columns["stage"] = tuple(
            segment.stage if whole else str(segment.stage)
            for segment in segments
            for _ in segment.candidates
        )
    for name in names:
        columns[name] = tuple(
            value
            for segment in segments
            for value in segment.coordinates.get(name)
            or segment.amounts.get(name)
            or (None,) * len(segment.candidates)
        )
    return columns
