"""The trajectory in brief and one number per scalar observable, as JSON for other programs."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trajscope.report.content.cases import differences
from trajscope.report.content.dynamics import dynamics_of, dynamics_summary
from trajscope.report.content.gradient_noise_summary import diffusion_summary
from trajscope.report.content.laws import laws_summary
from trajscope.report.content.numbers import plain
from trajscope.report.content.river import river_p_of_groups
from trajscope.report.content.scalars import scalars
from trajscope.report.content.spectra import spectra_summary
from trajscope.schema import (
    ALL_WEIGHTS,
    AUDIT,
    EPOCH_STEPS,
    GROUP,
    LEARNING_RATE,
    STEP,
    TENSOR,
    WEIGHT_DECAY,
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
        "observables": scalars(results["observables"].to_dataset()),
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


def _verdict(told: Mapping[Any, Any]) -> dict[str, object] | None:
    if not told.get("code"):
        return None
    wanted = ("code", "sentence", "alpha", "evidence", "noise", "course", "rest")
    return {name: plain(told.get(name)) for name in wanted}


def _layers(results: "xr.DataTree") -> dict[str, object]:
    """Of every layer: verdict, p-values corrected for their number, share of a course, river."""
    decided, tests = results["verdict"].to_dataset(), results["tests"].to_dataset()
    if "code" not in decided:
        return {}
    course = results["verdict"].attrs.get("course")
    shares = course.get("layers", {}) if isinstance(course, Mapping) else {}
    rivers = river_p_of_groups(tests)
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
            "river": {name: plain(p) for name, p in rivers[place].items()} if rivers else {},
        }
    return found
