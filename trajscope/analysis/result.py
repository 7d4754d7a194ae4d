"""What was found of a run, or of a window of it, as one labelled tree."""

import platform
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import xarray as xr

from trajscope.analysis.portrait import phase_portrait
from trajscope.analysis.schedule import equilibrium_angle
from trajscope.errors import TrajscopeWarning
from trajscope.inference.audit.rules import withheld
from trajscope.measure.caveats import caveats
from trajscope.measure.found import Measurement
from trajscope.measure.labels import even_spacing
from trajscope.report.content.results import Results
from trajscope.schema import STEP
from trajscope.units import labelled


def made(config: Mapping[str, object], timings: Mapping[str, float]) -> dict[str, object]:
    """Attributes of a result that say how and when it was made."""
    return {
        "trajscope": version("trajscope"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": dict(config),
        "seed": config["seed"],
        "timings": dict(timings),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "scipy", "xarray", "dask")},
        },
    }


def parts_of(
    trajectory: xr.Dataset,
    measurement: Measurement,
    decided: tuple[xr.Dataset, xr.Dataset],
    told: Mapping[str, object],
) -> dict[str, xr.Dataset]:
    """The parts of a result, by their place in the tree.

    Parameters
    ----------
    decided :
        Tests and verdict.
    told :
        As `made` gives it, and a label where the result is one of several.

    Warns
    -----
    TrajscopeWarning
        The curves of a run are right, but something about them should be known.
    """
    steps = trajectory[STEP].values
    found = caveats(trajectory, measurement.observables, measurement.components)
    if told.get("case") != "window":  # of a part of a run, its own page says it
        for message in found:
            warnings.warn(message, TrajscopeWarning, stacklevel=3)
    read = trajectory.drop_vars("weights", errors="ignore").assign_attrs(
        checkpoints=len(steps),
        weights=int(trajectory["row_size"].sum()),
        evenly_spaced=even_spacing(steps) is not None,
        warnings=[*trajectory.attrs.get("warnings", []), *found],
    )
    root = {
        **told,
        "fingerprint": trajectory.attrs.get("fingerprint", ""),
        "path": measurement.path,
        "components": measurement.components,
    }
    return {
        "/": xr.Dataset(attrs=root),
        "/trajectory": read,
        "/reductions": measurement.reductions,
        "/observables": measurement.observables.assign(
            equilibrium_angle(trajectory) | _portrait(steps, measurement, told)
        ),
        "/tests": decided[0],
        "/diffusion": xr.Dataset(attrs={"reason": "No training problem was given."}),
        "/verdict": decided[1],
    }


def _portrait(
    steps: Any, measurement: Measurement, told: Mapping[str, object]
) -> dict[str, xr.Variable]:
    """Of a whole run only."""
    if told.get("case") == "window":
        return {}
    return phase_portrait(steps, measurement, int(str(told["seed"])))


def allowed(
    trajectory: xr.Dataset, decided: tuple[xr.Dataset, xr.Dataset]
) -> tuple[xr.Dataset, xr.Dataset]:
    """Tests and verdict; in place of a verdict the reason, where the audit allows none."""
    why = withheld(trajectory)
    return (decided[0], xr.Dataset(attrs={"reason": why})) if why else decided


def with_cases(whole: Mapping[str, xr.Dataset], cases: list[dict[str, xr.Dataset]]) -> xr.DataTree:
    """One tree: each case below ``/cases/1``, ``/cases/2``, ..., a whole result of its own."""
    unit = _step_unit(whole if "/trajectory" in whole else cases[0])
    nodes = {place: labelled(part, unit) for place, part in whole.items()}
    for number, case in enumerate(cases, 1):
        unit = _step_unit(case)
        nodes |= {
            f"/cases/{number}{place}".rstrip("/"): labelled(part, unit)
            for place, part in case.items()
        }
    return Results.from_dict(nodes)


def _step_unit(parts: Mapping[str, xr.Dataset]) -> str:
    """What a step of a run counts."""
    return str(parts["/trajectory"].attrs.get("step_unit", "index"))
