"""Whether the theory holds, in words: a sentence for every part of it that was tested."""

import math

import numpy as np
import xarray as xr

from trajscope.errors import printable
from trajscope.report.content.numbers import number

STABILITY = (
    "sharpness", "stability_limit", "batch_sharpness", "batch_limit_low", "batch_limit_high",
)  # fmt: skip
"""Numbers of the edge of stability, in the order of their sentence."""
_LEVEL = 0.01


def dynamics_sentences(found: xr.Dataset) -> list[str]:
    """Whether the theory holds, in words, the most important first."""
    makers = (_law, _budget, _currents, _potential, _entropy, _curvature, _stability, _setting)
    return [sentence for make in makers for sentence in make(found)]


def scalar(found: xr.Dataset, name: str) -> float:
    """A number of the result; NaN where it is missing."""
    return float(found[name]) if name in found else math.nan


def _law(found: xr.Dataset) -> list[str]:
    if not _is_there(found, "volume_ratio"):
        return ["The stationary law was not tested: see what was refused."]
    ratios, low, high = (found[f"variance_ratio{end}"].values for end in ("", "_low", "_high"))
    there = np.isfinite(ratios)
    n, held = int(there.sum()), int(((low <= 1) & (high >= 1) & there).sum())
    return [
        f"Along {n} leading eigenvectors of the Hessian, the variance of the weights is "
        f"{_interval(found, 'volume_ratio')} times the predicted one (geometric mean): "
        f"{_against(found, 'volume_ratio')}. Of the {n} intervals of single directions, {held} "
        "hold 1."
    ]


def _budget(found: xr.Dataset) -> list[str]:
    if not _is_there(found, "budget_ratio"):
        return []
    return [
        "Noise budget: the squared displacements between neighbouring checkpoints along them add "
        f"up to {_interval(found, 'budget_ratio')} times the predicted ones: "
        f"{_against(found, 'budget_ratio')}."
    ]


def _currents(found: xr.Dataset) -> list[str]:
    if not _is_there(found, "current_slope"):
        return []
    p = scalar(found, "p_current")
    low, high = (scalar(found, f"current_slope{end}") for end in ("_low", "_high"))
    told = (
        "currents flow as predicted" if low <= 1 <= high and low > 0
        else "this window cannot tell" if low <= 0 and high >= 1
        else "no current is seen" if low <= 0 <= high
        else "currents flow, and not as predicted"
    )  # fmt: skip
    return [
        f"Currents (0: none, 1: the theory's): slope {_interval(found, 'current_slope')}, p = "
        f"{number(p, 2)} of no current: {told}."
    ]


def _potential(found: xr.Dataset) -> list[str]:
    if not _is_there(found, "p_phi_is_f"):
        return []
    p = scalar(found, "p_phi_is_f")
    answer = "no" if p <= _LEVEL else "not rejected"
    return [
        f"Is the potential of the steady state the loss (Phi = f)? {answer.capitalize()}: p = "
        f"{number(p, 2)} of isotropic noise. Angle between grad Phi and grad f: "
        f"{_interval(found, 'angle')} degrees (predicted: {_predicted(found, 'angle')}); rotating "
        f"part of the force, |antisym(HS)| / |sym(HS)|: {_interval(found, 'rotation')} (predicted: "
        f"{_predicted(found, 'rotation')}), p = {number(scalar(found, 'p_commuting'), 2)} of none."
    ]


def _entropy(found: xr.Dataset) -> list[str]:
    if not _is_there(found, "p_reversible"):
        return []
    places = ", ".join(str(int(each)) for each in found["entropy_direction"].values)
    which = f"directions {places}"
    if "principal_variance" in found:
        which = f"principal directions {places} of the first half, in the second"
    return [f"{_flow(found, which)}.", *_stiffness(found, which)]


def _flow(found: xr.Dataset, which: str) -> str:
    told = f"Along {which}: p = {number(scalar(found, 'p_reversible'), 2)} of a path "
    told += "that looks the same backwards"
    for name, words in (
        ("entropy_production", "entropy production per checkpoint"),
        ("angular_velocity", "rotation in radians per checkpoint"),
    ):
        if _is_there(found, name):
            told += f"; {words} {_interval(found, name)}"
            if name == "angular_velocity" and scalar(found, f"{name}_high") == 0:
                told += ": the eigenvalues of its propagator are real"
            if _is_there(found, f"{name}_predicted"):
                told += f" (predicted: {_predicted(found, name)})"
    if _is_there(found, "entropy_bound"):
        bound = number(scalar(found, "entropy_bound"), 2)
        told += f"; by the uncertainty of the current at least {bound}"
    return told


def _stiffness(found: xr.Dataset, which: str) -> list[str]:
    """Curvatures of the potential, where the temperature alone makes them of the covariance."""
    name = "potential_curvature"
    if name not in found:
        return []
    ends = (found[f"{name}{end}"].values for end in ("", "_low", "_high"))
    told = ", ".join(
        f"{number(float(value))} ({number(float(low))} to {number(float(high))})"
        for value, low, high in zip(*ends, strict=True)
    )
    return [
        f"Curvature of the potential Phi along {which}, U = S^-1 / beta from the learning rate and "
        f"the batch size, with 95% CI: {told}."
    ]


def _curvature(found: xr.Dataset) -> list[str]:
    if not _is_there(found, "variance_slope"):
        return []
    return [
        "Diffusion by curvature: along eigenvectors of H the variance goes as the eigenvalue to "
        f"the power {_interval(found, 'variance_slope')} (predicted: "
        f"{_predicted(found, 'variance_slope')}; isotropic noise: about −1, noise like H: about 0)."
    ]


def _stability(found: xr.Dataset) -> list[str]:
    if not _is_there(found, "sharpness"):
        return []
    top, limit, batch, low, high = (number(scalar(found, name)) for name in STABILITY)
    edges = low if low == high else f"{low} for small and {high} for large batches"
    return [
        f"Stability: eta times the largest eigenvalue of H is {top} (limit {limit}), eta times the "
        f"sharpness of batches {batch} (edge of stability: {edges})."
    ]


def _predicted(found: xr.Dataset, name: str) -> str:
    return number(scalar(found, f"{name}_predicted"))


def _setting(found: xr.Dataset) -> list[str]:
    told = found.attrs
    if "hessian_steps" not in told or told.get("learning_rate") is None:
        return []
    drawn = {"True": "with replacement", "False": "in shuffled epochs"}.get(
        str(told.get("with_replacement")), "in an unknown way"
    )
    ball = "Nesterov momentum" if told.get("nesterov") else "momentum"
    words = printable(told.get("optimizer_words", ""), limit=300)
    return [
        f"Prediction from H and D at {len(told['hessian_steps'])} checkpoints, network in "
        f"{told.get('mode')} mode, with learning rate {number(told['learning_rate'])}, batches of "
        f"{told['batch_size']} sampled {drawn}, {ball} {number(told['momentum'])}, weight decay "
        f"{number(told.get('weight_decay') or 0.0)}.{f' {words}' if words else ''}"
    ]


def _against(found: xr.Dataset, name: str) -> str:
    low, high = (scalar(found, f"{name}{end}") for end in ("_low", "_high"))
    return (
        "as predicted"
        if low <= 1 <= high
        else "less than predicted"
        if high < 1
        else ("more than predicted")
    )


def _interval(found: xr.Dataset, name: str) -> str:
    value, low, high = (number(scalar(found, f"{name}{e}")) for e in ("", "_low", "_high"))
    return f"{value} (95% CI {low} to {high})"


def _is_there(found: xr.Dataset, name: str) -> bool:
    return math.isfinite(scalar(found, name))
