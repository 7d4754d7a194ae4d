"""The trajectory in brief and one number per scalar observable, as JSON for other programs."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trajscope.errors import encodable
from trajscope.report.content.cases import differences
from trajscope.report.content.dynamics import dynamics_of, dynamics_summary
from trajscope.report.content.gradient_noise_summary import diffusion_summary
from trajscope.report.content.laws import laws_summary
from trajscope.report.content.norms import middle
from trajscope.report.content.river import chosen, is_measured, walk_of
from trajscope.report.content.spectra import spectra_summary
from trajscope.schema import (
    ALL_WEIGHTS,
    AUDIT,
    COMPONENT,
    EPOCH_STEPS,
    EQUILIBRIUM_ANGLE,
    GROUP,
    LEARNING_RATE,
    STEP,
    TENSOR,
    WEIGHT_DECAY,
    WINDOW_LENGTH,
    Described,
    cases_of,
    check_results,
    described,
    is_comparison,
)

if TYPE_CHECKING:
    import xarray as xr


def summary(results: "xr.DataTree") -> dict[str, object]:
    """What summary.json holds: the trajectory in brief and one number per scalar observable.

    Every value is plain JSON; a number that could not be measured is null, and steps that are
    whole numbers are integers. `SCALARS` names and describes the observables.
    """
    check_results(results)
    cases = [_case(case) for case in cases_of(results)]
    told: dict[str, object] = {"trajscope": str(results.attrs["trajscope"])}
    if is_comparison(results):
        return told | {"cases": cases, "compare": _comparison(results)}
    return told | _of_one(results) | ({"cases": cases} if cases else {})


def _case(case: "xr.DataTree") -> dict[str, object]:
    """One window or run, by its label."""
    kind = str(case.attrs.get("case", "run"))
    return {"case": kind, "label": plain(str(case.attrs.get("label", ""))), **_of_one(case)}


def _comparison(results: "xr.DataTree") -> dict[str, object]:
    """What tells the runs apart, and what was not compared."""
    told: dict[str, object] = {
        "runs": [plain(str(case.attrs["label"])) for case in cases_of(results)],
        "differences": [
            {
                "quantity": each.quantity,
                "group": each.group,
                "runs": [each.first, each.second],
                "p_value": plain(each.p_value),
                "effect": plain(each.effect),
                "interval": [plain(each.low), plain(each.high)],
                "effect_is": each.meaning,
            }
            for each in differences(results)
        ],
        **{name: plain(value) for name, value in laws_summary(results).items()},
        "guards": plain(results["compare"].attrs.get("guards", [])),
    }
    if "ensemble" in results.children:
        told["ensemble"] = _ensemble(results["ensemble"].to_dataset())
    return told


def _ensemble(found: "xr.Dataset") -> dict[str, object]:
    """Of all weights: shares of the verdicts, pooled p-values, mean and spread over runs."""
    whole = found.isel({GROUP: 0})
    numbers = [str(name) for name, array in whole.data_vars.items() if array.ndim == 0]
    return {
        "verdicts": {
            str(code): plain(share)
            for code, share in zip(
                found["verdict"].values, whole["verdict_share"].values, strict=True
            )
            if share > 0
        },
        "p_pooled": {
            str(test): plain(p)
            for test, p in zip(found["test"].values, whole["p_pooled"].values, strict=True)
        },
        **{name: plain(whole[name].item()) for name in numbers},
    }


def _of_one(results: "xr.DataTree") -> dict[str, object]:
    return {
        "trajectory": trajectory_summary(results["trajectory"].to_dataset()),
        "audit": plain(results["trajectory"].attrs.get(AUDIT, [])),
        "observables": _scalars(results["observables"].to_dataset()),
        "tests": plain(results["tests"].attrs.get("summary", {})),
        "verdict": _verdict(results["verdict"].attrs),
        "phases": plain(results["verdict"].attrs.get("phases", [])),
        "layers": _layers(results),
        "diffusion": diffusion_summary(results["diffusion"].to_dataset(), plain),
        "dynamics": dynamics_summary(dynamics_of(results), plain),
        "spectra": spectra_summary(results, plain),
    }


def trajectory_summary(trajectory: "xr.Dataset | Described") -> dict[str, object]:
    """What was read, as plain JSON; from a trajectory as it was opened, or the part of a result."""
    known = described(trajectory)
    told = known.attrs
    return {
        "checkpoints": len(known.coords[STEP]),
        "steps": [plain(step) for step in known.coords[STEP]],
        "step_unit": str(told.get("step_unit", "index")),
        "step_source": plain(str(told.get("step_source", ""))),
        **({"coordinates": plain(known.counts)} if known.counts else {}),
        **_schedule(trajectory),
        "weights": int(known.coords["row_size"].sum()),
        "tensors": [plain(str(name)) for name in known.coords[TENSOR]],
        **({"much_left_out": plain(str(much))} if (much := told.get("much_left_out")) else {}),
        "left_out": plain(told.get("left_out", [])),
        "skipped": plain(told.get("skipped", [])),
        "run": plain(str(told.get("run", ""))),
    }


def _schedule(trajectory: "xr.Dataset | Described") -> dict[str, object]:
    """Learning rate and length of an epoch, where known: as they are in the part of a result."""
    found: dict[str, object] = {}
    if not isinstance(trajectory, Described) and LEARNING_RATE in trajectory.coords:
        rate = trajectory[LEARNING_RATE]
        found[LEARNING_RATE] = plain(
            {**rate.attrs.get("told", {}), "first": rate.values[0], "last": rate.values[-1]}
        )
    if WEIGHT_DECAY in trajectory.attrs:
        found[WEIGHT_DECAY] = plain(trajectory.attrs[WEIGHT_DECAY])
    if EPOCH_STEPS in trajectory.attrs:
        found[EPOCH_STEPS] = plain(trajectory.attrs[EPOCH_STEPS])
    return found


def plain(value: Any) -> Any:
    """`value` as JSON knows it: numbers whole where they are, null for what is no finite number."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value.tolist()]
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() else value
    return value if value is None or isinstance(value, (bool, int)) else encodable(str(value))


def _verdict(told: Mapping[Any, Any]) -> dict[str, object] | None:
    if not told.get("code"):
        return None
    wanted = ("code", "sentence", "alpha", "evidence", "noise", "course", "rest")
    return {name: plain(told.get(name)) for name in wanted}


def _layers(results: "xr.DataTree") -> dict[str, object]:
    """Of every layer: code and sentence, p-values corrected for their number, share of a course."""
    decided, tests = results["verdict"].to_dataset(), results["tests"].to_dataset()
    if "code" not in decided:
        return {}
    course = results["verdict"].attrs.get("course")
    shares = course.get("layers", {}) if isinstance(course, Mapping) else {}
    found: dict[str, object] = {}
    for place, group in enumerate(decided[GROUP].values):
        if group == ALL_WEIGHTS:
            continue
        p_values = tests["p_adjusted"].isel({GROUP: place})
        found[plain(str(group))] = {
            "code": plain(str(decided["code"].values[place])),
            "sentence": plain(str(decided["sentence"].values[place])),
            "p_values": {
                str(test): plain(p)
                for test, p in zip(tests["test"].values, p_values.values, strict=True)
                if math.isfinite(p)
            },
            "course_share": plain(shares.get(str(group))),
        }
    return found


def _weights_never_moving(observables: "xr.Dataset") -> object:
    whole = observables.isel({GROUP: 0})
    return whole["n_weights"].item() - whole["n_moving"].item()


def _of_all(name: str) -> "Callable[[xr.Dataset], object]":
    return lambda observables: observables[name].isel({GROUP: 0}).item()


def _end(name: str, place: int) -> "Callable[[xr.Dataset], object]":
    return lambda observables: observables[name].isel({GROUP: 0, STEP: place}).item()


def _middle(name: str) -> "Callable[[xr.Dataset], object]":
    return lambda observables: middle(observables[name].isel({GROUP: 0}))


def _along_river(observables: "xr.Dataset", name: str) -> object:
    """At the chosen length of windows; `None` where there are no averages."""
    if not is_measured(observables):
        return None
    whole = observables.isel({GROUP: 0})
    return whole[name].values[chosen(whole)]


def _over_walk(observables: "xr.Dataset", name: str) -> object:
    if not is_measured(observables):
        return None
    whole = observables.isel({GROUP: 0})
    place = chosen(whole)
    return whole[name].values[place] / walk_of(whole, name)[place]


SCALARS: "Mapping[str, tuple[str, Callable[[xr.Dataset], object]]]" = {
    "diffusion_exponent": (
        "slope of log mean squared displacement against log lag; null below 8 checkpoints",
        _of_all("diffusion_exponent"),
    ),
    "path_length": ("sum of the norms of all increments, weight units", _of_all("path_length")),
    "displacement": (
        "distance between first and last checkpoint, weight units",
        _end("displacement", -1),
    ),
    "increment_rms": ("root mean square increment of a weight", _of_all("increment_rms")),
    "zero_increment_fraction": (
        "share of weight increments that are exactly zero",
        _of_all("zero_increment_fraction"),
    ),
    "rounding_floor": (
        "root mean square rounding error of the stored dtype, weight units",
        _of_all("rounding_floor"),
    ),
    "norm_first": ("length of the weights at the first checkpoint, weight units", _end("norm", 0)),
    "norm_last": ("the same at the last checkpoint", _end("norm", -1)),
    "norm_balance": (
        "1 where the norm is kept, 0 where it grows as that of a random walk",
        _of_all("norm_balance"),
    ),
    "relative_increment": (
        "length of an increment over that of the weights, median along the run",
        _middle("relative_increment"),
    ),
    "rotation_angle": (
        "angle between the weights of neighbouring checkpoints, radians, median along the run",
        _middle("rotation_angle"),
    ),
    "rotation_angle_equilibrium": (
        "the same of scale-invariant weights at the equilibrium of weight decay, √(2ηλ) over one "
        "step; null where learning rate or weight decay are not known",
        lambda observables: middle(observables[EQUILIBRIUM_ANGLE]),
    ),
    "cosine_first_last": (
        "cosine between the weights of the first and the last checkpoint",
        _end("cosine_to_first", -1),
    ),
    "river_window": (
        "checkpoints per average, of those swept the length at which the share along the river "
        "differs most from a random walk's; null below 16 checkpoints",
        lambda observables: _along_river(observables, WINDOW_LENGTH),
    ),
    "river_share": (
        "share of the variance of these averages along their first principal component",
        lambda observables: _along_river(observables, "river_share"),
    ),
    "river_share_walk": (
        "the same of a random walk in many directions",
        lambda observables: _along_river(observables, "river_share_brownian"),
    ),
    "river_cosine": (
        "mean cosine between successive steps from average to average",
        lambda observables: _along_river(observables, "river_cosine"),
    ),
    "river_cosine_walk": (
        "the same of a random walk in many directions",
        lambda observables: _along_river(observables, "river_cosine_brownian"),
    ),
    "hill_energy_ratio": (
        "mean squared distance of checkpoints from their averages, over a random walk's",
        lambda observables: _over_walk(observables, "hill_energy"),
    ),
    "river_speed_ratio": (
        "distance from average to average, over a random walk's",
        lambda observables: _over_walk(observables, "river_speed"),
    ),
    "phase_area": (
        "signed area swept in the plane of position and increment along the direction of largest "
        "increments, per interval, over their variance: −1 for a random walk, −2 where velocities "
        "persist, 0 where steps turn back; null below 16 checkpoints and where spacing is uneven",
        lambda observables: observables["phase_area"].values[0],
    ),
    "phase_area_p": (
        "its p, two-sided against permuted increments, among six directions (maxT)",
        lambda observables: observables["phase_area_p"].values[0],
    ),
    "weights_never_moving": ("weights equal at every checkpoint", _weights_never_moving),
}
"""Scalar observables of all weights together: key, meaning, and where the number is found.

Besides these there is ``explained_variance_1``, ``_2``, ...: the share of each component.
"""


def _scalars(observables: "xr.Dataset") -> dict[str, object]:
    found: dict[str, object] = {}
    for name, (_, value) in SCALARS.items():
        try:
            found[name] = plain(value(observables))
        except (KeyError, ValueError):  # an observable that this result does not hold
            found[name] = None
    if "explained_variance" in observables:
        shares = observables["explained_variance"].isel({GROUP: 0})
        for component, share in zip(shares[COMPONENT].values, shares.values, strict=True):
            found[f"explained_variance_{int(component)}"] = plain(share)
    return found
