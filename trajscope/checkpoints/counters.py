"""What a checkpoint itself says of its step: metadata, a number among its tensors, a sidecar."""

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trajscope.checkpoints.base import Candidate, CheckpointPart
from trajscope.errors import CheckpointError
from trajscope.readers.base import TensorSpec, stored_dtype
from trajscope.readers.files import beginning, open_regular, read_exactly

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


def metadata_steps(candidates: Sequence[Candidate], key: str) -> tuple[Step | None, ...]:
    """The number under `key` in each candidate's metadata."""
    return tuple(_counter(each, key) for each in candidates)


def tensor_steps(candidates: Sequence[Candidate], key: str) -> tuple[Step | None, ...]:
    """The number in each candidate's tensor `key`, for a file may have no other place for it."""
    if _single(candidates[0], key) is None:
        return (None,) * len(candidates)  # so 20,000 files need not be looked into
    return tuple(_stored_number(each, key) for each in candidates)


def trainer_states(candidates: Sequence[Candidate]) -> tuple[Step | None, ...]:
    """``global_step`` of the trainer_state.json in each candidate's own folder."""
    first = candidates[0].parts[0].file.path.parent
    # Without such a trainer, 20,000 folders need not be looked into.
    if _trainer_state(first / "trainer_state.json") is None:
        return (None,) * len(candidates)
    folders = [candidate.parts[0].file.path.parent for candidate in candidates]
    if len(set(folders)) < len(folders):
        return (None,) * len(folders)
    return tuple(_trainer_state(folder / "trainer_state.json") for folder in folders)


def _counter(candidate: Candidate, key: str) -> Step | None:
    """The number under `key`, at a file's own top level or in a section about training."""
    for part in candidate.parts:
        for section in _SECTIONS:
            value = part.header.metadata.get(section + key)
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
    # Beyond 2**53 a step could not be told from its neighbour in float64.
    if not math.isfinite(number) or abs(number) > 2**53:
        return None
    return int(number) if number.is_integer() else number


def _single(candidate: Candidate, key: str) -> tuple[CheckpointPart, TensorSpec] | None:
    """The tensor `key` if it is one plain number, and the part it is in."""
    wanted = [section + key for section in _SECTIONS]
    for part in candidate.parts:
        tensors = part.header.tensors
        spec = next((tensors[name] for name in wanted if name in tensors), None)
        if part.prefix in wanted:
            spec = tensors.get("", spec)
        if spec is None or spec.size != 1 or spec.offset is None:
            continue
        dtype = stored_dtype(spec.dtype)
        if dtype is not None and dtype.kind in "iuf":
            return part, spec
    return None


def _stored_number(candidate: Candidate, key: str) -> Step | None:
    found = _single(candidate, key)
    if found is None:
        return None
    part, spec = found
    dtype = stored_dtype(spec.dtype)
    if spec.offset is None or dtype is None:
        return None
    try:
        descriptor = open_regular(part.file.path)
    except CheckpointError:
        return None
    try:
        raw = read_exactly(descriptor, part.file.path, spec.offset, dtype.itemsize)
    except CheckpointError:
        return None
    finally:
        os.close(descriptor)
    return _number(np.frombuffer(raw, dtype)[0].item())


def _trainer_state(path: Path) -> Step | None:
    try:
        found = _STATE_STEP.search(beginning(path, _STATE_BYTES))
    except CheckpointError:
        return None
    return int(found.group(1)) if found else None
