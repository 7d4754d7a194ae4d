"""Everything that was found of the theory, as one labelled Dataset."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from trajscope.kernels.gram import Floats
from trajscope.measure.directions import PROJECTION
from trajscope.optimizer import Optimizer
from trajscope.schema import DIRECTION, STEP
from trajscope.theory.curvature import Curvature
from trajscope.theory.entropy import Entropy
from trajscope.theory.forward import Forward, Noise, Ratios
from trajscope.theory.law import stability_limit
from trajscope.theory.potential import Estimate, Potential
from trajscope.theory.scaling import Scaling
from trajscope.theory.window import Window

Variables = dict[str, Any]
DIRECTION_OTHER, HALF = "direction_other", "half"
PLACE, BAND, HESSIAN_STEP = "place", "band", "hessian_step"
SAID = {
    "": "",
    "_low": ": lower end of the 95% interval",
    "_high": ": upper end of the 95% interval",
    "_predicted": ": predicted",
}
_PAIRS = (DIRECTION, DIRECTION_OTHER)
_SETTINGS = (
    "learning_rate", "batch_size", "momentum", "nesterov", "weight_decay", "with_replacement",
)  # fmt: skip


def stability_variables(found: Curvature, optimizer: Optimizer) -> Variables:
    """How close to the edge of stability training is, in units of 1/eta."""
    eta, mu = optimizer.eta, optimizer.mu
    return {
        name: ((), value, {"units": "1", "long_name": words})
        for name, value, words in (
            ("sharpness", eta * float(found.curvatures[0]), "eta times the top eigenvalue of H"),
            ("stability_limit", stability_limit(optimizer), "its limit for a quadratic loss"),
            ("batch_sharpness", eta * found.batch_sharpness,
             "eta times the curvature of batches along their own gradients"),
            ("batch_limit_low", 2 * (1 - mu), "2 (1 - mu): the edge for small batches"),
            ("batch_limit_high", 2 * (1 + mu), "2 (1 + mu): the edge for large batches"),
        )
    }  # fmt: skip


def curvature_variables(found: Curvature) -> Variables:
    """H and D along the leading eigenvectors of H."""
    return {
        "hessian_eigenvalue": (DIRECTION, found.curvatures, {
            "units": "loss weight^-2",
            "long_name": "v' H v of leading eigenvectors of H, from other batches than v",
        }),
        "hessian_error": (DIRECTION, found.errors, {
            "units": "loss weight^-2", "long_name": "standard error of the same, over batches",
        }),
        "hessian_ritz": (DIRECTION, found.ritz, {
            "units": "loss weight^-2", "long_name": "leading eigenvalues of H from its own batches",
        }),
        "hessian_residual": (DIRECTION, found.residuals, {
            "units": "loss weight^-2", "long_name": "|H v - theta v|",
        }),
        "gradient_covariance_half": ((HALF, *_PAIRS), found.noise.halves, {
            "units": "loss^2 weight^-2",
            "long_name": "D along the eigenvectors, from two independent halves of the batches",
        }),
        "gradient_variance": ((HESSIAN_STEP, DIRECTION), found.noise.by_place, {
            "units": "loss^2 weight^-2",
            "long_name": "diagonal of D along the eigenvectors at every checkpoint of H",
        }),
    }  # fmt: skip


def curvature_attributes(found: Curvature) -> dict[str, Any]:
    """What else is known of H and D."""
    return {
        "mode": found.mode,
        "modes_differ": found.modes_differ,
        "hessian_steps": found.steps,
        "hessian_lowest": found.lowest,
        "hessian_products": found.n_products,
        "batch_sharpness": found.batch_sharpness,
    }


def curvature_of(stored: xr.Dataset) -> Curvature | None:
    """H and D of a finished result, without the vectors; `None` where it does not hold them."""
    if "gradient_variance" not in stored:
        return None
    ritz, residuals, values, errors, halves, by_place = (
        stored[name].values for name in (
            "hessian_ritz", "hessian_residual", "hessian_eigenvalue", "hessian_error",
            "gradient_covariance_half", "gradient_variance",
        )
    )  # fmt: skip
    attributes = stored.attrs
    return Curvature(
        np.empty((len(values), 0)), ritz, residuals, values, errors,
        attributes["hessian_lowest"], Noise(halves, by_place), attributes["hessian_products"],
        attributes["batch_sharpness"], attributes["hessian_steps"], attributes["mode"],
        attributes["modes_differ"],
    )  # fmt: skip


def settings_attributes(window: Window) -> dict[str, Any]:
    """How the run was trained, as attributes."""
    told = {name: getattr(window.optimizer, name) for name in _SETTINGS}
    return told | {
        "optimizer_words": window.words, "updates": window.updates, "n_samples": window.n_samples,
    }  # fmt: skip


def settings_of(stored: xr.Dataset, told: Optimizer) -> Optimizer:
    """What was said of the optimizer now, and what was known of it when a result was made."""
    known: dict[str, Any] = {name: stored.attrs.get(name) for name in _SETTINGS}
    given = {name: getattr(told, name) for name in _SETTINGS if getattr(told, name) is not None}
    if told.momentum is None and not told.nesterov:
        given.pop("nesterov")
    return replace(told, **(known | given))


def projection_variables(projection: xr.DataArray) -> Variables:
    """The trajectory along the eigenvectors."""
    return {PROJECTION: ((STEP, DIRECTION), projection.values, projection.attrs)}


def forward_variables(found: Forward, chosen: NDArray[np.intp], n_directions: int) -> Variables:
    """Predicted and measured covariances by direction, currents pooled.

    Parameters
    ----------
    chosen :
        Positions of the directions that were compared.
    """

    def spread(values: Floats) -> Floats:
        whole = np.full(n_directions, np.nan)
        whole[chosen] = values
        return whole

    law, measured = found.law, found.measured
    variables: Variables = {
        "correlation_time_predicted": (DIRECTION, spread(law.correlation_times), {
            "units": "checkpoints", "long_name": "predicted correlation time",
        }),
        **_pair(
            "variance", "stationary variance", spread,
            measured.variances, np.diagonal(law.covariance), found.variance,
        ),
        **_pair(
            "lag_covariance", "covariance over one checkpoint", spread,
            measured.lagged_variances, np.diagonal(law.lagged), found.lagged,
        ),
        **_pair(
            "spread", "half the mean squared displacement over one checkpoint", spread,
            measured.spread, np.diagonal(law.covariance - law.lagged), found.spread,
        ),
        **_number("volume_ratio", found.volume, "geometric mean of the ratios of variances"),
        **_number("budget_ratio", found.budget,
                  "summed squared displacements over one checkpoint, measured over predicted"),
    }  # fmt: skip
    for name, value, words in (
        ("current_slope", found.slope, "slope of measured on predicted currents: 0 none, 1 theory"),
        ("current_slope_low", found.slope_low, "the same: lower end of the 95% interval"),
        ("current_slope_high", found.slope_high, "the same: upper end of the 95% interval"),
        ("current_slope_null", found.slope_null, "its standard deviation without currents"),
        ("p_current", found.p_current, "p-value of no current, two-sided"),
    ):
        variables[name] = ((), value, {"units": "1", "long_name": words})
    return variables


def scaling_variables(found: Scaling, chosen: NDArray[np.intp], n_directions: int) -> Variables:
    """How the walk along every direction depends on its curvature."""

    def spread(values: Floats) -> Floats:
        whole = np.full(n_directions, np.nan)
        whole[chosen] = values
        return whole

    variables: Variables = {}
    for name, words, ratios, predicted in (
        ("exponent", "log2 of the mean squared displacement over 2 and 1 checkpoints",
         found.exponent, found.exponent_predicted),
        ("confinement", "displacement over a quarter of the window, over a random walk's",
         found.confinement, found.confinement_predicted),
    ):  # fmt: skip
        for end, values in (("", ratios.value), ("_low", ratios.low), ("_high", ratios.high),
                            ("_predicted", predicted)):  # fmt: skip
            said = {"units": "1", "long_name": f"{words}{SAID[end]}"}
            variables[f"{name}{end}"] = (DIRECTION, spread(values), said)
    return variables | _estimate(
        "variance_slope", found.variance_slope, "slope of log variance on log eigenvalue of H"
    )


def potential_variables(found: Potential) -> Variables:
    """Tests of the potential, its angle to the loss, and how much of the force turns."""
    tests = (
        ("p_phi_is_f", found.p_phi_is_f, "p-value of isotropic noise, under which Phi is f"),
        ("p_commuting", found.p_commuting, "p-value of [H, S] = 0: no current"),
    )
    return {
        **{name: ((), p, {"units": "1", "long_name": words}) for name, p, words in tests},
        **_estimate("angle", found.angle, "angle between grad Phi and grad f", "degree"),
        **_estimate("rotation", found.rotation, "|antisym(H S)| / |sym(H S)|"),
    }


def entropy_variables(found: Entropy, chosen: NDArray[np.intp], *, rotates: bool) -> Variables:
    """Entropy production and rotation of a few directions, as far as the window allows."""
    variables: Variables = {
        "entropy_direction": (PLACE, 1 + chosen[found.chosen], {
            "units": "1", "long_name": "directions with the largest predicted currents",
        }),
        "p_reversible": ((), found.p_reversible, {
            "units": "1", "long_name": "p-value of a reversible path along these directions",
        }),
    }  # fmt: skip
    if rotates:
        variables |= _estimate(
            "angular_velocity", found.rotation, "largest angle of the transition",
            "radian per checkpoint",
        )  # fmt: skip
    if rotates and np.isfinite(found.bound):
        variables["entropy_bound"] = ((), found.bound, {
            "units": "per checkpoint",
            "long_name": "entropy production at least, by the uncertainty of the predicted current",
        })  # fmt: skip
    if found.production is not None:
        variables |= _estimate(
            "entropy_production", found.production, "entropy production", "per checkpoint"
        )
        variables[BAND] = (BAND, found.frequencies, {"units": "cycles per checkpoint"})
        variables["entropy_by_frequency"] = (BAND, found.by_frequency, {
            "units": "per checkpoint", "long_name": "entropy production by frequency",
        })  # fmt: skip
    return variables


def _estimate(name: str, found: Estimate, words: str, units: str = "1") -> Variables:
    ends = (("", found.value), ("_low", found.low), ("_high", found.high),
            ("_predicted", found.predicted))  # fmt: skip
    return {
        f"{name}{end}": ((), value, {"units": units, "long_name": f"{words}{SAID[end]}"})
        for end, value in ends
    }


def as_dataset(
    variables: Mapping[str, Any], steps: Floats | None, attributes: Mapping[str, Any]
) -> xr.Dataset:
    """The variables with their coordinates."""
    k = next((len(v[1]) for v in variables.values() if v[0] == DIRECTION), 0)
    coordinates: dict[str, Any] = {}
    if k:
        numbers = np.arange(1, k + 1)
        coordinates |= {DIRECTION: numbers, DIRECTION_OTHER: numbers}
    if steps is not None:
        coordinates[STEP] = steps
    return xr.Dataset(dict(variables), coordinates, dict(attributes))


def _pair(
    name: str, words: str, spread: Any, measured: Floats, predicted: Floats, ratios: Ratios
) -> Variables:
    units = {"units": "weight^2"}
    found: Variables = {
        name: (DIRECTION, spread(measured), {**units, "long_name": f"measured {words}"}),
        f"{name}_predicted": (
            DIRECTION, spread(predicted), {**units, "long_name": f"predicted {words}"},
        ),
    }  # fmt: skip
    for end, values in (("", ratios.value), ("_low", ratios.low), ("_high", ratios.high)):
        found[f"{name}_ratio{end}"] = (
            DIRECTION, spread(values),
            {"units": "1", "long_name": f"{words}, measured over predicted{SAID[end]}"},
        )  # fmt: skip
    return found


def _number(name: str, ratios: Ratios, words: str) -> Variables:
    ends = (("", ratios.value), ("_low", ratios.low), ("_high", ratios.high))
    return {
        f"{name}{end}": ((), float(value), {"units": "1", "long_name": words})
        for end, value in ends
    }
