"""Loss and learning rate along training, as the trainer itself has logged them."""

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trajscope.checkpoints.given import MOST_FILE
from trajscope.errors import CheckpointError
from trajscope.readers.files import beginning

TRAINER_STATE: Final = "trainer_state.json"
_METRICS: Final = "metrics.csv"

_NAMES: Final[Mapping[str, Sequence[str]]] = {
    "loss": ("loss", "train_loss", "train/loss", "training_loss", "train_loss_step", "loss_step",
             "train_loss_epoch", "loss_epoch"),
    "validation_loss": ("eval_loss", "val_loss", "valid_loss", "validation_loss", "val/loss",
                        "eval/loss"),
    "learning_rate": ("learning_rate", "lr"),
}  # fmt: skip
"""What is looked for, and what trainers call it; the first that is logged counts."""


@dataclass(frozen=True)
class Log:
    """What was logged.

    Attributes
    ----------
    series :
        ``{step: value}`` by "loss", "validation_loss" and "learning_rate"; those that were logged.
    source :
        The file, and what it calls them.
    """

    series: Mapping[str, Mapping[float, float]]
    source: str


def recorded_log(paths: Sequence[Path], unit: str) -> Log | None:
    """The log of the run whose checkpoints lie at `paths`; `None` where none can be read.

    ``trainer_state.json`` of the last checkpoint, as transformers writes it, or ``metrics.csv`` of
    Lightning's CSVLogger. Of several optimizers or groups the first one's rate is taken.

    Parameters
    ----------
    unit :
        What the steps of the checkpoints count: "step" or "epoch"; others are not logged.
    """
    for folder in log_folders(paths) if unit in ("step", "epoch") else ():
        for name, read in ((TRAINER_STATE, _of_state), (_METRICS, _of_metrics)):
            file = folder / name
            try:
                rows = read(beginning(file, MOST_FILE)) if file.is_file() else []
            except (CheckpointError, ValueError, RecursionError, csv.Error, OSError):
                continue
            if found := _series(rows, unit):
                called = ", ".join(own for own, _ in found.values())
                series = {what: values for what, (_, values) in found.items()}
                return Log(series, f"{name} ({called})")
    return None


def log_folders(paths: Sequence[Path]) -> list[Path]:
    """Where the log of a run may lie: with its last checkpoint, and in the folder of the run."""
    folders = [path if path.is_dir() else path.parent for path in paths]
    last = folders[-1]
    # Above a folder of each checkpoint lies the run; above one folder of all may lie other runs.
    of_each = 1 < len(folders) == len(set(folders)) and {f.parent for f in folders} == {last.parent}
    return [last, last.parent] if of_each or last.name == "checkpoints" else [last]


def _of_state(raw: bytes) -> list[Mapping[str, Any]]:
    state: Any = json.loads(raw)
    log = state.get("log_history") if isinstance(state, Mapping) else None
    return [each for each in (log if isinstance(log, list) else ()) if isinstance(each, Mapping)]


def _of_metrics(raw: bytes) -> Iterable[Mapping[str, Any]]:
    return csv.DictReader(raw.decode("utf-8-sig", errors="replace").splitlines())


def _series(
    rows: Iterable[Mapping[str, Any]], unit: str
) -> dict[str, tuple[str, dict[float, float]]]:
    """What was logged, by what it is: the logged name, and the values by step."""
    found: dict[str, dict[float, float]] = {}
    for row in rows:
        step = _number(row.get(unit))
        if math.isfinite(step):
            for name, value in _numbers(row):
                found.setdefault(name, {})[step] = value
    chosen = {what: next((n for n in names if n in found), "") for what, names in _NAMES.items()}
    # Lightning's monitor calls the rate "lr-" and the optimizer.
    monitored = sorted(name for name in found if name.startswith("lr-"))
    chosen["learning_rate"] = chosen["learning_rate"] or next(iter(monitored), "")
    return {what: (name, found[name]) for what, name in chosen.items() if name}


def _numbers(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in row.items():
        number = _number(value)
        if isinstance(name, str) and math.isfinite(number):
            yield name, number


def _number(value: Any) -> float:
    """A logged number; NaN of what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan
