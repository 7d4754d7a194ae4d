"""Which number in the names of a family is the step, which others are the same clock, which runs.

The names decide together, never one alone.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from trajscope.checkpoints.columns import FRACTION, Column, columns_of
from trajscope.checkpoints.names import (
    BATCH,
    EPOCH,
    METRIC,
    STAGE,
    STEP,
    TIME,
    Name,
)
from trajscope.checkpoints.sources import AMOUNTS, PLAIN, Source, sources_of, spoken

Value = int | float | str
"""Of a coordinate at one checkpoint."""


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
    do not rise with the step and are not new in every name.
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


def fixed_slots(columns: Sequence[Column]) -> set[int]:
    """Positions of the numbers that are the same in all names, but for the step."""
    step = _step(columns)
    return {slot for slot, each in enumerate(columns) if each is not step and not each.changes}


def clocks_of(columns: Sequence[Column]) -> Clocks:
    """What the names of one run count, by the numbers in them."""
    step = _step(columns)
    stages = [each for each in columns if each.kind == STAGE and each is not step]
    if step is None:
        return Clocks()
    sources = sources_of(columns, step)
    rising = [
        each
        for each in columns
        if each is not step
        and each.changes
        and each.kind not in (METRIC, TIME, FRACTION, STAGE)
        and (_rises(each, step) or each.kind == EPOCH)
    ]
    coordinates: dict[str, tuple[Value | None, ...]] = {}
    if sources[0].unit == "index" and step.kind in (STEP, BATCH, EPOCH, *AMOUNTS):
        rising.append(step)
    for each in rising:
        # "ep1-ba25/ep1-ba25.pt": a file says what its folder says.
        if each is not step and (each.kind, each.values) == (step.kind, step.values):
            continue
        if coordinates.get(spoken(each)) != each.values:
            coordinates[free_name(spoken(each), coordinates)] = each.values
    amounts = {
        spoken(each): each.values
        for each in columns
        if each is not step and each.kind in (BATCH, EPOCH, *AMOUNTS)
    }
    return Clocks(tuple(sources), coordinates, amounts, stages[0].values[0] if stages else "")


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
        plain = [each for each in columns if each.kind in PLAIN]
    unique = [each for each in plain if each.distinct == len(each.values)]
    others = [
        each
        for kinds in (AMOUNTS, (FRACTION,), (TIME,), (STAGE,))
        for each in columns
        if each.kind in kinds and each.changes
    ]
    return next(iter([*reversed(unique), *reversed(plain), *others]), None)


def _plain(columns: Sequence[Column]) -> list[Column]:
    """The whole numbers that change and that no word explains."""
    return [each for each in columns if each.kind in PLAIN and each.changes]


def _is_finer(column: Column, coarse: Column) -> bool:
    """Whether a column counts on while the other repeats itself."""
    n_names = len(column.values)
    return (
        coarse.changes and coarse.distinct < n_names == column.distinct and _rises(coarse, column)
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
    at_one_step = max(Counter(step.values).values())
    others = [
        each
        for each in columns
        if each is not step and each.kind != EPOCH and each.changes and _may_split(each)
    ]
    others = [each for each in others if not _rises(each, step)]
    epochs = [each for each in columns if each.kind == EPOCH and each is not step]
    counted = [step, *epochs]
    while others:
        before = _repeats(counted, fixed)
        best = min(others, key=lambda each: (_repeats(counted, [*fixed, each]), each.distinct))
        n_runs = len(set(zip(*(each.values for each in (*fixed, best)), strict=True)))
        # A number that is new in every name would make as many runs as names.
        shatters = n_runs > max(len(rows) // 2, at_one_step)
        if _repeats(counted, [*fixed, best]) == before or shatters:
            break
        fixed.append(best)
        others.remove(best)
    return _grouped(rows, fixed) if fixed else [rows]


def _may_split(column: Column) -> bool:
    """Whether a number may be that of a run: a learning rate may, a loss may not."""
    return column.kind != METRIC or column.word == "lr"


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
