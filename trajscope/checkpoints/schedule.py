"""The learning rate at every checkpoint, and the length of an epoch, from a trainer's own files.

Of ``trainer_state.json`` up to 64 MiB are read, of a torch file up to 8 MiB are unpickled, of a
safetensors file the header is read, and no tensor of any. Of long runs a thousand checkpoints are
looked at, evenly; none, where three of them say nothing.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajscope.checkpoints.given import MOST_FILE
from trajscope.checkpoints.logs import TRAINER_STATE, log_folders
from trajscope.errors import CheckpointError, printable
from trajscope.readers import safetensors
from trajscope.readers.files import beginning
from trajscope.readers.torch.optimizer import learning_rates

_SIDECARS: Final = ("optimizer.pt", "optimizer.bin", "scheduler.pt", "scheduler.bin")
_OTHERS: Final = (".npz", ".npy", ".keras", ".h5", ".zarr")
_MOST_BYTES: Final = 8 << 20
_MOST_EPOCHS: Final = 512
_EPOCH_KNOWN: Final = 0.02
_MOST_CHECKPOINTS: Final = 1000
_MOST_RATE: Final = 1e100
_MOST_NAMED: Final = 5
_METADATA: Final = ("learning_rate", "lr")


@dataclass
class Schedule:
    """What is known of the schedule.

    Attributes
    ----------
    rates : (step,)
        NaN where not known.
    source :
        Where the rates are from, "" of none.
    epoch_steps :
        `None` where not known.
    skipped :
        Files that could not be read, and why; the first five.
    """

    rates: NDArray[np.float64]
    source: str = ""
    epoch_steps: float | None = None
    skipped: list[str] = field(default_factory=list)

    def skip(self, file: Path, error: Exception) -> None:
        """Name a file that could not be read."""
        if len(self.skipped) < _MOST_NAMED:
            self.skipped.append(f"{printable(file)}: {printable(error, limit=300)}")


def held(pairs: Sequence[tuple[float, float]], steps: NDArray[Any]) -> NDArray[np.float64]:
    """The last rate at or before each step; NaN before the first."""
    ordered = sorted(pairs, key=lambda pair: pair[0])
    rates = np.array([math.nan, *(rate for _, rate in ordered)])
    return rates[np.searchsorted([step for step, _ in ordered], steps, side="right")]


def recorded_schedule(paths: Sequence[Path], steps: NDArray[Any], unit: str) -> Schedule:
    """What the trainer's files say at checkpoints at `paths`, one of each step.

    First the log in the last ``trainer_state.json``, the last rate at or before the step; where it
    says nothing, the state of the optimizer, else of the scheduler, and the metadata of
    safetensors. Of several groups of parameters the first one's rate.
    """
    found = Schedule(np.full(len(steps), np.nan))
    _from_log(paths, steps, unit, found)
    if np.isfinite(found.rates).all():
        return found
    folders = [path if path.is_dir() else path.parent for path in paths]
    own = len(set(folders)) == len(folders)
    missing = np.flatnonzero(np.isnan(found.rates))
    rows = missing[np.unique(np.linspace(0, len(missing) - 1, _MOST_CHECKPOINTS).astype(int))]
    looked = dict.fromkeys([int(rows[0]), int(rows[len(rows) // 2]), int(rows[-1])])
    told = {row: _of_files(paths[row], folders[row], own, found) for row in looked}
    if any(told.values()):
        told |= {
            int(row): _of_files(paths[row], folders[row], own, found)
            for row in rows
            if int(row) not in told
        }
    _fill(found, {row: each for row, each in told.items() if each})
    return found


def counted_epoch(steps: NDArray[Any], epochs: NDArray[Any]) -> float | None:
    """Steps of an epoch, of the whole number of epochs that is over (or goes on) at each step.

    With ``e(t) = floor((t - t0) / E) + c``, t0 and c unknown: of two steps that are d epochs apart,
    ``(t' - t + 1) / (d + 1) <= E <= (t' - t - 1) / (d - 1)``.

    Returns
    -------
    float or None
        The middle of what all pairs leave, where that is known to 1%; `None` where nothing or more
        is left, as where there is one checkpoint an epoch, or the epochs are no whole numbers, or
        fall.
    """
    is_whole = all(each.dtype.kind in "iu" for each in (steps, epochs))
    if not is_whole or len(steps) < 2 or (np.diff(epochs) < 0).any() or epochs[0] == epochs[-1]:
        return None
    counts, first = np.unique(epochs, return_index=True)
    last = np.append(first[1:], len(steps)) - 1
    some = np.unique(np.linspace(0, len(counts) - 1, _MOST_EPOCHS).astype(int))
    counts, begins, ends = counts[some], steps[first[some]], steps[last[some]]
    apart = np.subtract.outer(counts, counts)
    later, longer = apart > 0, apart > 1
    least = ((np.subtract.outer(ends, begins) + 1)[later] / (apart + 1)[later]).max()
    most = ((np.subtract.outer(begins, ends) - 1)[longer] / (apart - 1)[longer]).min(initial=np.inf)
    if not math.ceil(least) <= most <= (1 + _EPOCH_KNOWN) * math.ceil(least):
        return None
    return float(round((math.ceil(least) + math.floor(most)) / 2))


def _fill(found: Schedule, told: Mapping[int, tuple[list[float], str]]) -> None:
    if not told:
        return
    for row, (rates, _) in told.items():
        found.rates[row] = rates[0]
    names = sorted({name for _, name in told.values()})
    several = any(len(set(rates)) > 1 for rates, _ in told.values())
    first = ", the first of several groups of parameters" if several else ""
    said = f"{' and '.join(names)} of {len(told)} checkpoints{first}"
    found.source = f"{found.source}; {said}" if found.source else said


def _of_files(
    path: Path, folder: Path, own: bool, found: Schedule
) -> tuple[list[float], str] | None:
    """The rates of all groups at one checkpoint, and the kind of file that says so."""
    beside = [(folder / name, name) for name in _SIDECARS] if own else []
    inside = [] if path.is_dir() else [(path, "the files")]
    for file, name in inside + beside:
        if name == "the files" and file.name.lower().endswith(_OTHERS):
            continue
        read: Callable[[Path], list[float]] = (
            _of_metadata if file.name.endswith(".safetensors") else _of_torch
        )
        try:
            rates = read(file) if file.is_file() else []
        except (CheckpointError, OSError) as error:
            found.skip(file, error)
            continue
        if rates and all(_is_rate(each) for each in rates):
            return rates, name
    return None


def _of_torch(path: Path) -> list[float]:
    return learning_rates(path, _MOST_BYTES)


def _of_metadata(path: Path) -> list[float]:
    metadata = safetensors.read_header(path).metadata
    told = next((metadata[name] for name in _METADATA if name in metadata), None)
    try:
        return [] if told is None else [float(told)]
    except ValueError:
        return []


def _from_log(paths: Sequence[Path], steps: NDArray[Any], unit: str, found: Schedule) -> None:
    """The log of the last checkpoint that has one, which tells of the run up to there."""
    for file in [folder / TRAINER_STATE for folder in log_folders(paths)]:
        if not file.is_file():
            continue
        try:
            state: Any = json.loads(beginning(file, MOST_FILE))
        except (CheckpointError, ValueError, RecursionError) as error:
            found.skip(file, error)
            continue
        if not isinstance(state, Mapping):
            continue
        if unit in ("step", "epoch"):
            found.rates = held(_logged(state, unit), steps)
        found.epoch_steps = _epoch_steps(state) if unit == "step" else None
        found.source = TRAINER_STATE if np.isfinite(found.rates).any() else ""
        return


def _logged(state: Mapping[str, Any], unit: str) -> list[tuple[float, float]]:
    log = state.get("log_history")
    return [
        (float(each[unit]), float(each["learning_rate"]))
        for each in (log if isinstance(log, list) else ())
        if isinstance(each, Mapping)
        and _is_rate(each.get("learning_rate"))
        and _is_rate(each.get(unit))
    ]


def _epoch_steps(state: Mapping[str, Any]) -> float | None:
    """Steps of an epoch: those planned, unless the run so far contradicts them.

    ``max_steps / num_train_epochs`` is wrong where a number of steps was asked for, since the
    epochs are then rounded up; ``global_step / epoch`` is what happened.
    """
    planned = _quotient(state.get("max_steps"), state.get("num_train_epochs"))
    happened = _quotient(state.get("global_step"), state.get("epoch"))
    if planned is None or happened is None:
        return happened if planned is None else planned
    return planned if abs(planned - happened) <= 0.01 * happened else happened


def _quotient(steps: object, epochs: object) -> float | None:
    if not (_is_rate(steps) and _is_rate(epochs) and steps and epochs):
        return None
    quotient = float(steps) / float(epochs)  # type: ignore[arg-type]
    return quotient if math.isfinite(quotient) else None


def _is_rate(value: object) -> bool:
    """Whether it is a number from 0 on that can be meant."""
    return type(value) in (int, float) and 0 <= value <= _MOST_RATE  # type: ignore[operator]
