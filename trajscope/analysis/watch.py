"""A run that is still written, as far as it has come: its verdict so far, noise, and alarms."""

import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

from trajscope.analysis.settings import Settings, memory_limit
from trajscope.arrays import as_trajectory
from trajscope.checkpoints.selection import Selection
from trajscope.errors import TrajectoryError, TrajscopeWarning, printable
from trajscope.history.log import Log
from trajscope.history.watched import Watched
from trajscope.inference.decision.run import verdict_alone
from trajscope.measure.executor import executor
from trajscope.measure.measurement import measure
from trajscope.optimizer import Optimizer
from trajscope.schema import FINGERPRINT, STEP, WEIGHT
from trajscope.trajectory import open_selection

_FEWEST: Final = 8
"""Checkpoints for any verdict."""
_POSITIONS: Final = "order of"
"""How sources of steps begin that are mere positions."""
_SHARE: Final = 20
"""Times what the tests took the last time that has to pass before they are done again."""
_ALPHA: Final = 0.01
_MOST: Final = 0.5
"""Share of the squared path in one increment, beyond which nothing is said of the others."""
_SHOWN: Final = 2.0
"""Seconds of reading after which what was found so far is shown."""


class Watcher:
    """A folder of checkpoints that is looked at again and again.

    Every new checkpoint is read once. Of each, its norm, its distance from the one before and from
    the first, and 1,024 random sums of its weights are kept; the weights of the first and of the
    last one are kept whole. So memory and disk are bounded by the size of two checkpoints and some
    sixteen mebibytes, however long training goes on.

    The verdict so far is that of all weights, from the random sums: tests that permute increments
    keep their level on them (see `kernels.folding.add_folded`). `trajscope analyze` tells more.

    Parameters
    ----------
    source :
        The folder that the trainer writes to.
    output :
        Where `state` is kept, in a folder "watched".
    selection :
        Fields of `Selection`.
    """

    def __init__(
        self, source: str | os.PathLike[str], output: Path, selection: dict[str, Any]
    ) -> None:
        self.source = source
        self.selection = Selection.of(selection)
        self.watched = Watched.resumed(output / "watched")
        self.waiting = ""
        self.verdict: dict[str, Any] = {}
        self._decided = (0, 0.0, 0.0)  # checkpoints; when, and how long it took

    def look(self) -> Iterator[xr.Dataset]:
        """What is known of the run, once or more often while new checkpoints are read.

        Yields
        ------
        Dataset
            ``increment``, ``displacement``, ``norm`` and ``estimated`` (step,); the attributes
            ``source``, ``step_unit``, ``weights``, ``read`` (checkpoints), ``code`` and
            ``sentence`` of the verdict, ``tested`` (checkpoints), ``alarms`` (kind, step, text),
            ``note``, and ``waiting``: why nothing can be read.

        Raises
        ------
        OptionError
            The selection is invalid.
        TrajectoryError
            Changes of single checkpoints cannot be told, as in a store with a step axis; or their
            steps are mere positions.
        OSError
            What is kept cannot be written.
        """
        trajectory = self._opened()
        shown = time.monotonic()
        if trajectory is not None:
            for _ in self.watched.take_new(trajectory):
                if time.monotonic() - shown > _SHOWN:
                    yield self._state()
                    shown = time.monotonic()
        self._decide()
        yield self._state()

    def _opened(self) -> xr.Dataset | None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TrajscopeWarning)
            try:
                trajectory = open_selection(self.source, self.selection)
            except TrajectoryError as error:
                self.waiting = str(error)
                return None
        self.waiting = ""
        if not trajectory[FINGERPRINT].to_numpy().astype(bool).all():
            raise TrajectoryError(
                f"{printable(self.source)}: changes of single checkpoints cannot be detected. "
                "Watch a folder of checkpoint files, or analyze this one."
            )
        if trajectory.attrs["step_source"].startswith(_POSITIONS):
            raise TrajectoryError(
                f"{printable(self.source)}: the checkpoints are numbered by their "
                f"{printable(trajectory.attrs['step_source'])}, which changes when some are "
                "deleted. Write the step into their metadata or names, or analyze them."
            )
        return trajectory

    def _decide(self) -> None:
        """Test the increments again, unless nothing came or that took too long a moment ago."""
        log, sums = self.watched.log, self.watched.sums
        n, (tested, when, took) = len(log.rows) if log else 0, self._decided
        latest = log.rows[-1].fingerprint if log and log.rows else ""
        if log is None or sums is None or n < _FEWEST or latest == self.verdict.get("of"):
            return
        if withheld := _one_increment(log):
            self.verdict = {"code": "", "sentence": withheld, "tested": n, "of": latest}
            return
        began = time.monotonic()
        if tested and began - when < _SHARE * took:
            return
        run = as_trajectory(
            xr.DataArray(sums, {STEP: [row.step for row in log.rows]}, (STEP, WEIGHT))
        ).assign_attrs(step_unit=log.unit)
        settings = Settings(_draws(), _ALPHA, 0, Optimizer(momentum=None))
        with executor(None, None) as running:
            limit = memory_limit(None)
            (found,) = measure(run, running, memory=limit, seed=0, progress=lambda *_: None)
        told = verdict_alone(run, found, settings.for_decision(run)).attrs
        self.verdict = {
            "code": told["code"], "sentence": told["sentence"], "tested": n, "of": latest,
        }  # fmt: skip
        self._decided = (n, began, time.monotonic() - began)

    def _state(self) -> xr.Dataset:
        log = self.watched.log or Log("", "step", "float32", 0)
        columns = {
            name: (STEP, np.array([getattr(row, name) for row in log.rows]))
            for name in ("increment", "displacement", "norm", "estimated")
        }
        told = {name: self.verdict.get(name, "") for name in ("code", "sentence", "tested")}
        return xr.Dataset(
            columns,
            {STEP: np.array([row.step for row in log.rows], np.float64)},
            {
                "source": os.fspath(self.source),
                "step_unit": log.unit,
                "weights": log.n_weights,
                "read": log.n_read,
                "alarms": [vars(each) for each in log.alarms],
                "note": self.watched.note,
                "waiting": self.waiting,
                **told,
            },
        )


def _one_increment(log: Log) -> str:
    """Why there is no verdict, where one increment holds most of the squared path; else empty."""
    squares = np.array([row.increment for row in log.rows[1:]]) ** 2
    longest, total = int(squares.argmax()), squares.sum()
    if not squares[longest] > _MOST * total:
        return ""
    step, share = log.rows[longest + 1].step, squares[longest] / total
    return f"No verdict: the increment to step {step:g} holds {share:.0%} of the squared path."


def _draws() -> int:
    """As many as the level requires: the tests are repeated with every checkpoint."""
    return round(2 / _ALPHA) - 1
