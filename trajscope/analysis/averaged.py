"""Which checkpoints count how much in an average, and what of them can be averaged."""

import math
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from trajscope.checkpoints.given import SHARES, Given, given_pairs
from trajscope.errors import OptionError, TrajectoryError, printable
from trajscope.schema import STEP, TENSOR
from trajscope.trajectory import with_buffers

Floats = NDArray[np.float64]

_WRITTEN: Final = ("float16", "bfloat16", "float32", "float64")
_REFUSED: Final = (
    ("part of the weight", "quantised or pruned"),
    ("codes of a quantised weight", "quantised"),
    ("belongs to the quantised", "quantised"),
    ("shape ", "of different shapes in different checkpoints"),
    ("missing at step", "not in every checkpoint"),
)
"""How reasons for leaving an array out begin that stand for weights, and what these are."""
_COPIED: Final = (
    "a running statistic", "a buffer", "a constant of the architecture", "a mask",
)  # fmt: skip
"""How reasons begin of arrays that belong to the model, and are copied from the last checkpoint."""


def shares_of(
    trajectory: xr.Dataset, last: int | None, ema: float | None, weights: Given | None
) -> tuple[Floats, str]:
    """What every checkpoint counts, (step,), summing to one; and how, in words.

    Raises
    ------
    OptionError
        Not exactly one is given, or it cannot be used with this run.
    """
    given = [value for value in (last, ema, weights) if value is not None]
    if len(given) != 1:
        raise OptionError(
            f"{len(given)} of --last, --ema and --weights were given; exactly one is expected: "
            "--last 10 for the mean of the last ten checkpoints."
        )
    steps = trajectory[STEP].to_numpy()
    unit = str(trajectory.attrs["step_unit"])
    if last is not None:
        if isinstance(last, bool) or not 1 <= last <= len(steps):
            raise OptionError(
                f"--last {printable(last)}: the run has {len(steps)} checkpoints; a number from 1 "
                f"to {len(steps)} is expected."
            )
        shares = (np.arange(len(steps)) >= len(steps) - last) / last
        return shares, f"mean of the last {last} checkpoints"
    if ema is not None:
        if not (ema > 0 and math.isfinite(ema)):
            raise OptionError(
                f"--ema {printable(ema)}: a positive half-life is expected, in the unit of the "
                f"steps, here {unit}."
            )
        shares = 2.0 ** (-(steps[-1] - steps).astype(np.float64) / ema)
        return shares / shares.sum(), f"exponential, half-life {ema:g} in {unit}s"
    assert weights is not None
    pairs = given_pairs(weights, SHARES)
    missing = [step for step, _ in pairs if step not in steps]
    if missing or not sum(share for _, share in pairs) > 0:
        what = f"no checkpoint has the step {missing[0]:.12g}" if missing else "all weights are 0"
        raise OptionError(
            f"--weights: {what}; steps of this run, {steps[0]} to {steps[-1]}, and a positive "
            "weight were expected. 'trajscope inspect' lists the steps."
        )
    shares = np.zeros(len(steps))
    for step, share in pairs:
        shares[np.searchsorted(steps, step)] = share
    return shares / shares.sum(), "with given weights"


def with_one_dtype_each(trajectory: xr.Dataset) -> xr.Dataset:
    """The same, every tensor in the narrowest dtype that holds all that it was stored in."""

    def widest(dtypes: str) -> str:
        found = dtypes.split("|")
        if len(found) == 1 or not set(found) <= set(_WRITTEN):
            return dtypes
        return "float64" if "float64" in found else "float32"

    dtypes = [widest(str(each)) for each in trajectory["stored_dtype"].to_numpy()]
    return trajectory.assign_coords(stored_dtype=(TENSOR, dtypes))


def refuse_composed(trajectory: xr.Dataset) -> None:
    """Refuse weights whose average could not be stored as they are.

    Raises
    ------
    TrajectoryError
    """
    for told in trajectory.attrs["left_out"]:
        for beginning, what in _REFUSED:
            if str(told["reason"]).startswith(beginning):
                raise TrajectoryError(
                    f"The weights of {printable(told['name'])!r} are {what}; an average of them "
                    f"would be no checkpoint of this model ({printable(told['reason'])}). Average "
                    "checkpoints of plain floating-point weights, or leave these out with "
                    "--exclude."
                )
    narrow = [
        (str(name), str(dtype))
        for name, dtype in zip(
            trajectory[TENSOR].to_numpy(), trajectory["stored_dtype"].to_numpy(), strict=True
        )
        if str(dtype) not in _WRITTEN
    ]
    if narrow:
        name, dtype = narrow[0]
        raise TrajectoryError(
            f"The tensor {printable(name)!r} is stored as {printable(dtype)}; one of "
            f"{', '.join(_WRITTEN)} was expected. Average checkpoints that are not quantised."
        )
    if any("complex:" in str(text) for text in trajectory.attrs.get("decisions", ())):
        raise TrajectoryError(
            "Some tensors are complex; averages of real weights only are written. Leave them out "
            "with --exclude."
        )


def buffers_of(trajectory: xr.Dataset, row: int) -> xr.Dataset | None:
    """The model's floating-point arrays that are no weights, at one checkpoint."""
    names = {
        str(told["name"])
        for told in trajectory.attrs["left_out"]
        if str(told["reason"]).startswith(_COPIED)
    }
    everything = with_buffers(trajectory) if names else None
    if everything is None:
        return None
    kept = [
        place
        for place, (name, dtype) in enumerate(
            zip(everything[TENSOR].values, everything["stored_dtype"].values, strict=True)
        )
        if str(name) in names and str(dtype) in _WRITTEN
    ]
    if not kept:
        return None
    ends = [0, *accumulate(everything["row_size"].to_numpy().tolist())]
    columns = np.concatenate([np.arange(ends[place], ends[place + 1]) for place in kept])
    return everything.isel({STEP: [row], "weight": columns, TENSOR: kept})


def what_does_not_fit(trajectory: xr.Dataset, buffers: xr.Dataset | None) -> Iterator[str]:
    """What the file holds that does not fit, and what it lacks."""
    copied = [] if buffers is None else [str(name) for name in buffers[TENSOR].to_numpy()]
    reasons = {str(each["name"]): str(each["reason"]) for each in trajectory.attrs["left_out"]}
    running = [name for name in copied if reasons[name].startswith("a running statistic")]
    if running:
        yield (
            f"Running statistics ({len(running)} arrays, first {printable(running[0])}) were "
            "copied from the last checkpoint that counts, and do not belong to the averaged "
            "weights: recompute them on training data before the model is used, for example with "
            "torch.optim.swa_utils.update_bn."
        )
    lacking = [name for name, why in reasons.items() if why.startswith(_COPIED)]
    lacking = [name for name in lacking if name not in copied]
    if lacking:
        yield (
            f"The average lacks arrays of the checkpoints ({len(lacking)}, first "
            f"{printable(lacking[0])}: {printable(reasons[lacking[0]])}): load it with "
            "strict=False."
        )
