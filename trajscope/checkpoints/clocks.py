"""Which number in the names of a family is the step, which others are the same clock, which runs.

The names decide together, never one alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from trajscope.checkpoints.columns import FRACTION, TIME, Column, columns_of
from trajscope.checkpoints.counters import Step
from trajscope.checkpoints.names import (
    BATCH,
    CHECKPOINT,
    EPOCH,
    METRIC,
    SAMPLES,
    STAGE,
    STEP,
    TOKENS,
    UNTAGGED,
    Name,
)

Value = int | float | str
"""Of a coordinate at one checkpoint."""

_PLAIN = frozenset((CHECKPOINT, UNTAGGED))
_AMOUNTS = frozenset((TOKENS, SAMPLES))
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")


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


@dataclass(frozen=True)
class Clocks:
    """What the names of some candidates count, in the order of the candidates.

    Attributes
    ----------
    sources :
        Where the names may say the step, the best first.
    coordinates :
        By name, the numbers that rise with the step.
    amounts :
        Likewise, but all that say by their word that they count training, also where they are
        the same in every name: they may change beside others.
    stage :
        What the stage of all of them is called, "" where the names do not say.
    """

    sources: tuple[Source, ...] = ()
    coordinates: Mapping[str, tuple[Value | None, ...]] = field(default_factory=dict)
    amounts: Mapping[str, tuple[Value | None, ...]] = field(default_factory=dict)
    stage: Value = ""


def separated(names: Sequence[Name]) -> list[list[int]]:
    """The positions of `names` of one pattern by the runs that they belong to.

    Names of several stages are kept apart. Numbers that tell equal steps apart make runs, if they
    do not rise with the step and every one of them has several names.
    """
    columns = columns_of(names)
    everything = list(range(len(names)))
    stage = next((each for each in columns if each.kind == STAGE and each.changes), None)
    if stage is None or _step(columns) in (None, stage):
        return _by_runs(columns, everything)
    return [
        run
        for rows in _grouped(everything, [stage])
        for run in _by_runs([each.at(rows) for each in columns], rows)
    ]


def fixed_slots(names: Sequence[Name]) -> set[int]:
    """Positions of the numbers that are the same in all names, but for the step."""
    columns = columns_of(names)
    step = _step(columns)
    return {
        slot for slot, each in enumerate(columns) if each is not step and not each.changes
    }


def clocks_of(names: Sequence[Name]) -> Clocks:
    """What the names of one run count; they have one pattern."""
    columns = columns_of(names)
    step = _step(columns)
    stages = [each for each in columns if each.kind == STAGE and each is not step]
    if step is None:
        return Clocks()
    sources = _sources(columns, step)
    rising = [
        each
        for each in columns
        if each is not step
        and each.changes
        and each.kind not in (METRIC, TIME, FRACTION, STAGE)
        and (_rises(each, step) or each.kind == EPOCH)
    ]
    coordinates: dict[str, tuple[Value | None, ...]] = {}
    if sources[0].unit == "index" and step.kind in (STEP, BATCH, EPOCH, *_AMOUNTS):
        rising.append(step)
    for each in rising:
        coordinates[free_name(_spoken(each), coordinates)] = each.values
    amounts = {
        _spoken(each): each.values
        for each in columns
        if each is not step and each.kind in (BATCH, EPOCH, *_AMOUNTS)
    }
    return Clocks(tuple(sources), coordinates, amounts, stages[0].values[0] if stages else "")


def counts_from_start(values: Sequence[Step]) -> bool:
    """Whether the values are 0, 1, 2... or 1, 2, 3... in some order."""
    ordered = sorted(set(values))
    return any(ordered == list(range(first, first + len(ordered))) for first in (0, 1))


def is_free(name: str) -> bool:
    """Whether no coordinate that every trajectory has is called so."""
    return name not in _OWN


def free_name(wanted: str, taken: Iterable[str]) -> str:
    """`wanted`, with a number behind it where it is taken or the trajectory has one of its own."""
    used = {*taken, *_OWN, "stage", "stage_step"}
    numbered = (f"{wanted}_{count}" for count in range(2, len(used) + 3))
    return wanted if wanted not in used else next(each for each in numbered if each not in used)


_OWN = frozenset(
    ("step", "path", "fingerprint", "tensor", "row_size", "group", "shape", "stored_dtype",
     "weight", "weights", "interval", "run", "case", "window")
)  # fmt: skip
_WORDS = {
    TOKENS: "tokens",
    BATCH: "batch",
    EPOCH: "epoch",
    STEP: "step_in_name",
    CHECKPOINT: "checkpoint",
}


def _spoken(column: Column) -> str:
    word = {"sample": "samples"}.get(column.word, column.word)
    return _WORDS.get(column.kind) or word or "number"


def _step(columns: Sequence[Column]) -> Column | None:
    """The column that is the step.

    The last one behind a word for steps, else for batches, else for epochs, but for one that
    repeats itself while a number without a word does not; else the last number that changes. Counts
    of tokens and times only where there is nothing else.
    """
    plain = _plain(columns)
    for kind in (STEP, BATCH, EPOCH):
        tagged = [each for each in columns if each.kind == kind]
        if tagged:
            chosen = next((each for each in reversed(tagged) if each.changes), tagged[-1])
            finer = [each for each in plain if kind != STEP and _is_finer(each, chosen)]
            return finer[-1] if finer else chosen
    if not plain and not any(each.changes for each in columns):
        plain = [each for each in columns if each.kind in _PLAIN]
    unique = [each for each in plain if each.distinct == len(each.values)]
    others = [
        each
        for kinds in (_AMOUNTS, (FRACTION,), (TIME,), (STAGE,))
        for each in columns
        if each.kind in kinds and each.changes
    ]
    return next(iter([*reversed(unique), *reversed(plain), *others]), None)


def _plain(columns: Sequence[Column]) -> list[Column]:
    """The whole numbers that change and that no word explains."""
    return [each for each in columns if each.kind in _PLAIN and each.changes]


def _is_finer(column: Column, coarse: Column) -> bool:
    """Whether a column counts on while the other repeats itself."""
    n_names = len(column.values)
    return (
        coarse.changes
        and coarse.distinct < n_names == column.distinct
        and _rises(coarse, column)
    )


def _rises(column: Column, step: Column) -> bool:
    """Whether a number never falls where the step rises, and is one at each step."""
    pairs = sorted(set(zip(step.values, column.values, strict=True)))
    steps = {step for step, _ in pairs}
    values = [value for _, value in pairs]
    return len(steps) == len(pairs) and values == sorted(values)


def _by_runs(columns: Sequence[Column], rows: list[int]) -> list[list[int]]:
    """The rows, or their parts where numbers tell equal steps apart."""
    step = _step(columns)
    if step is None or step.distinct == len(rows):
        return [rows]
    fixed: list[Column] = []
    others = [
        each
        for each in columns
        if each is not step and each.kind not in (METRIC, EPOCH, FRACTION) and each.changes
    ]
    others = [each for each in others if not _rises(each, step)]
    epochs = [each for each in columns if each.kind == EPOCH and each is not step]
    counted = [step, *epochs]
    while others:
        before = _repeats(counted, fixed)
        best = min(others, key=lambda each: (_repeats(counted, [*fixed, each]), each.distinct))
        n_runs = len(set(zip(*(each.values for each in (*fixed, best)), strict=True)))
        if _repeats(counted, [*fixed, best]) == before or 2 * n_runs > len(rows):
            break
        fixed.append(best)
        others.remove(best)
    return _grouped(rows, fixed) if fixed else [rows]


def _repeats(counted: Sequence[Column], fixed: Sequence[Column]) -> int:
    """How many names repeat the step of another of their run."""
    keys = list(zip(*(each.values for each in (*counted, *fixed)), strict=True))
    return len(keys) - len(set(keys))


def _grouped(rows: Sequence[int], columns: Sequence[Column]) -> list[list[int]]:
    """The rows with equal numbers together."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for row, key in zip(rows, zip(*(each.values for each in columns), strict=True), strict=True):
        groups.setdefault(key, []).append(row)
    return [groups[key] for key in sorted(groups)]


def _sources(columns: Sequence[Column], step: Column) -> list[Source]:
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
    if step.kind in _AMOUNTS:
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
    what = _spoken(column)
    ordered = sorted(set(column.values))
    gaps = {after - before for before, after in zip(ordered, ordered[1:], strict=False)}
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
    others = [each for each in columns if each.kind == step.kind or each.kind in _PLAIN]
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
