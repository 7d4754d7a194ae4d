"""Checkpoints inside one file: a dict of state dicts by step, or a list of them."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from trajscope.checkpoints.base import Candidate, CheckpointPart
from trajscope.checkpoints.counters import EPOCH_KEYS, STEP_KEYS
from trajscope.checkpoints.names import read_name
from trajscope.checkpoints.reasons import of_section
from trajscope.errors import printable
from trajscope.readers.base import Header, TensorSpec, stored_dtype
from trajscope.readers.files import open_regular, read_exactly
from trajscope.readers.zarr.tree import STEP_GROUP

_MOST_LEVELS = 3
_MOST_STEPS = 100_000
# Below another name, numbers that only count are layers as easily ("params/0/w").
_OF_STATES = re.compile(
    r"(.*_)?(states|state_dicts|checkpoints|ckpts|snapshots|history|trajectory|steps|epochs|iterates)"
)
_COUNTS = re.compile(r"\d+")
_LISTS = frozenset((*STEP_KEYS, *EPOCH_KEYS, "iterations", "iters", "epochs"))

Scalar = str | int | float | bool
Tables = dict[str, dict[str, TensorSpec]]
"""Tensors by the key of their step."""


def split_by_step(candidate: Candidate) -> tuple[list[Candidate], str]:
    """The checkpoints inside a file of several, and what was decided; none where it is one.

    Entries that are called like steps ("100", "step_100", or a place in a list) are checkpoints if
    most of them hold the same tensors and nothing else in the file is as large.
    """
    if len(candidate.parts) != 1:
        return [], ""
    part = candidate.parts[0]
    above, tables = _by_step(part.header.tensors)
    usual = Counter(_outline(table) for table in tables.values()).most_common(1)
    if not usual or usual[0][1] < 2 or 2 * usual[0][1] <= len(tables):
        return [], ""
    if not _is_all(part.header.tensors, above, tables):
        return [], ""
    counted = _numbers_beside(part, len(tables))
    scalars = _scalars(part.header.metadata, above)
    split = [
        _one(
            candidate, part, f"{above}{key}", tables[key], scalars[key], counted[place : place + 1]
        )
        for place, key in enumerate(tables)
    ]
    if all(_counter(each) for each in split):
        # The place in a list is no step, then.
        split = [
            replace(each, name=replace(read_name(_counter(each), ""), place=each.name.place))
            for each in split
        ]
    first = ", ".join(repr(printable(f"{above}{key}")) for key in list(tables)[:2])
    return split, (
        f"{printable(candidate.relative)} holds {len(tables)} entries with the same tensors "
        f"({first}, ...): each is a checkpoint."
    )


def _by_step(tensors: Mapping[str, TensorSpec]) -> tuple[str, Tables]:
    """What stands before the keys of steps, with a slash behind it, and the tensors by key."""
    found: dict[str, Tables] = defaultdict(lambda: defaultdict(dict))
    for name, spec in tensors.items():
        levels = name.split("/")
        for depth, key in enumerate(levels[:-1][:_MOST_LEVELS]):
            if STEP_GROUP.fullmatch(key):
                above = "".join(f"{level}/" for level in levels[:depth])
                found[above][key]["/".join(levels[depth + 1 :])] = spec
                break
    likely = [above for above in found if _may_hold_steps(above, found[above])]
    if not likely:
        return "", {}
    above = max(likely, key=lambda each: sum(map(len, found[each].values())))
    return above, found[above]


def _scalars(metadata: Mapping[str, Scalar], above: str) -> Mapping[str, dict[str, Scalar]]:
    """The metadata of each step, by its key."""
    found: dict[str, dict[str, Scalar]] = defaultdict(dict)
    for name, value in metadata.items():
        key, slash, rest = name.removeprefix(above).partition("/")
        if slash and name.startswith(above):
            found[key][rest] = value
    return found


def _may_hold_steps(above: str, tables: Tables) -> bool:
    levels = above.split("/")[:-1]
    if any(map(of_section, levels)) or not 2 <= len(tables) <= _MOST_STEPS:
        return False
    numbers = sorted(int(key) for key in tables if _COUNTS.fullmatch(key))
    counts = len(numbers) == len(tables) and numbers == list(range(len(numbers)))
    return not levels or not counts or _OF_STATES.fullmatch(levels[-1].lower()) is not None


def _outline(table: Mapping[str, TensorSpec]) -> frozenset[tuple[str, tuple[int, ...]]]:
    return frozenset((name, spec.shape) for name, spec in table.items())


def _is_all(tensors: Mapping[str, TensorSpec], above: str, tables: Tables) -> bool:
    """Whether no model lies beside the steps: what else there is is small or the trainer's."""
    inside = {f"{above}{key}/{name}" for key, table in tables.items() for name in table}
    beside = sum(
        spec.size
        for name, spec in tensors.items()
        if name not in inside and not of_section(name.partition("/")[0])
    )
    largest = max(sum(spec.size for spec in table.values()) for table in tables.values())
    return beside <= max(largest // 2, len(tables))


def _one(
    candidate: Candidate,
    part: CheckpointPart,
    key: str,
    tensors: Mapping[str, TensorSpec],
    metadata: Mapping[str, Scalar],
    step: list[int | float],
) -> Candidate:
    """The checkpoint of one step."""
    inside = f"{key}/"
    if step:
        metadata = {**metadata, "step": step[0]}
    relative = f"{candidate.relative}/{key}"
    own = read_name(key.rpartition("/")[2], "")
    # The digest tells it from the others, which lie in a file of the same size and time.
    header = Header(tensors, metadata, digest=f"{part.header.digest}{inside}")
    return Candidate(
        candidate.path,
        relative,
        replace(own, place=candidate.relative),
        (replace(part, header=header, inside=inside),),
    )


def _counter(candidate: Candidate) -> str:
    """What a checkpoint says of its step, as in a name: "step_100"; ``""`` where it does not."""
    metadata = candidate.parts[0].header.metadata
    for key in (*STEP_KEYS, *EPOCH_KEYS):
        value = metadata.get(key)
        if isinstance(value, int | float) and float(value).is_integer() and value >= 0:
            return f"{key}_{int(value)}"
    return ""


def _numbers_beside(part: CheckpointPart, count: int) -> list[int | float]:
    """The list of steps that a file keeps beside its list of states; empty without one."""
    metadata = part.header.metadata
    for name in _LISTS:
        listed = [metadata.get(f"{name}/{place}") for place in range(count)]
        numbers = [each for each in listed if isinstance(each, int | float)]
        if len(numbers) == count and f"{name}/{count}" not in metadata:
            return numbers
        spec = part.header.tensors.get(name)
        dtype = stored_dtype(spec.dtype) if spec is not None else None
        if spec is None or dtype is None or dtype.kind not in "iuf" or spec.shape != (count,):
            continue
        if spec.offset is not None:
            descriptor = open_regular(part.file.path)
            try:
                size = count * dtype.itemsize
                raw = read_exactly(descriptor, part.file.path, spec.offset, size)
            finally:
                os.close(descriptor)
            values: list[int | float] = np.frombuffer(raw, dtype).tolist()
            return values
    return []
