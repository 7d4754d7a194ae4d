"""Checkpoints of a trajectory one by one, with the buffers that the trajectory leaves out."""

import json
from collections.abc import Container, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from trajscope.arrays import Source, as_array, is_place
from trajscope.errors import OptionError, printable
from trajscope.model.matching import Arrays
from trajscope.model.matching import Source as MappedSource
from trajscope.schema import ALL_WEIGHTS, STEP, TENSOR, WEIGHT, check_trajectory, check_weights
from trajscope.trajectory import open_trajectory, with_buffers

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Checkpoints:
    """Checkpoints in the order of their steps.

    Attributes
    ----------
    trajectory :
        As `open_trajectory` returns it.
    everything :
        All arrays at the same steps, buffers among them, where there are files; else `trajectory`.
    """

    trajectory: xr.Dataset
    everything: xr.Dataset

    @property
    def steps(self) -> NDArray[np.generic]:
        """(step,)."""
        steps: NDArray[np.generic] = self.trajectory[STEP].to_numpy()
        return steps

    @property
    def groups(self) -> dict[str, str]:
        """For each tensor of weights its group."""
        names, groups = (self.trajectory[key].to_numpy() for key in (TENSOR, "group"))
        return dict(zip(map(str, names), map(str, groups), strict=True))

    def read(self, step: float) -> Arrays:
        """Weights and buffers at one step, by name, in their shapes."""
        arrays = _arrays(self.trajectory, step)
        if self.everything is not self.trajectory:
            arrays |= _arrays(self.everything, step, without=arrays)
        return arrays

    def part(
        self, source: MappedSource, steps: tuple[int, int], weights: tuple[int, int]
    ) -> NDArray[np.floating]:
        """Some weights of a parameter at neighbouring checkpoints, as (step, weight).

        Parameters
        ----------
        source :
            Where its elements lie.
        steps, weights :
            First, and the one behind the last, of the checkpoints and of the parameter's weights.
        """
        if len(source.names) == 1 and source.index is None:
            return self._stored(source.names[0], steps, slice(*weights))
        whole = source.of(lambda name: self._stored(name, steps, slice(None)))
        return whole[:, slice(*weights)]

    def _stored(self, tensor: str, steps: tuple[int, int], weights: slice) -> NDArray[np.floating]:
        """Some elements of a stored tensor, (step, weight)."""
        holder = self.trajectory if tensor in self.groups else self.everything
        place = [str(name) for name in holder[TENSOR].to_numpy()].index(tensor)
        ends = holder["row_size"].to_numpy().cumsum()
        columns = np.arange(ends[place - 1] if place else 0, ends[place])[weights]
        found: NDArray[np.floating] = holder["weights"][
            slice(*steps), columns[0] : columns[-1] + 1
        ].to_numpy()
        return found


def open_checkpoints(source: Source, model: "nn.Module", *, by: str | None) -> Checkpoints:
    """The checkpoints in a directory, of an open trajectory, or of an array.

    Parameters
    ----------
    source :
        As in `analyze`. The weights of an array are the module's parameters in their order.
    model :
        Consulted for the names and shapes that an array does not have.
    by :
        How a directory's tensors are grouped, as in `open_trajectory`.

    Raises
    ------
    TrajscopeError
        The source is no trajectory, or an array has not as many weights as the module.
    """
    if by is not None and not is_place(source):
        raise OptionError(
            f"by={printable(by)!r} applies to a directory, but the source is an array or a "
            "Dataset with its own groups. Omit it, or pass it to open_trajectory."
        )
    if is_place(source):
        trajectory = open_trajectory(source, by=by or "layer")
    elif isinstance(source, xr.Dataset):
        trajectory = source
    else:
        named = _named(as_array(source), model)
        return Checkpoints(named, named)
    check_trajectory(trajectory)
    if "shape" not in trajectory.coords:
        # What analyze makes of an array: one tensor without a shape.
        named = _named(trajectory["weights"], model)
        named.attrs["step_unit"] = trajectory.attrs.get("step_unit", "index")
        return Checkpoints(named, named)
    everything = with_buffers(trajectory)
    return Checkpoints(trajectory, trajectory if everything is None else everything)


def chosen_steps(
    steps: NDArray[np.generic], at: str | Sequence[int | float | str], option: str = "--at"
) -> list[int | float]:
    """The steps that `at` names, ascending.

    Parameters
    ----------
    steps : (step,)
    at :
        Steps, and shares of the last step as "20%": of these the nearest checkpoint. Or one text
        with commas between them.

    Raises
    ------
    OptionError
        A step has no checkpoint, or an entry cannot be understood.
    """
    entries = at.split(",") if isinstance(at, str) else list(at)
    if not entries:
        raise OptionError(
            f"{option} is empty; steps or percentages such as 20%,40%,100% were expected."
        )
    numbers = steps.astype(np.float64)
    rows = {_row(numbers, str(entry).strip(), option) for entry in entries}
    return [steps[row].item() for row in sorted(rows)]


def _row(numbers: NDArray[np.float64], entry: str, option: str) -> int:
    try:
        is_share = entry.endswith("%")
        value = float(Fraction(entry[:-1]) / 100 if is_share else Fraction(entry))
    except (ValueError, ZeroDivisionError, OverflowError):
        raise OptionError(
            f"{option} {printable(entry)}: a step (5000) or a percentage of the last one (20%) was "
            "expected."
        ) from None
    target = value * numbers[-1] if is_share else value
    nearest = int(np.abs(numbers - target).argmin())
    if is_share and not 0 <= value <= 1:
        raise OptionError(f"{option} {printable(entry)}: from 0% to 100% was expected.")
    if not is_share and numbers[nearest] != target:
        raise OptionError(
            f"{option} {printable(entry)}: no checkpoint at this step; the nearest is "
            f"{numbers[nearest]:g}. Percentages of the last step are allowed too, such as 20%."
        )
    return nearest


def _arrays(
    dataset: xr.Dataset, step: float, without: Container[str] = ()
) -> dict[str, NDArray[np.floating]]:
    """The tensors at one step, but those that are named in `without`."""
    flat = dataset["weights"].sel({STEP: step})
    names, shapes, sizes = (dataset[key].to_numpy() for key in (TENSOR, "shape", "row_size"))
    ends = sizes.cumsum()
    arrays = {}
    is_wanted = [str(name) not in without for name in names]
    for wanted, places in groupby(range(len(names)), key=is_wanted.__getitem__):
        if not wanted:
            continue
        some = list(places)
        start = int(ends[some[0]] - sizes[some[0]])
        values = flat[start : int(ends[some[-1]])].to_numpy()
        for place, part in zip(some, np.split(values, ends[some[:-1]] - start), strict=True):
            arrays[str(names[place])] = part.reshape(json.loads(str(shapes[place])))
    return arrays


def _named(array: xr.DataArray, model: "nn.Module") -> xr.Dataset:
    """An array as a trajectory whose tensors are the module's parameters in their order."""
    check_weights(array.dims, array.dtype.kind, array.sizes.get(STEP, 0))
    parameters = dict(model.named_parameters())
    sizes = [parameter.numel() for parameter in parameters.values()]
    if sum(sizes) != array.sizes[WEIGHT]:
        raise OptionError(
            f"The array has {array.sizes[WEIGHT]} weights, the problem's model {sum(sizes)}; the "
            "numbers must match, since the weights of an array are those of the model in order."
        )
    return xr.Dataset(
        {"weights": array.variable},
        {
            STEP: array[STEP].to_numpy(),
            TENSOR: list(parameters),
            "row_size": (TENSOR, sizes),
            "group": (TENSOR, [ALL_WEIGHTS] * len(sizes)),
            "stored_dtype": (TENSOR, [str(array.dtype)] * len(sizes)),
            "shape": (TENSOR, [json.dumps(list(p.shape)) for p in parameters.values()]),
        },
        {"step_unit": "step" if STEP in array.coords else "index"},
    )
