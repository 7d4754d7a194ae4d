"""The window that is tested: its updates, its optimizer, and what already refuses a prediction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from trajscope.model.clock import evenly_spaced, updates_between
from trajscope.model.settings import settle
from trajscope.optimizer import Optimizer
from trajscope.schema import STEP

_LOOKED_AT: Final = 9
"""Checkpoints whose files say the settings of the window."""
_WORDS: Final = {"epoch": "epochs that are not a whole number of batches", "index": "positions"}
_OF_FILES: Final = ("adaptive_optimizer", "groups_differ", "momentum_changes", "files_disagree")


@dataclass(frozen=True)
class Window:
    """The longest evenly spaced part of a run.

    Attributes
    ----------
    rows :
        Positions of its first and last checkpoint.
    spacing :
        In the unit of the steps.
    updates :
        m, from a checkpoint to the next; 0 where that is not known.
    n_samples :
        N; 0 without a problem.
    words :
        What of the optimizer was read from files.
    """

    rows: tuple[int, int]
    spacing: float
    updates: int
    optimizer: Optimizer
    n_samples: int
    words: str = ""

    @property
    def per_epoch(self) -> float:
        """N = N/b."""
        return self.n_samples / self.optimizer.b


def window_of(
    trajectory: xr.Dataset, told: Optimizer, n_samples: int, spoken: dict[str, str]
) -> Window:
    """The window and its optimizer; guards speak of what is not known or not constant.

    Parameters
    ----------
    told :
        As the user says.
    spoken :
        By code of each guard that has spoken, its detail.
    """
    said: dict[str, str] = {}
    settled = settle(trajectory, told, said)
    steps = trajectory[STEP].to_numpy().astype(np.float64)
    rows = evenly_spaced(steps) if len(steps) > 2 else (0, len(steps) - 1)
    looked = np.linspace(*rows, _LOOKED_AT).round().astype(int).tolist()
    settled.look(looked, said)
    spoken.update({code: said[code] for code in _OF_FILES if code in said})
    if told.is_adaptive:
        spoken["adaptive_optimizer"] = told.kind
    rate = settled.rate(looked)
    optimizer = settled.optimizer
    if rate is None and optimizer.learning_rate is not None:
        spoken["rate_changes"] = said.get("rate_from_files", "")
    optimizer = replace(optimizer, learning_rate=rate).undampened()
    _missing(optimizer, spoken)
    updates = _updates(trajectory, steps, rows, optimizer, n_samples, spoken)
    if optimizer.batch_size is not None and n_samples and optimizer.b >= n_samples:
        spoken["no_noise"] = f"a batch holds all {n_samples} samples"
    if updates and n_samples and optimizer.is_shuffled:
        first = _in_updates(steps[rows[0]], trajectory, optimizer, n_samples)
        _phases(first, updates, optimizer, n_samples, spoken)
    spacing = float(steps[rows[0] + 1] - steps[rows[0]]) if rows[1] > rows[0] else 0.0
    return Window(rows, spacing, updates, optimizer, n_samples, settled.words)


def _missing(optimizer: Optimizer, spoken: dict[str, str]) -> None:
    if "adaptive_optimizer" in spoken or "rate_changes" in spoken:
        return
    known: Mapping[str, object] = {
        "the learning rate": optimizer.learning_rate, "the batch size": optimizer.batch_size,
    }  # fmt: skip
    missing = [name for name, value in known.items() if value is None]
    if missing:
        spoken["settings_missing"] = f"{' and '.join(missing)} {_verb(missing)}"
    elif optimizer.momentum is None and "momentum_changes" not in spoken:
        spoken["momentum_unknown"] = ""


def _verb(names: Sequence[str]) -> str:
    return "are" if len(names) > 1 else "is"


def _updates(
    trajectory: xr.Dataset,
    steps: NDArray[np.float64],
    rows: tuple[int, int],
    optimizer: Optimizer,
    n_samples: int,
    spoken: dict[str, str],
) -> int:
    unit = str(trajectory.attrs.get("step_unit", "index"))
    per_epoch = n_samples / optimizer.b if optimizer.batch_size else float("nan")
    if rows[1] <= rows[0] or (unit == "epoch" and not n_samples):
        return 0
    found = updates_between(float(steps[rows[0] + 1] - steps[rows[0]]), unit, per_epoch)
    if found is None and "settings_missing" not in spoken:
        spoken["step_unit_unknown"] = _WORDS.get(unit, "fractions")
    return found or 0


def _in_updates(step: float, trajectory: xr.Dataset, optimizer: Optimizer, n_samples: int) -> float:
    is_epoch = trajectory.attrs.get("step_unit") == "epoch"
    return step * n_samples / optimizer.b if is_epoch else step


def _phases(
    first: float,
    updates: int,
    optimizer: Optimizer,
    n_samples: int,
    spoken: dict[str, str],
) -> None:
    """Refuse checkpoints inside epochs, where these deal all samples out."""
    n = n_samples / optimizer.b
    if n_samples % optimizer.b:
        spoken["mixed_phases"] = f"changing phases, since epochs have {n:g} batches"
    elif updates % n or first % n:
        spoken["mixed_phases"] = f"every {updates} updates, of {n:g} in an epoch"
