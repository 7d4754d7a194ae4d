"""The diffusion matrix in summary.json: every number, of all weights and of every group."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from trajscope.schema import GROUP, STEP

if TYPE_CHECKING:
    import xarray as xr

_SETTINGS = (
    "mode", "dtype", "device", "deterministic", "seed", "n_weights", "n_samples", "n_data",
    "batch_size", "sketch", "products", "products_bound", "mapping", "unmapped",
)  # fmt: skip
_SERIES = ("loss", "gradient_norm")


def diffusion_summary(
    found: "xr.Dataset", plain: Callable[[object], object]
) -> dict[str, object] | None:
    """What summary.json says of the diffusion matrix; `None` where it was not computed.

    Parameters
    ----------
    found :
        The part "diffusion" of a result.
    plain :
        Turns a value into what JSON knows.
    """
    if not is_computed(found):
        return None
    told: dict[str, object] = {name: plain(found.attrs.get(name)) for name in _SETTINGS}
    names = numbers_of(found)
    grouped = [name for name in names if f"group_{name}" in found]
    told["steps"] = plain(found[STEP].values)
    told["checkpoints"] = [
        {name: plain(found[name].values[row]) for name in names} for row in range(found.sizes[STEP])
    ]
    told["groups"] = {
        str(group): {
            "n_weights": plain(found["group_size"].values[place]),
            "checkpoints": [
                {name: plain(found[f"group_{name}"].values[place, row]) for name in grouped}
                for row in range(found.sizes[STEP])
            ],
        }
        for place, group in enumerate(found[GROUP].values)
    }
    scalars = [str(name) for name, array in found.items() if not array.dims]
    told |= {
        name: plain(found[name].item())
        for name in scalars
        if not name.startswith(("budget_", *(f"{series}_trend_" for series in _SERIES)))
    }
    told["budget"] = _budget(found, plain)
    told["trends"] = {
        series: trend
        for series in _SERIES
        if (trend := {k: plain(value) for k, value in trend_of(found, series).items()})
    }
    told |= {
        name: plain(found[name].values)
        for name in ("spectrum_distance", "eigenspace_overlap")
        if name in found
    }
    return told | {"warnings": plain(found.attrs.get("warnings", []))}


def _budget(found: "xr.Dataset", plain: Callable[[object], object]) -> dict[str, object]:
    """The noise budget: a number for each way of sampling, angles, and what its guards say."""
    names = [str(name) for name in (*found.data_vars, *found.attrs)]
    told: dict[str, object] = {}
    for name in names:
        if not name.startswith("budget_"):
            continue
        value: object = found.attrs.get(name)
        if name in found:
            array = found[name]
            value = array.values
            if array.dims == ("sampling",):
                told[name.removeprefix("budget_")] = {
                    str(way): plain(each)
                    for way, each in zip(found["sampling"].values, array.values, strict=True)
                }
                continue
            if not array.dims:
                value = array.item()
        told[name.removeprefix("budget_")] = plain(value)
    return told


def is_computed(found: "xr.Dataset") -> bool:
    """Whether this part of a result holds eigenvalues."""
    return "eigenvalue" in found and found.sizes.get(STEP, 0) > 0


def numbers_of(found: "xr.Dataset") -> list[str]:
    """Names of the numbers that there are of every checkpoint, for all weights together."""
    return [str(name) for name, array in found.items() if array.dims == (STEP,)]


def trend_of(found: "xr.Dataset", series: str) -> dict[str, float]:
    """What is known of the trend of a curve over the checkpoints, by name; empty without one."""
    prefix = f"{series}_trend_"
    return {
        str(name).removeprefix(prefix): float(array)
        for name, array in found.items()
        if str(name).startswith(prefix)
    }
