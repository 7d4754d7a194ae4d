"""Which step of training each checkpoint of a series is."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
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
from trajscope.checkpoints.sources import Source
from trajscope.errors import TrajectoryError, printable
from trajscope.readers.natural import natural_key


@dataclass(frozen=True)
class Steps:
    """The step of each candidate, in their order; `source` says where it was found.

    `epochs` are those that the checkpoints count beside their steps, none where one does not.
    """

    values: tuple[Step, ...]
    unit: str
    source: str
    warnings: tuple[str, ...] = ()
    epochs: tuple[Step, ...] = ()


def find_steps(
    candidates: Sequence[Candidate], root: Path, in_names: Sequence[Source] = ()
) -> Steps:
    """Steps of all candidates from one source, the first that knows them all.

    The sources in their order: ``global_step`` in the trainer_state.json beside each; a counter
    inside (`STEP_KEYS`, then `EPOCH_KEYS`), in the metadata or as a tensor; a number after a word
    for steps in the name, then after a word for epochs, or the order of both where the steps start
    again in every epoch; the number that changes over the series. A source with at most half
    as many values as there are checkpoints is passed over while another does better, as an epoch
    is where several checkpoints are written in each; so is one that starts again, in the order of
    another that has a value for each checkpoint. A number without a word that runs 0, 1, 2...
    or 1, 2, 3... is an index; any other is taken for a step.

    Parameters
    ----------
    in_names :
        What the names say, as `clocks_of` finds it.

    Raises
    ------
    TrajectoryError
        No source knows the step of every checkpoint.
    """
    sources = [
        source
        for source in (*_counters(candidates), *in_names)
        if any(v is not None for v in source.values)
    ]
    complete = [source for source in sources if source.complete]
    if not complete:
        raise TrajectoryError(
            f"{printable(root)}: the step of each checkpoint was expected in its metadata or in "
            f"its name, but {_what_is_there(candidates, sources)}. Write the step into the "
            "metadata (for example 'step'), rename the files to names like step-100, or use only "
            "their order, with --order mtime or --order name."
        )
    telling = [each for each in complete if 2 * each.distinct > len(candidates)]
    chosen, *others = telling or [max(complete, key=lambda source: source.distinct)]
    told: tuple[str, ...] = ()
    if chosen.distinct < len(candidates):
        first = chosen
        chosen = next((each for each in others if _starts_again(first, each)), first)
        if chosen is not first:
            told = (
                f"The {first.words} goes back on the way and repeats itself, so the steps come "
                f"from the {chosen.words}.",
            )
    values = tuple(value for value in chosen.values if value is not None)
    warnings = (*told, *_caveats(chosen, sources, candidates))
    epochs: tuple[Step, ...] = ()
    if chosen.unit == "step":
        counted = (each.values for each in complete if each.unit == "epoch")
        epochs = next(counted, ())  # type: ignore[arg-type]
    return Steps(values, chosen.unit, chosen.words, warnings, epochs)


def _starts_again(source: Source, other: Source) -> bool:
    """Whether values repeat and go back in the order of others that are all different."""
    known = zip(other.values, source.values, strict=True)
    pairs = sorted((a, b) for a, b in known if a is not None and b is not None)
    return other.distinct == len(pairs) and any(b < a for (_, a), (_, b) in pairwise(pairs))


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


def _counters(candidates: Sequence[Candidate]) -> list[Source]:
    """What the checkpoints themselves say."""
    counters = [Source("trainer_state.json", "step", trainer_states(candidates))]
    inside = [candidate.parts[0].header.metadata for candidate in candidates]
    present = {name.rpartition("/")[2] for metadata in inside for name in metadata}
    for keys, unit in ((STEP_KEYS, "step"), (EPOCH_KEYS, "epoch")):
        for key in keys:
            if key in present:
                values = metadata_steps(candidates, key)
                counters.append(Source(f"metadata key '{key}'", unit, values))
            else:
                values = tensor_steps(candidates, key)
                counters.append(Source(f"tensor '{key}'", unit, values))
    return counters


def _caveats(
    chosen: Source, sources: Sequence[Source], candidates: Sequence[Candidate]
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


def _first_difference(chosen: Source, source: Source) -> int | None:
    """Position of the first disagreement of two sources that speak of the same thing."""
    if any(each.words.startswith("order of") for each in (chosen, source)):
        return None
    if "epoch" in (chosen.unit, source.unit) and chosen.unit != source.unit:
        return None
    pairs = zip(chosen.values, source.values, strict=True)
    return next((i for i, (mine, other) in enumerate(pairs) if mine != other), None)


def _explained(source: Source, sources: Sequence[Source]) -> bool:
    """Whether a plain number in the name is another known counter, such as the epoch."""
    return source.in_name and any(
        other is not source and other.values == source.values for other in sources
    )


def _what_is_there(candidates: Sequence[Candidate], sources: Sequence[Source]) -> str:
    if sources:
        known = sum(1 for value in sources[0].values if value is not None)
        return f"only {known} of {len(candidates)} have a {sources[0].words}"
    example = printable(candidates[0].relative)
    return (
        f"neither contains a number that could be a step ({example} and {len(candidates) - 1} more)"
    )
