"""Which step of training each checkpoint of a series is."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trajscope.checkpoints.base import Candidate
from trajscope.checkpoints.names import EPOCH, METRIC, STEP, Name
from trajscope.errors import CheckpointError, TrajectoryError, printable
from trajscope.readers.base import open_regular

Step = int | float

STEP_KEYS = (
    "global_step", "global_steps", "step", "steps", "iter_num", "iteration", "iter", "num_steps",
)  # fmt: skip
EPOCH_KEYS = ("epoch", "current_epoch")
# Counters may lie one level down, beside the model; those of the optimizer mean something else.
_SECTIONS = ("", "trainer/", "train_state/", "state/", "meta/", "metadata/", "info/", "progress/")
# The keys of trainer_state.json are sorted, and its long log comes after the step.
_STATE_BYTES = 64 << 10
_STATE_STEP = re.compile(rb'(?<!\\)"global_step"\s*:\s*(\d{1,18})\b')


@dataclass(frozen=True)
class Steps:
    """The step of each candidate, in their order; `source` says where it was found."""

    values: tuple[Step, ...]
    unit: str
    source: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Source:
    words: str
    unit: str
    values: tuple[Step | None, ...]
    in_name: bool = False

    @property
    def complete(self) -> bool:
        return None not in self.values

    @property
    def distinct(self) -> int:
        return len(set(self.values))


def find_steps(candidates: Sequence[Candidate], root: Path) -> Steps:
    """Steps of all candidates from one source, the first that knows them all.

    The sources in their order: ``global_step`` in the trainer_state.json beside each; a counter
    inside (`STEP_KEYS`, then `EPOCH_KEYS`); a number after a word for steps in the name, then
    after a word for epochs; the number that changes over the series. A source with at most half
    as many values as there are checkpoints is passed over while another does better, as an epoch
    is where several checkpoints are written in each. A number without a word that runs 0, 1, 2...
    or 1, 2, 3... is an index; any other is taken for a step.

    Raises
    ------
    TrajectoryError
        No source knows the step of every checkpoint.
    """
    sources = [
        source for source in _sources(candidates) if any(v is not None for v in source.values)
    ]
    complete = [source for source in sources if source.complete]
    if not complete:
        raise TrajectoryError(
            f"{printable(root)}: the step of each checkpoint was expected in its metadata or in "
            f"its name, but {_what_is_there(candidates, sources)}. Write the step into the "
            "metadata (for example 'step'), or rename the files to something like step-100."
        )
    chosen = next(
        (source for source in complete if 2 * source.distinct > len(candidates)),
        max(complete, key=lambda source: source.distinct),
    )
    values = tuple(value for value in chosen.values if value is not None)
    return Steps(values, chosen.unit, chosen.words, _doubts(chosen, sources, candidates))


def step_slot(names: Sequence[Name]) -> int | None:
    """Position of the number that is the step in names of one pattern, or `None`.

    The last one after a word for steps, else after a word for epochs, else the last that changes
    and is no metric.
    """
    if not names[0].numbers:
        return None
    kinds = [number.kind for number in names[0].numbers]
    for wanted in (STEP, EPOCH):
        slots = [i for i, kind in enumerate(kinds) if kind == wanted]
        if slots:
            return slots[-1]
    plain = [i for i, kind in enumerate(kinds) if kind != METRIC]
    changing = [i for i in plain if len({name.numbers[i].value for name in names}) > 1]
    return next(reversed(changing or (plain if len(names) == 1 else [])), None)


def _sources(candidates: Sequence[Candidate]) -> list[_Source]:
    counters = [_Source("trainer_state.json", "step", _trainer_states(candidates))]
    inside = [candidate.parts[0].header.metadata for candidate in candidates]
    present = {name.rpartition("/")[2] for metadata in inside for name in metadata}
    for keys, unit in ((STEP_KEYS, "step"), (EPOCH_KEYS, "epoch")):
        for key in keys:
            if key in present:
                values = tuple(_counter(metadata, key) for metadata in inside)
                counters.append(_Source(f"metadata key '{key}'", unit, values))
    return [*counters, *_name_sources([candidate.name for candidate in candidates])]


def _name_sources(names: Sequence[Name]) -> list[_Source]:
    if len({name.pattern for name in names}) > 1:
        return []
    sources = []
    kinds = [number.kind for number in names[0].numbers]
    for kind in (STEP, EPOCH):
        if kind in kinds:
            slot = len(kinds) - 1 - kinds[::-1].index(kind)
            values = tuple(name.numbers[slot].value for name in names)
            sources.append(
                _Source(f"number after '{kind}' in the name", kind, values, in_name=True)
            )
    slot_or_none = step_slot(names)
    if not sources and slot_or_none is not None:
        numbers = tuple(name.numbers[slot_or_none].value for name in names)
        unit = "index" if _is_count(numbers) else "step"
        sources.append(_Source("number in the name", unit, numbers, in_name=True))
    return sources


def _is_count(values: Sequence[Step]) -> bool:
    """Whether the values are 0, 1, 2... or 1, 2, 3... in some order."""
    ordered = sorted(set(values))
    return any(ordered == list(range(first, first + len(ordered))) for first in (0, 1))


def _counter(metadata: Mapping[str, str | int | float | bool], key: str) -> Step | None:
    """The number under `key`, in the file's own top level or in a section about training."""
    for section in _SECTIONS:
        value = metadata.get(section + key)
        if value is not None:
            return _number(value)
    return None


def _number(value: str | int | float | bool) -> Step | None:
    if isinstance(value, bool) or (isinstance(value, str) and len(value) > 32):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    # Above 2**53 a step could not be told from its neighbour in float64.
    if not math.isfinite(number) or not 0 <= number <= 2**53:
        return None
    return int(number) if number.is_integer() else number


def _trainer_states(candidates: Sequence[Candidate]) -> tuple[Step | None, ...]:
    """``global_step`` of the trainer_state.json in each candidate's own folder."""
    folders = [candidate.parts[0].file.path.parent for candidate in candidates]
    if len(set(folders)) < len(folders):
        return (None,) * len(folders)
    steps: list[Step | None] = []
    for folder in folders:
        steps.append(_trainer_state(folder / "trainer_state.json"))
        if steps[0] is None:  # no such trainer, so 20,000 folders need not be looked into
            return (None,) * len(folders)
    return tuple(steps)


def _trainer_state(path: Path) -> Step | None:
    try:
        with open(open_regular(path), "rb") as file:
            found = _STATE_STEP.search(file.read(_STATE_BYTES))
    except (CheckpointError, OSError):
        return None
    return int(found.group(1)) if found else None


def _doubts(
    chosen: _Source, sources: Sequence[_Source], candidates: Sequence[Candidate]
) -> tuple[str, ...]:
    """What the user should know: sources that disagree with the chosen one, or are incomplete."""
    warnings = []
    for source in sources:
        if source is chosen:
            continue
        if not source.complete and not source.in_name:
            missing = sum(1 for value in source.values if value is None)
            if sources.index(source) < sources.index(chosen):
                warnings.append(
                    f"The {source.words} is missing in {missing} of {len(candidates)} checkpoints, "
                    f"so the steps are taken from the {chosen.words}."
                )
            continue
        differing = _first_difference(chosen, source)
        if differing is not None and not _explained(source, sources):
            first = candidates[differing]
            warnings.append(
                f"{printable(first.relative)}: the {source.words} says {source.values[differing]}, "
                f"the {chosen.words} says {chosen.values[differing]}; "
                f"the {chosen.words} was taken for every checkpoint."
            )
    return tuple(warnings)


def _first_difference(chosen: _Source, source: _Source) -> int | None:
    """Position of the first disagreement of two sources that speak of the same thing."""
    if "epoch" in (chosen.unit, source.unit) and chosen.unit != source.unit:
        return None
    pairs = zip(chosen.values, source.values, strict=True)
    return next((i for i, (mine, other) in enumerate(pairs) if mine != other), None)


def _explained(source: _Source, sources: Sequence[_Source]) -> bool:
    """Whether a plain number in the name is another known counter, such as the epoch."""
    return source.in_name and any(
        other is not source and other.values == source.values for other in sources
    )


def _what_is_there(candidates: Sequence[Candidate], sources: Sequence[_Source]) -> str:
    if sources:
        known = sum(1 for value in sources[0].values if value is not None)
        return f"only {known} of {len(candidates)} have a {sources[0].words}"
    example = printable(candidates[0].relative)
    return f"neither has a number that could be one ({example} and {len(candidates) - 1} more)"
