"""One number of each scalar observable of all weights together."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from trajscope.report.content.norms import middle
from trajscope.report.content.numbers import plain
from trajscope.report.content.river import chosen, is_measured, walk_of
from trajscope.schema import COMPONENT, EQUILIBRIUM_ANGLE, GROUP, STEP, WINDOW_LENGTH

if TYPE_CHECKING:
    import xarray as xr


def _weights_never_moving(observables: "xr.Dataset") -> object:
    whole = observables.isel({GROUP: 0})
    return whole["n_weights"].item() - whole["n_moving"].item()


def _of_all(name: str) -> "Callable[[xr.Dataset], object]":
    return lambda observables: observables[name].isel({GROUP: 0}).item()


def _end(name: str, place: int) -> "Callable[[xr.Dataset], object]":
    return lambda observables: observables[name].isel({GROUP: 0, STEP: place}).item()


def _middle(name: str) -> "Callable[[xr.Dataset], object]":
    return lambda observables: middle(observables[name].isel({GROUP: 0}).values)


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
        lambda observables: middle(observables[EQUILIBRIUM_ANGLE].values),
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


def scalars(observables: "xr.Dataset") -> dict[str, object]:
    """The numbers of `SCALARS`, None for those a result lacks, and the share of each component."""
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
