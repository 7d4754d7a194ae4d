"""Steps that the numbers in names say, as sources to choose from."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from trajscope.checkpoints.columns import Column
from trajscope.checkpoints.counters import Step
from trajscope.checkpoints.names import (
    BATCH,
    CHECKPOINT,
    EPOCH,
    SAMPLES,
    STEP,
    TIME,
    TOKENS,
    UNTAGGED,
)

PLAIN = frozenset((CHECKPOINT, UNTAGGED))
"""Kinds of numbers that may be the step although no word says so."""
AMOUNTS = frozenset((TOKENS, SAMPLES))
"""Kinds of numbers that rise with the step and never are it."""
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
_WORDS = {
    TOKENS: "tokens",
    BATCH: "batch",
    EPOCH: "epoch",
    STEP: "step_in_name",
    CHECKPOINT: "checkpoint",
}


@dataclass(frozen=True)
class Source:
    """Where steps may be found; `caveat` is what the user should know if this is the one taken."""

    words: str
    unit: str
    values: tuple[Step | None, ...]
    in_name: bool = False
    caveat: str = ""

    @property
    def complete(self) -> bool:
        """Whether it knows the step of every checkpoint."""
        return None not in self.values

    @property
    def distinct(self) -> int:
        """How many steps there are."""
        return len(set(self.values))

    def at(self, rows: Sequence[int]) -> "Source":
        """The same of some of the checkpoints."""
        values = tuple([self.values[row] for row in rows])
        return Source(self.words, self.unit, values, self.in_name, self.caveat)


def spoken(column: Column) -> str:
    """What a number that is counted is called."""
    word = {"sample": "samples"}.get(column.word, column.word)
    return _WORDS.get(column.kind) or word or "number"


def starts_again(ordered: Sequence[Step], beside: Sequence[Step] = ()) -> bool:
    """Whether steps in their order begin near 0, by how far they are apart.

    `beside` are other steps in their order, which say it of a single one.
    """
    gaps = [after - before for before, after in pairwise(ordered if len(ordered) > 1 else beside)]
    return ordered[0] <= max(gaps, default=0)


def counts_from_start(values: Sequence[Step]) -> bool:
    """Whether the values are 0, 1, 2... or 1, 2, 3... in some order."""
    ordered = sorted(set(values))
    return any(ordered == list(range(first, first + len(ordered))) for first in (0, 1))


def sources_of(columns: Sequence[Column], step: Column) -> list[Source]:
    """Where the names say the step, the best first."""
    epochs = next((e for e in reversed(columns) if e.kind == EPOCH and e is not step), None)
    if step.kind in (STEP, BATCH) and epochs is not None:
        pairs = list(zip(epochs.values, step.values, strict=True))
        if len(set(pairs)) > step.distinct:  # one step in several epochs
            return [_in_epochs(pairs)]
    if step.kind in (STEP, BATCH):
        found = [_after(step, "step")]
        return [*found, _after(epochs, "epoch")] if epochs is not None else found
    if step.kind == EPOCH:
        return [_after(step, "epoch")]
    if step.kind in AMOUNTS:
        return [_in_order_of_amounts(step)]
    if step.kind == TIME:
        times = [each for each in columns if each.kind == TIME]
        order = list(zip(*(each.values for each in times), strict=True))
        return [_in_order("order of the times in the name", order)]
    return [_plain_number(columns, step)]


def _after(column: Column, unit: str) -> Source:
    words = f"number after '{column.kind}' in the name"
    return Source(words, unit, column.values, in_name=True)


def _in_order(words: str, keys: Sequence[object], caveat: str = "") -> Source:
    """The positions of the names in the order of `keys`."""
    position = {key: index for index, key in enumerate(sorted(set(keys)))}  # type: ignore[type-var]
    return Source(words, "index", tuple(position[key] for key in keys), True, caveat)


def _in_epochs(pairs: Sequence[tuple[Step, Step]]) -> Source:
    """The order of checkpoints whose names count the steps of each epoch from its start."""
    return _in_order(
        "order of epoch and step in the name",
        pairs,
        "The steps in the names start again in every epoch, so the checkpoints are numbered in the "
        "order of epoch and step. Write the step since the start of training into the metadata "
        "(for example 'step') to use it as the axis.",
    )


def _in_order_of_amounts(column: Column) -> Source:
    """The order of checkpoints whose names count tokens or samples, but no steps."""
    what = spoken(column)
    ordered = sorted(set(column.values))
    gaps = {after - before for before, after in pairwise(ordered)}
    caveat = ""
    if len(gaps) > 1:
        caveat = (
            f"The names count {what} and no steps, at uneven distances, so the checkpoints are "
            f"numbered in their order; the coordinate '{what}' has the numbers. Write the step "
            "into the metadata (for example 'step') to use it as the axis."
        )
    return _in_order(f"order of the {what} in the name", column.values, caveat)


def _plain_number(columns: Sequence[Column], step: Column) -> Source:
    """A number that no word explains."""
    others = [each for each in columns if each.kind == step.kind or each.kind in PLAIN]
    changing = [each for each in others if each.changes]
    caveat = ""
    if len(changing) > 1:
        caveat = (
            f"{len(changing)} numbers in the names differ between checkpoints, and none is named "
            f"'step'; the {_ORDINALS[changing.index(step) % len(_ORDINALS)]} of them is used. Name "
            "it (step-100), or write the step into the metadata."
        )
    unit = "index" if counts_from_start(step.values) else "step"
    return Source("number in the name", unit, step.values, in_name=True, caveat=caveat)
