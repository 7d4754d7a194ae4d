"""Which step of training each checkpoint of a series is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trajscope.checkpoints.base import Candidate
from trajscope.checkpoints.counters import (
    EPOCH_KEYS,
    STEP_KEYS,
    Step,
    metadata_steps,
    tensor_steps,
    trainer_states,
)
from trajscope.checkpoints.names import EPOCH, METRIC, STEP, Name
from trajscope.errors import TrajectoryError, printable
from trajscope.readers.natural import natural_key


@dataclass(frozen=True)
class Steps:
    """The step of each candidate, in their order; `source` says where it was found."""

    values: tuple[Step, ...]
    unit: str
    source: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Source:
    """Where steps may be found; `caveat` is what the user should know if this is the one taken."""

    words: str
    unit: str
    values: tuple[Step | None, ...]
    in_name: bool = False
    caveat: str = ""

    @property
    def complete(self) -> bool:
        return None not in self.values

    @property
    def distinct(self) -> int:
        return len(set(self.values))


def find_steps(candidates: Sequence[Candidate], root: Path) -> Steps:
    """Steps of all candidates from one source, the first that knows them all.

    The sources in their order: ``global_step`` in the trainer_state.json beside each; a counter
    inside (`STEP_KEYS`, then `EPOCH_KEYS`), in the metadata or as a tensor; a number after a word
    for steps in the name, then after a word for epochs, or the order of both where the steps start
    again in every epoch; the number that changes over the series. A source with at most half
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
            "metadata (for example 'step'), rename the files to names like step-100, or use only "
            "their order, with --order mtime or --order name."
        )
    chosen = next(
        (source for source in complete if 2 * source.distinct > len(candidates)),
        max(complete, key=lambda source: source.distinct),
    )
    values = tuple(value for value in chosen.values if value is not None)
    return Steps(values, chosen.unit, chosen.words, _caveats(chosen, sources, candidates))


def ordered_steps(candidates: Sequence[Candidate], order: str) -> Steps:
    """The position of each candidate in the order of "mtime" or "name", whatever their steps.

    mtime is the time at which the last of a checkpoint's files was last changed; equal times are
    ordered by name, with a warning.
    """
    names = [natural_key(candidate.relative) for candidate in candidates]
    times = [max(part.file.mtime_ns for part in candidate.parts) for candidate in candidates]
    keys = list(zip(times, names, strict=True)) if order == "mtime" else names
    position = {
        index: rank for rank, index in enumerate(sorted(range(len(keys)), key=keys.__getitem__))
    }
    values = tuple(position[index] for index in range(len(keys)))
    if order == "name":
        return Steps(values, "index", "order of the names, as requested")
    warnings: tuple[str, ...] = ()
    if equal := len(times) - len(set(times)):
        warnings = (
            f"{equal} of {len(times)} checkpoints were written at the same time as another, so "
            "they are sorted by name. Were they copied? --order name ignores the times.",
        )
    return Steps(values, "index", "order of modification times, as requested", warnings)


def step_slot(names: Sequence[Name]) -> int | None:
    """Position of the number that is the step in names of one pattern, or `None`.

    The last one after a word for steps, else after a word for epochs, else the last that changes
    and is no metric, a whole one if there are any.
    """
    if not names[0].numbers:
        return None
    kinds = [number.kind for number in names[0].numbers]
    for wanted in (STEP, EPOCH):
        slots = [i for i, kind in enumerate(kinds) if kind == wanted]
        if slots:
            return slots[-1]
    plain = [i for i, kind in enumerate(kinds) if kind != METRIC]
    return next(reversed(_changing(names) or (plain if len(names) == 1 else [])), None)


def _changing(names: Sequence[Name]) -> list[int]:
    """Positions of the numbers that change and may be steps: of several, the whole ones alone."""
    changing = [
        position
        for position, number in enumerate(names[0].numbers)
        if number.kind != METRIC and len({name.numbers[position].value for name in names}) > 1
    ]
    # "ckpt.01-0.77": a number with a fraction beside a whole one is a loss.
    whole = [
        position
        for position in changing
        if all(isinstance(name.numbers[position].value, int) for name in names)
    ]
    return whole or changing


def _sources(candidates: Sequence[Candidate]) -> list[_Source]:
    counters = [_Source("trainer_state.json", "step", trainer_states(candidates))]
    inside = [candidate.parts[0].header.metadata for candidate in candidates]
    present = {name.rpartition("/")[2] for metadata in inside for name in metadata}
    for keys, unit in ((STEP_KEYS, "step"), (EPOCH_KEYS, "epoch")):
        for key in keys:
            if key in present:
                values = metadata_steps(candidates, key)
                counters.append(_Source(f"metadata key '{key}'", unit, values))
            else:
                values = tensor_steps(candidates, key)
                counters.append(_Source(f"tensor '{key}'", unit, values))
    return [*counters, *_name_sources([candidate.name for candidate in candidates])]


def _name_sources(names: Sequence[Name]) -> list[_Source]:
    if len({name.pattern for name in names}) > 1:
        return []
    kinds = [number.kind for number in names[0].numbers]
    columns = {
        kind: tuple(name.numbers[len(kinds) - 1 - kinds[::-1].index(kind)].value for name in names)
        for kind in (STEP, EPOCH)
        if kind in kinds
    }
    if len(columns) == 2:
        pairs = list(zip(columns[EPOCH], columns[STEP], strict=True))
        if len(set(pairs)) > len(set(columns[STEP])):  # one step in several epochs
            return [_in_epochs(pairs)]
    if columns:
        return [
            _Source(f"number after '{kind}' in the name", kind, values, in_name=True)
            for kind, values in columns.items()
        ]
    slot = step_slot(names)
    return [] if slot is None else [_plain_number(names, slot)]


def _in_epochs(pairs: Sequence[tuple[Step, Step]]) -> _Source:
    """The order of checkpoints whose names count the steps of each epoch from its start."""
    position = {pair: index for index, pair in enumerate(sorted(set(pairs)))}
    return _Source(
        "order of epoch and step in the name",
        "index",
        tuple(position[pair] for pair in pairs),
        in_name=True,
        caveat=(
            "The steps in the names start again in every epoch, so the checkpoints are numbered "
            "in the order of epoch and step. Write the step since the start of training into the "
            "metadata (for example 'step') to use it as the axis."
        ),
    )


def _plain_number(names: Sequence[Name], slot: int) -> _Source:
    """The number at `slot`, which no word explains."""
    values = tuple(name.numbers[slot].value for name in names)
    changing = _changing(names)
    caveat = ""
    if len(changing) > 1:
        caveat = (
            f"{len(changing)} numbers in the names differ between checkpoints, and none is named "
            "'step'; the last one is used. Name it (step-100), or write the step into the "
            "metadata."
        )
    unit = "index" if _is_count(values) else "step"
    return _Source("number in the name", unit, values, in_name=True, caveat=caveat)


def _is_count(values: Sequence[Step]) -> bool:
    """Whether the values are 0, 1, 2... or 1, 2, 3... in some order."""
    ordered = sorted(set(values))
    return any(ordered == list(range(first, first + len(ordered))) for first in (0, 1))


def _caveats(
    chosen: _Source, sources: Sequence[_Source], candidates: Sequence[Candidate]
) -> tuple[str, ...]:
    """What the user should know: sources that disagree with the chosen one, or are incomplete."""
    warnings = [chosen.caveat] if chosen.caveat else []
    for source in sources:
        if source is chosen:
            continue
        if not source.complete and not source.in_name:
            missing = sum(1 for value in source.values if value is None)
            if sources.index(source) < sources.index(chosen):
                warnings.append(
                    f"The {source.words} is missing in {missing} of {len(candidates)} "
                    f"checkpoints, so the steps come from the {chosen.words}."
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
    return (
        f"neither contains a number that could be a step ({example} and {len(candidates) - 1} more)"
    )
