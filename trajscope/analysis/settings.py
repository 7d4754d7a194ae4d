"""The settings of an analysis: how a source is opened and tested, and how this is recorded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr

from trajscope.analysis.finite import Engine
from trajscope.arrays import Source, as_trajectory, is_place
from trajscope.checkpoints.selection import Selection
from trajscope.errors import OptionError
from trajscope.inference.decision.run import ringing
from trajscope.inference.decision.verdict import DecisionSettings
from trajscope.measure.resources import default_memory, parse_bytes
from trajscope.optimizer import Optimizer
from trajscope.schema import STEP, check_trajectory
from trajscope.trajectory import open_selection


@dataclass(frozen=True)
class Settings:
    """How trajectories are tested.

    Attributes
    ----------
    optimizer :
        What is known of it.
    updates_per_epoch :
        Where checkpoints are numbered by epochs.
    """

    n_surrogates: int
    alpha: float
    seed: int
    optimizer: Optimizer
    updates_per_epoch: float | None = None

    def for_decision(self, trajectory: xr.Dataset) -> DecisionSettings:
        """The settings of the tests for a trajectory with these steps.

        Raises
        ------
        OptionError
            The level or the seed is invalid, or the level cannot be reached with so few draws.
        """
        unit = str(trajectory.attrs.get("step_unit", "index"))
        left, said = ringing(
            self.optimizer,
            trajectory[STEP].values,
            unit,
            updates_per_epoch=self.updates_per_epoch,
        )
        return DecisionSettings(self.n_surrogates, self.alpha, self.seed, left, said)

    def config(self, selection: Mapping[str, object], engine: Engine) -> dict[str, object]:
        """What has to be given again to find the same."""
        given = {
            **selection,
            "memory": engine.memory,
            "seed": self.seed,
            "alpha": self.alpha,
            "n_surrogates": self.n_surrogates,
            "momentum": self.optimizer.momentum,
            "updates_per_epoch": self.updates_per_epoch,
            "exact": engine.exact or None,
        }
        return {name: value for name, value in given.items() if value is not None}


def opened(source: Source, given: Mapping[str, Any], **only_of_places: object) -> xr.Dataset:
    """The trajectory in a source, checked; its files are opened as `given` says.

    Parameters
    ----------
    given :
        Fields of `Selection`; `None` where nothing was said.
    only_of_places :
        Other options that only files can be given with.

    Raises
    ------
    TrajscopeError
        It is no trajectory, or options say how to open what needs no opening.
    """
    given = {name: value for name, value in given.items() if value is not None}
    if is_place(source):
        trajectory = open_selection(source, Selection.of(given))
    else:
        _refuse({**given, **only_of_places, "strict": None})
        trajectory = as_trajectory(source)
    check_trajectory(trajectory)
    return trajectory


def memory_limit(memory: int | str | None) -> int:
    """Bytes that a process may hold; by default a quarter of what is free."""
    return parse_bytes(memory) if isinstance(memory, str) else memory or default_memory()


def _refuse(selection: Mapping[str, object]) -> None:
    given = [name for name, value in selection.items() if value is not None]
    if given:
        raise OptionError(
            f"{', '.join(given)}: these options apply to a directory, but the source is an array "
            "or Dataset. Select with xarray instead: source.isel(step=slice(10, None))."
        )
