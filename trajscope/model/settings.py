"""The optimizer of a run, from what the user says and what the trainer's own files say."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import itemgetter
from typing import Final

import numpy as np
import xarray as xr

from trajscope.checkpoints.training import Recorded, batch_on_a_process, recorded
from trajscope.errors import printable
from trajscope.optimizer import ADAPTIVE, Optimizer
from trajscope.schema import STEP
from trajscope.trajectory import checkpoint_files

_SAME: Final = 0.05
"""Relative: by so much a learning rate may change while it is called the same."""
_SEEN: Final = 5
"""Checkpoints whose files are looked at before it is known which ones a budget takes."""


@dataclass(frozen=True)
class Settled:
    """The settings of training.

    Attributes
    ----------
    optimizer :
        Its learning rate is that of the last checkpoint where files have several.
    told :
        As the user says.
    files :
        What the files say, as far as they were looked at.
    """

    optimizer: Optimizer
    told: Optimizer
    files: "_Files"

    def look(self, rows: Iterable[int], spoken: dict[str, str]) -> None:
        """Look at the files of more checkpoints; guards speak of what all that were seen say.

        Parameters
        ----------
        spoken :
            By code of each guard that has spoken, its detail.
        """
        found = self.files.seen(rows)
        if not found:
            return
        last = found[-1]
        adaptive = [each.kind for each in found if each.kind in ADAPTIVE]
        momenta = [each.momentum for each in found if each.momentum is not None]
        gains = [_gain(momentum) for momentum in momenta]
        rates = self.files.rates
        said = {
            "adaptive_optimizer": adaptive[-1] if adaptive else "",
            "groups_differ": "" if all(e.one_rate for e in found) else printable(last.place.name),
            "momentum_changes": _span(momenta) if _mean_if_same(gains) is None else "",
            "rate_from_files": _span(rates) if self._changes and self.told.learning_rate else "",
            "files_disagree": " and ".join(
                [
                    *_disagreements(self.told, last, [] if self._changes else rates),
                    *_other_batch(self.told.batch_size or 0, self.files.batch),
                ]
            ),
        }
        spoken.pop("files_disagree", None)  # what looked constant may change
        spoken.update({code: detail for code, detail in said.items() if detail})

    def rate(self, rows: Sequence[int]) -> float | None:
        """The learning rate at some checkpoints; `None` where it changes between them.

        The user's, unless the files have several.
        """
        if self.told.learning_rate and not self._changes:
            return self.told.learning_rate
        logged = [each.lr for row in rows for each in [self.files.at(row)] if each and each.lr]
        return _mean_if_same(logged) if logged else self.optimizer.learning_rate

    @property
    def words(self) -> str:
        """What was taken from which file, in a sentence; ``""`` for nothing."""
        found, rates = self.files.seen(()), self.files.rates
        if not found:
            return ""
        last = found[-1]
        parts = [f"optimizer {last.kind}"] if last.kind else []
        if rates and (self._changes or not self.told.learning_rate):
            span = _span(rates) if self._changes else f"{rates[-1]:.3g}"
            parts.append(f"learning rate {span}")
        if self.told.momentum is None and last.momentum is not None:
            parts.append(f"{'Nesterov ' if last.nesterov else ''}momentum {last.momentum:g}")
        if not parts:
            return ""
        return f"From {printable(last.place.name)} of the checkpoints: {', '.join(parts)}."

    @property
    def _changes(self) -> bool:
        return _mean_if_same(self.files.rates) is None


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
    files = _Files(trajectory)
    if told.batch_size is None:  # without it, no use to look at more
        return Settled(told, told, files)
    rows = np.unique(np.linspace(0, trajectory.sizes[STEP] - 1, _SEEN).astype(int)).tolist()
    found = files.seen(rows)
    if not found:
        return Settled(told, told, files)
    last = found[-1]
    merged = replace(
        told,
        learning_rate=told.learning_rate or (files.rates[-1] if files.rates else None),
        momentum=last.momentum if told.momentum is None else told.momentum,
        nesterov=told.nesterov or last.nesterov,
        dampening=last.dampening,
        kind=last.kind,
        weight_decay=last.weight_decay if told.weight_decay is None else told.weight_decay,
    )
    settled = Settled(merged, told, files)
    settled.look((), spoken)
    return settled


class _Files:
    """What the trainer's files say at the checkpoints of a trajectory, each looked at once."""

    def __init__(self, trajectory: xr.Dataset) -> None:
        self.paths, self.own_folders = checkpoint_files(trajectory)
        self.known: dict[int, Recorded | None] = {}

    @cached_property
    def batch(self) -> int | None:
        """Samples of a batch on each process, by the last checkpoint."""
        return batch_on_a_process(self.paths[-1]) if self.paths and self.own_folders else None

    def at(self, row: int) -> Recorded | None:
        """What they say at a checkpoint."""
        if row >= len(self.paths):
            return None
        if row not in self.known:
            self.known[row] = recorded(self.paths[row], own_folder=self.own_folders)
        return self.known[row]

    def seen(self, rows: Iterable[int]) -> list[Recorded]:
        """What they say at these checkpoints and at all that were looked at, first to last."""
        for row in rows:
            self.at(row)
        return [each for _, each in sorted(self.known.items(), key=itemgetter(0)) if each]

    @property
    def rates(self) -> list[float]:
        """Learning rates at the checkpoints that were looked at."""
        return [each.lr for each in self.seen(()) if each.lr]


def _mean_if_same(numbers: Sequence[float]) -> float | None:
    """Their mean, 0 of none; `None` where they differ."""
    mean = float(np.mean(numbers)) if numbers else 0.0
    return None if numbers and max(numbers) - min(numbers) > _SAME * mean else mean


def _span(numbers: Sequence[float]) -> str:
    return f"{min(numbers):.3g} to {max(numbers):.3g}" if numbers else ""


def _disagreements(told: Optimizer, last: Recorded, rates: Sequence[float]) -> list[str]:
    """What the files say otherwise than the user."""
    pairs = (
        ("--lr", told.learning_rate, rates[-1] if rates else None, float),
        ("--momentum", told.momentum, last.momentum, _gain),
    )
    return [
        f"{name} {said:g} was given and {printable(last.place.name)} has {found:g}"
        for name, said, found, size in pairs
        if said is not None and found is not None
        if _mean_if_same([size(said), size(found)]) is None
    ]


def _other_batch(told: int, on_a_process: int | None) -> list[str]:
    if on_a_process is None or told % on_a_process == 0:
        return []
    found = f"{on_a_process} per process and pass, and it is not a multiple of this"
    return [f"--batch-size {told} was given and trainer_state.json has {found}"]


def _gain(momentum: float) -> float:
    """How much longer momentum makes increments: 5% of it matter, not 5% of the momentum."""
    return 1 / (1 - momentum)
