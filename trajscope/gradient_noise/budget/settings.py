"""The optimizer of a run, from what the user says and what the trainer's own files say."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from trajscope.checkpoints.training import Recorded, recorded
from trajscope.errors import printable
from trajscope.optimizer import Optimizer
from trajscope.schema import STEP

_SAME: Final = 0.05
"""Relative: by so much a learning rate may change while it is called the same."""


@dataclass(frozen=True)
class Settled:
    """The settings of training.

    Attributes
    ----------
    optimizer :
        Its learning rate is that of the last checkpoint where files have several.
    files :
        What the files at a checkpoint say, by its row; empty where they say nothing.
    words :
        What was taken from which file, in a sentence; ``""`` for nothing.
    """

    optimizer: Optimizer
    files: "_Files"
    words: str = ""

    def rate(self, rows: Sequence[int]) -> float | None:
        """The learning rate at some checkpoints; `None` where it changes between them."""
        logged = [each.lr for row in rows for each in [self.files.at(row)] if each and each.lr]
        if not logged:
            return self.optimizer.learning_rate
        return _mean_if_same(logged)


def settle(trajectory: xr.Dataset, told: Optimizer, spoken: dict[str, str]) -> Settled:
    """What is known of the optimizer; guards speak of what is not, or not sure.

    The user's word stands, and is held against the files; what was not said is taken from these. A
    learning rate that changes along the run is always that of the files.

    Parameters
    ----------
    told :
        As the user says.
    spoken :
        By code of each guard that has spoken, its detail.
    """
    # No file says how large batches are: without that none need be looked at.
    files = _Files(trajectory if told.batch_size else None)
    rows = np.unique(np.linspace(0, trajectory.sizes[STEP] - 1, 5).astype(int)).tolist()
    found = [each for row in rows for each in [files.at(row)] if each is not None]
    if not found:
        return Settled(told, files)
    last = found[-1]
    rates = [each.lr for each in found if each.lr]
    merged = replace(
        told,
        learning_rate=told.learning_rate or (rates[-1] if rates else None),
        momentum=last.momentum if told.momentum is None else told.momentum,
        nesterov=last.nesterov,
        dampening=last.dampening,
        kind=last.kind,
    )
    if merged.is_adaptive:
        spoken["adaptive_optimizer"] = merged.kind
    if not all(each.one_rate for each in found):
        spoken["groups_differ"] = printable(last.place.name)
    changes = len(rates) > 1 and _mean_if_same(rates) is None
    if changes and told.learning_rate:
        spoken["rate_from_files"] = f"{min(rates):.3g} to {max(rates):.3g}"
    disagree = _disagreements(told, last, rates if not changes else [])
    if disagree:
        spoken["files_disagree"] = disagree
    words = _taken(told, merged, last, rates, changes=changes)
    return Settled(merged, files if changes or not told.learning_rate else _Files(None), words)


class _Files:
    """What the trainer's files say at the checkpoints of a trajectory, each looked at once."""

    def __init__(self, trajectory: xr.Dataset | None) -> None:
        paths: list[str] = []
        if trajectory is not None and "path" in trajectory.coords:
            paths = trajectory["path"].to_numpy().tolist()
        self.paths = [Path(path) for path in paths]
        folders = {path if path.is_dir() else path.parent for path in self.paths}
        self.own_folders = len(folders) == len(self.paths)
        self.known: dict[int, Recorded | None] = {}

    def at(self, row: int) -> Recorded | None:
        """What they say at a checkpoint."""
        if row >= len(self.paths):
            return None
        if row not in self.known:
            self.known[row] = recorded(self.paths[row], own_folder=self.own_folders)
        return self.known[row]


def _mean_if_same(rates: Sequence[float]) -> float | None:
    mean = float(np.mean(rates))
    return mean if max(rates) - min(rates) <= _SAME * mean else None


def _disagreements(told: Optimizer, last: Recorded, rates: Sequence[float]) -> str:
    """What the files say otherwise than the user."""
    pairs = (
        ("--lr", told.learning_rate, rates[-1] if rates else None),
        ("--momentum", told.momentum, last.momentum),
    )
    return " and ".join(
        f"{name} {said:g} was given and {printable(last.place.name)} has {found:g}"
        for name, said, found in pairs
        if said is not None and found is not None and abs(said - found) > _SAME * max(said, found)
    )


def _taken(
    told: Optimizer, merged: Optimizer, last: Recorded, rates: Sequence[float], *, changes: bool
) -> str:
    """What was taken from the files, in a sentence."""
    parts = [f"optimizer {merged.kind}"] if merged.kind else []
    if rates and (changes or not told.learning_rate):
        span = f"{min(rates):.3g} to {max(rates):.3g}" if changes else f"{rates[-1]:.3g}"
        parts.append(f"learning rate {span}")
    if told.momentum is None and last.momentum is not None:
        parts.append(f"{'Nesterov ' if last.nesterov else ''}momentum {last.momentum:g}")
    if not parts:
        return ""
    return f"From {printable(last.place.name)} of the checkpoints: {', '.join(parts)}."
