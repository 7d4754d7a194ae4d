"""The learning rate along a trajectory, and the length of an epoch: as told, or as recorded."""

import math
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from trajscope.checkpoints.given import Given, Pairs, given_pairs
from trajscope.checkpoints.schedule import Schedule, held, recorded_schedule
from trajscope.errors import OptionError, printable
from trajscope.schema import EPOCH_STEPS, LEARNING_RATE, PATH, STEP


@dataclass(frozen=True)
class Told:
    """What the user says of the schedule; `None` where nothing was said."""

    pairs: Pairs | None
    epoch_steps: float | None


def as_told(lr_schedule: Given | None, epoch_steps: float | None) -> Told:
    """The options, checked.

    Raises
    ------
    OptionError
        They cannot be understood.
    """
    if epoch_steps is not None and not (epoch_steps > 0 and math.isfinite(epoch_steps)):
        raise OptionError(
            f"--epoch-steps {printable(epoch_steps)}: a positive number of steps expected. "
            "Give the number of updates in one pass over the training data."
        )
    return Told(None if lr_schedule is None else given_pairs(lr_schedule), epoch_steps)


def with_schedule(trajectory: xr.Dataset, told: Told) -> xr.Dataset:
    """The trajectory with a coordinate ``learning_rate(step)`` and an attribute ``epoch_steps``.

    Both only where something is known. The user's word stands; else what the trainer's files say,
    or a coordinate that is there already.
    """
    found = _recorded(trajectory) if told.pairs is None or told.epoch_steps is None else None
    epoch_steps = told.epoch_steps or (found.epoch_steps if found else None)
    if epoch_steps is not None:
        trajectory = trajectory.assign_attrs({EPOCH_STEPS: epoch_steps})
    if told.pairs is not None:
        found = Schedule(held(told.pairs, trajectory[STEP].values), "as given")
    if found is None or not (found.source or found.skipped):
        return trajectory
    about: dict[str, object] = {"source": found.source or "unknown"}
    if found.skipped:
        about["skipped"] = found.skipped
    attrs = {"units": "1", "long_name": "learning rate", "told": about}
    return trajectory.assign_coords({LEARNING_RATE: (STEP, found.rates, attrs)})


def _recorded(trajectory: xr.Dataset) -> Schedule | None:
    if PATH not in trajectory.coords or LEARNING_RATE in trajectory.coords:
        return None
    paths = [Path(str(path)) for path in trajectory[PATH].values]
    unit = str(trajectory.attrs.get("step_unit", "index"))
    return recorded_schedule(paths, trajectory[STEP].values, unit)
