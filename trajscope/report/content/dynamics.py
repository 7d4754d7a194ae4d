"""The test of the theory as rows of a table, refusals, and a part of the summary."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import xarray as xr

from trajscope.errors import printable
from trajscope.report.content.numbers import exact, number
from trajscope.report.content.theory_holds import STABILITY, scalar
from trajscope.schema import DIRECTION, DYNAMICS

COLUMNS = (
    ("variance", "variance"),
    ("lag_covariance", "lag covariance"),
    ("spread", "displacement"),
)
"""What is predicted along every direction, and what it is called."""

_NUMBERS = (
    "volume_ratio", "budget_ratio", "current_slope", "angle", "rotation", "variance_slope",
    "entropy_production", "angular_velocity",
)  # fmt: skip
_P_VALUES = ("p_current", "p_phi_is_f", "p_commuting", "p_reversible")
_UNPREDICTED = (
    "principal_variance", "potential_curvature", "potential_curvature_low",
    "potential_curvature_high",
)  # fmt: skip
_BY_CURVATURE = ("variance", "exponent", "confinement")
_SETTINGS = (
    "learning_rate", "batch_size", "momentum", "nesterov", "weight_decay", "with_replacement",
    "updates", "mode", "hessian_steps", "hessian_lowest", "hessian_products",
)  # fmt: skip


@dataclass(frozen=True)
class DirectionRow:
    """A leading eigenvector of H: its eigenvalue, relaxation, and measured over predicted."""

    name: str
    eigenvalue: str
    time: str
    cells: tuple[str, ...]
    is_main: bool


@dataclass(frozen=True)
class Refusal:
    """What was refused: its code, why, and what would lift it."""

    code: str
    reason: str
    remedy: str


def dynamics_of(results: xr.DataTree) -> xr.Dataset | None:
    """The part of a result, where it is there."""
    return results[DYNAMICS].to_dataset() if DYNAMICS in results.children else None


def refusals(found: xr.Dataset) -> list[Refusal]:
    """What was refused, in the order of the result."""
    told = found.attrs.get("guards", [])
    return [
        Refusal(*(printable(str(each.get(key, "")), limit=500) for key in _REFUSAL))
        for each in told
        if isinstance(each, Mapping)
    ]


_REFUSAL = ("code", "reason", "remedy")


def direction_rows(found: xr.Dataset) -> list[DirectionRow]:
    """A row for every leading eigenvector."""
    if "hessian_eigenvalue" not in found:
        return []
    n = found.sizes[DIRECTION]
    values = found["hessian_eigenvalue"].values
    return [
        DirectionRow(
            exact(float(found[DIRECTION].values[place])),
            number(float(values[place])),
            _or_none(found, "correlation_time_predicted", place),
            tuple(_ratio(found, name, place) for name, _ in COLUMNS),
            place < 10,
        )
        for place in range(n)
    ]


def dynamics_summary(
    found: xr.Dataset | None, plain: Callable[[object], object]
) -> dict[str, object] | None:
    """What summary.json says of the test of the theory; `None` where there was none.

    Parameters
    ----------
    plain :
        Turns a value into what JSON knows.
    """
    if found is None:
        return None
    told: dict[str, object] = {name: plain(found.attrs.get(name)) for name in _SETTINGS}
    for name in _NUMBERS:
        told[name] = plain(scalar(found, name))
        ends = [scalar(found, f"{name}{end}") for end in ("_low", "_high")]
        told[f"{name}_interval"] = plain(ends)
    told |= {name: plain(scalar(found, name)) for name in (*_P_VALUES, *STABILITY)}
    names = ("hessian_eigenvalue", *(f"{name}_ratio" for name, _ in COLUMNS), *_BY_CURVATURE)
    told["directions"] = {name: plain(found[name].values) for name in names if name in found}
    told["unpredicted"] = {n: plain(found[n].values) for n in _UNPREDICTED if n in found}
    told["guards"] = plain(found.attrs.get("guards", []))
    return told


def _ratio(found: xr.Dataset, name: str, place: int) -> str:
    key = f"{name}_ratio"
    if key not in found or not math.isfinite(float(found[key].values[place])):
        return "–"
    value, low, high = (
        number(float(found[f"{key}{end}"].values[place]), 2) for end in ("", "_low", "_high")
    )
    return f"{value} ({low} to {high})"


def _or_none(found: xr.Dataset, name: str, place: int) -> str:
    value = float(found[name].values[place]) if name in found else math.nan
    return number(value, 2) if math.isfinite(value) else "–"
