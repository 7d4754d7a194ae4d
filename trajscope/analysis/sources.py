"""The runs that are compared: what each source is, and what it is called."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import xarray as xr

from trajscope.analysis.settings import opened
from trajscope.arrays import Source, is_place
from trajscope.errors import OptionError, TrajectoryError, encodable, printable
from trajscope.inference.comparison.differences import Moves
from trajscope.kernels.factors import factor_of_gram, factor_width
from trajscope.measure.found import Measurement
from trajscope.measure.room import LAYER_COLUMNS
from trajscope.report.files.storage import open_results
from trajscope.schema import ALL_WEIGHTS, GROUP, INTERVAL, LAYER, check_results

STORE: Final = "results.zarr"
_OF_CHECKPOINTS: Final = ("run", "burn_in", "steps", "include", "exclude", "strict")
"""Options that a finished result cannot follow any more."""


@dataclass(frozen=True)
class Compared:
    """One run that is compared: a trajectory that is to be measured, or a finished result.

    Attributes
    ----------
    trajectory :
        Of a result: what was read, without the weights.
    result :
        `None` where the weights are at hand.
    """

    label: str
    trajectory: xr.Dataset
    result: xr.DataTree | None = None

    @property
    def unit(self) -> str:
        """What its steps count."""
        return str(self.trajectory.attrs.get("step_unit", "index"))


def compared_sources(
    sources: Sequence[Source | xr.DataTree],
    labels: Sequence[str] | None,
    given: Mapping[str, Any],
) -> list[Compared]:
    """Every source as a run with a label of its own; only headers are read.

    Raises
    ------
    TrajscopeError
        There are fewer than two, labels do not fit, steps count different things, or a source is
        no run.
    """
    if len(sources) < 2:
        raise OptionError(
            f"compare was given {len(sources)} run{'' if len(sources) == 1 else 's'}; at least 2 "
            "are needed. To compare parts of one run, use analyze with --windows."
        )
    names = _labels(sources, labels)
    runs = [_opened(source, name, given) for source, name in zip(sources, names, strict=True)]
    first = runs[0]
    for run in runs[1:]:
        if run.unit != first.unit:
            raise TrajectoryError(
                f"The steps of '{printable(first.label)}' count {_counted(first.unit)}, those of "
                f"'{printable(run.label)}' {_counted(run.unit)}: their times cannot be compared. "
                "Use the same unit in both."
            )
    return runs


def measurement_of(result: xr.DataTree) -> Measurement:
    """What the pass had found, from a finished result.

    Raises
    ------
    TrajectoryError
        It does not hold the increments: it was made by another version.
    """
    observables = result["observables"].to_dataset()
    sums = result["reductions"].to_dataset()
    n = sums.sizes.get(INTERVAL, 0)
    names = [str(name) for name in observables[GROUP].values]
    factors = []
    for place, name in enumerate(names):
        gram = _gram(sums, name)
        if gram is not None:
            width = factor_width(n) if place == 0 else min(factor_width(n), LAYER_COLUMNS)
            factors.append(factor_of_gram(gram, width).astype(np.float32))
        else:
            factors.append(_factor(sums, name))
    return Measurement(
        sums, observables, factors, str(result.attrs.get("path")), str(result.attrs["components"])
    )


def moves_of(measurement: Measurement) -> dict[str, Moves]:
    """The increments of every group."""
    observables = measurement.observables
    found = {}
    for place, name in enumerate(str(each) for each in observables[GROUP].values):
        own = observables.isel({GROUP: place})
        gram = _gram(measurement.reductions, name)
        found[name] = Moves(
            np.square(own["increment_norm"].values),
            int(own["n_weights"]),
            gram,
            None if gram is not None else measurement.factors[place],
        )
    return found


def _gram(sums: xr.Dataset, name: str) -> Any:
    if "increment_gram" not in sums or name not in sums[GROUP].values:
        return None
    return sums["increment_gram"].sel({GROUP: name}).values


def _factor(sums: xr.Dataset, name: str) -> Any:
    if name == ALL_WEIGHTS and "factor_all" in sums:
        return sums["factor_all"].values
    if "factor_layer" in sums and name in sums[LAYER].values:
        return sums["factor_layer"].sel({LAYER: name}).values
    raise TrajectoryError(
        f"The result lacks the increments of '{printable(name)}': it was made by another version "
        "of trajscope. Analyze the run again, or give its folder."
    )


def finished(source: Source | xr.DataTree, label: str) -> xr.DataTree | None:
    """The finished result of one run that a source is, or the path of one; `None` of others.

    Raises
    ------
    TrajscopeError
        It is a DataTree and no result; or a comparison; or it has gradient noise only.
    """
    store = _store(source)
    result = source if isinstance(source, xr.DataTree) else None
    if store is not None:
        result = open_results(store)
    if result is None:
        return None
    check_results(result)
    if "compare" in result.children:
        raise TrajectoryError(
            f"'{printable(label)}' is a comparison. Give the runs that it compares."
        )
    if not result["observables"].data_vars:
        raise TrajectoryError(
            f"'{printable(label)}' contains gradient noise only. Run 'trajscope analyze', or give "
            "the folder of its checkpoints."
        )
    return result


def _opened(source: Any, label: str, given: Mapping[str, Any]) -> Compared:
    result = finished(source, label)
    if result is None:
        return Compared(label, opened(source, given))
    asked = [name for name in _OF_CHECKPOINTS if given.get(name)]
    if asked:
        option = asked[0].replace("_", "-")
        raise OptionError(
            f"'{printable(label)}' is a finished result, and --{option} selects checkpoints or "
            "tensors to read. Give the folder of its checkpoints, or drop the option."
        )
    return Compared(label, result["trajectory"].to_dataset(), result)


def _store(source: Any) -> Path | None:
    """The finished result that a path leads to, or the folder of a report around it."""
    if not is_place(source) or "://" in str(source):
        return None
    path = Path(source)
    for place in (path, path / STORE):
        if place.name == STORE and (place / ".zattrs").is_file():
            return place
    return None


def _labels(sources: Sequence[Any], labels: Sequence[str] | None) -> list[str]:
    if labels is None:
        names = _shortest([_parts(each, number) for number, each in enumerate(sources, 1)])
    else:
        names = [encodable(str(label)) for label in labels]
        if len(names) != len(sources):
            raise OptionError(
                f"{len(names)} labels are given for {len(sources)} runs; one label per run is "
                "needed."
            )
    places = [os.fspath(each) for each in sources if is_place(each)]
    for source in places:
        if places.count(source) > 1:
            raise OptionError(
                f"{printable(source, limit=4096)} is given twice. Give different runs; to compare "
                "parts of one run, use analyze with --windows."
            )
    for name in names:
        if not name.strip() or names.count(name) > 1:
            what = f"'{printable(name)}' is the label of {names.count(name)} runs"
            raise OptionError(
                f"{what if name.strip() else 'A label is empty'}; labels must be unique and not "
                "empty. Give different runs, or name them with labels= or --label."
            )
    return names


def _parts(source: Any, number: int) -> tuple[str, ...]:
    """What can name a source, the last part first."""
    if isinstance(source, xr.DataTree | xr.Dataset):
        attrs = source["trajectory"].attrs if isinstance(source, xr.DataTree) else source.attrs
        place = str(attrs.get("source", ""))
        if "/" not in place:
            return (f"run {number}",)
        return tuple(reversed(PurePosixPath(place).parts))
    if not is_place(source):
        return (f"run {number}",)
    text = os.fspath(source)
    path = text if "://" in text else str(Path(text).absolute())
    parts = [part for part in PurePosixPath(path).parts if part != STORE]
    return tuple(encodable(part) for part in reversed(parts))


def _shortest(parts: Sequence[tuple[str, ...]]) -> list[str]:
    """As few last parts of each path as tell them apart: "seed-1", or "a/checkpoints"."""
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(reversed(each[:depth])) for each in parts]
        if len(set(names)) == len(names):
            # A last part that all share tells nothing: "seed-1" for "seed-1/checkpoints".
            if depth > 1 and len({each[: depth - 1] for each in parts}) == 1:
                return [each[depth - 1] for each in parts]
            return names
    return names


def _counted(unit: str) -> str:
    return {"step": "optimizer steps", "epoch": "epochs"}.get(unit, "checkpoints by position")
