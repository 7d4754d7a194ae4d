"""Everything that was found, as one labelled Dataset."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from trajscope.gradient_noise.overlap import spectrum_distance, subspace_overlap
from trajscope.gradient_noise.spectrum.job import Covariance
from trajscope.gradient_noise.spectrum.noise_scale import interval
from trajscope.gradient_noise.spectrum.numbers import DESCRIPTIONS, NUMBERS
from trajscope.gradient_noise.spectrum.sketch import SKETCH_ERRORS
from trajscope.gradient_noise.spectrum.statistics import EPS32, EPS64, Spectrum
from trajscope.gradient_noise.trend import trend
from trajscope.kernels.gram import Floats
from trajscope.schema import ALL_WEIGHTS, COMPONENT, GROUP, STEP

if TYPE_CHECKING:
    from torch import Tensor

STEP_OTHER = "step_other"
CHECKPOINT = "checkpoint"
_EIGENVALUE = {"units": "loss^2 weight^-2"}

Variables = dict[str, Any]


@dataclass(frozen=True)
class Curve:
    """Loss and gradient norm at many checkpoints.

    Attributes
    ----------
    steps, losses, gradient_norms : (checkpoint,)
    """

    steps: Floats
    losses: Floats
    gradient_norms: Floats


def spectra_variables(found: Sequence[Covariance]) -> Variables:
    """Eigenvalues and every number of `NUMBERS`, of all weights and by group.

    Parameters
    ----------
    found :
        One for each step.
    """
    groups = list(found[0].spectra)
    sizes = np.array([found[0].spectra[group].n_weights for group in groups])
    widest = len(found[0].spectra[ALL_WEIGHTS].eigenvalues)
    table = [[each.spectra[group] for each in found] for group in groups]
    values = np.array([[_padded(s.eigenvalues, widest) for s in row] for row in table])
    both = {
        "eigenvalue": (
            (COMPONENT,),
            values,
            {
                **_EIGENVALUE,
                "long_name": (
                    "eigenvalues of D, descending, without those that are zero by construction"
                ),
            },
        ),
        **{
            number.name: (
                (),
                np.array([[number.value(s) for s in row] for row in table]),
                number.description.attributes,
            )
            for number in NUMBERS
        },
    }
    variables: Variables = {}
    for name, (dims, array, attributes) in both.items():
        variables[name] = ((STEP, *dims), array[0], attributes)
        variables[f"group_{name}"] = ((GROUP, STEP, *dims), array, attributes)
    for name, epsilon in (("rank_eps32", EPS32), ("rank_eps64", EPS64)):
        attributes = {"units": "1", "long_name": f"threshold of {name} as a share of lambda_max"}
        variables[f"{name}_threshold"] = ((), float(sizes[0] * epsilon), attributes)
        variables[f"group_{name}_threshold"] = (GROUP, sizes * epsilon, attributes)
    variables["group_size"] = (GROUP, sizes, {"units": "1", "long_name": "number of weights"})
    losses = np.array([each.losses.mean() for each in found])
    variables["loss"] = (STEP, losses)
    return variables


def noise_scale_variables(found: Sequence[Covariance], n_rows: int, scale: float) -> Variables:
    """Ends of the interval of the gradient noise scale of all weights.

    Parameters
    ----------
    n_rows, scale :
        As `noise_scale.interval` takes them.
    """
    ends = [interval(each.spectra[ALL_WEIGHTS], each.scatter, n_rows, scale) for each in found]
    return {
        f"gradient_noise_scale_{name}": (
            STEP,
            np.array(values),
            {"units": "1", "long_name": f"{word} end of its interval at 95%, over samples"},
        )
        for (name, word), values in zip(
            (("low", "lower"), ("high", "upper")), zip(*ends, strict=True), strict=True
        )
    }


def comparison_variables(found: Sequence[Covariance], directions: "Sequence[Tensor]") -> Variables:
    """How alike D is at each pair of steps: shape of the spectrum, leading eigenspace."""
    spectra = [each.spectra[ALL_WEIGHTS].eigenvalues for each in found]
    pairs = (STEP, STEP_OTHER)
    distances = [[spectrum_distance(first, second) for second in spectra] for first in spectra]
    variables: Variables = {
        "spectrum_distance": (
            pairs,
            np.array(distances),
            {"units": "1", "long_name": "distance between spectra, as a share of the trace"},
        )
    }
    if directions:
        overlaps = [
            [subspace_overlap(first, other) for other in directions] for first in directions
        ]
        k = max(len(each) for each in directions)
        variables["eigenspace_overlap"] = (
            pairs,
            np.array(overlaps),
            {
                "units": "1",
                "long_name": f"mean squared cosine between the {k} leading eigenvectors",
                "n_directions": k,
            },
        )
    return variables


def sketch_variables(variables: Variables, found: Sequence[Covariance]) -> Variables:
    """What is different where D is that of a sketch: its errors, and no rank.

    Parameters
    ----------
    variables :
        As `spectra_variables` makes them. A sketch of K numbers has at most the rank K.
    """
    changed: Variables = {}
    for name in ("rank_eps32", "rank_eps64", "score"):
        for key in (name, f"group_{name}"):
            dims, values, attributes = variables[key]
            changed[key] = (dims, values * np.nan, attributes)
    for key in ("eigenvalue", "group_eigenvalue"):
        dims, values, attributes = variables[key]
        changed[key] = (dims, values, {**attributes, "long_name": "eigenvalues of a sketch of D"})
    for position, (name, words) in enumerate(SKETCH_ERRORS.items()):
        errors = np.array([each.sketch_errors[position] for each in found])
        changed[name] = (STEP, errors, {"units": "1", "long_name": words})
    return changed


def curve_variables(curve: Curve) -> Variables:
    """Loss and gradient norm over the checkpoints, and the trend of each."""
    variables: Variables = {}
    for name, series, units, words in (
        ("loss", curve.losses, "loss", "mean loss of the samples"),
        ("gradient_norm", curve.gradient_norms, "loss weight^-1", "|gbar| / sqrt(d)"),
    ):
        attributes = {"units": units, "long_name": f"{words}, at many checkpoints"}
        variables[f"checkpoint_{name}"] = (CHECKPOINT, series, attributes)
        for field, value in asdict(trend(curve.steps, series)).items():
            told = {"long_name": f"{words}: {field}", "units": _trend_units(field, units)}
            variables[f"{name}_trend_{field}"] = ((), value, told)
    return variables


def _trend_units(field: str, units: str) -> str:
    return f"{units} step^-1" if field.startswith("slope") else "1"


def temperature_variables(
    mean: Floats, learning_rate: float, batch_size: int, n_samples: int
) -> Variables:
    """The temperature of SGD, and its noise.

    ``1/beta = eta/(2b)`` with replacement, times ``1 - b/N`` without; ``(eta/b) mean(lambda)``
    (arXiv:1710.11029, which takes it to be the same for networks that train well).

    Parameters
    ----------
    mean : (step,)
        Mean eigenvalue.
    """
    temperature = learning_rate / (2 * batch_size)
    without = temperature * (1 - batch_size / n_samples)
    units = {"units": "weight^2 loss^-1"}
    return {
        "temperature": (
            (),
            temperature,
            {**units, "long_name": "1/beta = eta/(2b), with replacement"},
        ),
        "temperature_without_replacement": (
            (),
            without,
            {**units, "long_name": "1/beta = eta/(2b) (1 - b/N), without replacement"},
        ),
        "noise_scale": (STEP, learning_rate / batch_size * mean),
    }


def as_dataset(
    variables: Mapping[str, Any],
    steps: Sequence[float],
    spectra: Mapping[str, Spectrum],
    attributes: Mapping[str, Any],
) -> xr.Dataset:
    """The variables with their coordinates.

    Parameters
    ----------
    steps : (step,)
    spectra :
        By group, at one step.
    """
    coordinates: dict[str, Any] = {STEP: np.asarray(steps), GROUP: np.array(list(spectra))}
    if "spectrum_distance" in variables:
        coordinates[STEP_OTHER] = np.asarray(steps)
    return described(xr.Dataset(dict(variables), coordinates, dict(attributes)))


def described(dataset: xr.Dataset) -> xr.Dataset:
    """With the words of every number of all weights, and with their order as ``numbers``."""
    names = [name for name in DESCRIPTIONS if name in dataset]
    changed = {}
    for name in names:
        told = DESCRIPTIONS[name]
        compare_with = told.compared(dataset.attrs["n_weights"])
        changed[name] = dataset[name].assign_attrs(told.attributes, compare_with=compare_with)
    return dataset.assign(changed).assign_attrs(numbers=names)


def _padded(values: Floats, length: int) -> Floats:
    padded: Floats = np.pad(values, (0, length - len(values)), constant_values=np.nan)
    return padded
