"""Learning rate, length of an epoch, weight decay and loss of a run: told, or recorded."""

import math
import warnings
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from trajscope.checkpoints.given import Given, Pairs, given_pairs
from trajscope.checkpoints.logs import recorded_log
from trajscope.checkpoints.schedule import Schedule, counted_epoch, held, recorded_schedule
from trajscope.checkpoints.training import recorded
from trajscope.errors import OptionError, TrajscopeWarning, printable
from trajscope.optimizer import SGD
from trajscope.schema import (
    EPOCH,
    EPOCH_STEPS,
    EQUILIBRIUM_ANGLE,
    INTERVAL,
    LEARNING_RATE,
    STEP,
    WEIGHT_DECAY,
)
from trajscope.trajectory import checkpoint_files

_LOGGED: Final = {
    "loss": {"units": "loss", "long_name": "training loss, as logged"},
    "validation_loss": {"units": "loss", "long_name": "validation loss, as logged"},
    "learning_rate": {"units": "1", "long_name": "learning rate, as logged"},
}


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

    Both only where something is known. The user's word stands; else a coordinate that is there
    already, of which one rate holds throughout; else what the trainer's files say.
    """
    trajectory = _with_own_rate(trajectory)
    found = _recorded(trajectory) if told.pairs is None or told.epoch_steps is None else None
    epoch_steps = told.epoch_steps or (found.epoch_steps if found else None) or _counted(trajectory)
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
    decay = _weight_decay(trajectory) if np.isfinite(found.rates).any() else None
    return trajectory.assign_coords({LEARNING_RATE: (STEP, found.rates, attrs)}).assign_attrs(
        {} if decay is None else {WEIGHT_DECAY: decay}
    )


def training_log(trajectory: xr.Dataset) -> xr.Dataset | None:
    """Loss and learning rate as the trainer logged them from the first checkpoint to the last.

    Returns
    -------
    Dataset or None
        ``loss(step)``, ``validation_loss(step)``, ``learning_rate(step)``, those that were logged,
        NaN at steps where only others were; `None` where no log was found.
    """
    steps = trajectory[STEP].values
    paths, _ = checkpoint_files(trajectory)
    found = recorded_log(paths, str(trajectory.attrs.get("step_unit", "index"))) if paths else None
    if found is None:
        return None
    within = sorted(
        step for step in set().union(*found.series.values()) if steps[0] <= step <= steps[-1]
    )
    if not within:
        return None
    logged = {
        name: (STEP, np.array([values.get(step, np.nan) for step in within]), _LOGGED[name])
        for name, values in found.series.items()
    }
    return xr.Dataset(logged, {STEP: within}, {"source": printable(found.source, limit=200)})


def equilibrium_angle(trajectory: xr.Dataset) -> dict[str, xr.Variable]:
    """Angles between checkpoints of scale-invariant weights at the equilibrium of weight decay.

    ``arccos exp(- eta lambda k)`` over k steps, ``sqrt(2 eta lambda)`` over one: gradients at right
    angles to the weights, whose norm is kept (Wan et al. 2020, arXiv:2006.08419). With momentum
    the weights decay by ``eta lambda (1 - d) / (1 - mu)`` a step.

    Returns
    -------
    dict
        (interval,) by name, in radians; empty where rate, decay or updates are not known.
    """
    decay = trajectory.attrs.get(WEIGHT_DECAY)
    if decay is None or LEARNING_RATE not in trajectory.coords:
        return {}
    if trajectory.attrs.get("step_unit") != "step":
        return {}
    decayed = trajectory[LEARNING_RATE].values[:-1] * decay["per_rate"]
    angles = np.arccos(np.exp(-decayed * np.diff(trajectory[STEP].values)))
    if not np.isfinite(angles).any():
        return {}
    told = {
        "units": "rad",
        "long_name": "angle between neighbouring checkpoints of scale-invariant weights at the "
        "equilibrium of weight decay",
    }
    return {EQUILIBRIUM_ANGLE: xr.Variable(INTERVAL, angles, told)}


def _weight_decay(trajectory: xr.Dataset) -> dict[str, object] | None:
    """The weight decay in the files of the last checkpoint, where it is SGD's or decoupled."""
    paths, own_folders = checkpoint_files(trajectory)
    found = recorded(paths[-1], own_folder=own_folders) if paths else None
    if found is None or not found.weight_decay or found.kind not in (SGD, "adam"):
        return None
    per_step = (1 - found.dampening) / (1 - (found.momentum or 0.0))
    return {
        "value": found.weight_decay,
        "per_rate": found.weight_decay * per_step,
        "source": found.place.name,
    }


def _with_own_rate(trajectory: xr.Dataset) -> xr.Dataset:
    """The coordinate along the steps; without it, with a warning, where it holds no such rates."""
    if LEARNING_RATE not in trajectory.coords:
        return trajectory
    own = trajectory[LEARNING_RATE]
    is_number = own.dtype.kind in "iuf" and own.dims in ((), (STEP,))
    rates = np.asarray(own.values, float) if is_number else np.array([-1.0])
    if not np.all(np.isnan(rates) | ((rates >= 0) & np.isfinite(rates))):
        warnings.warn(
            f"The coordinate '{LEARNING_RATE}' is not used: rates of at least 0, one or one a "
            f"step, were expected, and it holds {own.dtype} along {printable(own.dims)}. "
            "Drop it, or give the rates (NaN where one is not known).",
            TrajscopeWarning,
            stacklevel=2,
        )
        return trajectory.drop_vars(LEARNING_RATE)
    along = np.broadcast_to(rates, trajectory.sizes[STEP]).copy()
    return trajectory.assign_coords({LEARNING_RATE: (STEP, along, own.attrs)})


def _counted(trajectory: xr.Dataset) -> float | None:
    """Steps of an epoch, where checkpoints count both."""
    own = trajectory.coords.get(EPOCH)
    if trajectory.attrs.get("step_unit") != "step" or own is None or own.dims != (STEP,):
        return None
    return counted_epoch(trajectory[STEP].values, own.values)


def _recorded(trajectory: xr.Dataset) -> Schedule | None:
    paths, _ = checkpoint_files(trajectory)
    if not paths or LEARNING_RATE in trajectory.coords:
        return None
    unit = str(trajectory.attrs.get("step_unit", "index"))
    return recorded_schedule(paths, trajectory[STEP].values, unit)
