"""Units and long names of arrays that no catalogue describes: coordinates, texts, plain sums."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import xarray as xr

STEPS: Final = "steps of the run"
"""Stands for the unit of the steps: "steps", "epochs", or "1" where checkpoints are numbered."""


@dataclass(frozen=True)
class Label:
    """What is written at an axis.

    Attributes
    ----------
    name :
        Of the array.
    long_name :
        What it is, in the field's words.
    units :
        As the CF conventions write them; "weight" stands for the unit of the weights, `STEPS` for
        that of the steps. Text has none.
    """

    name: str
    long_name: str
    units: str = ""


_WEIGHT2: Final = "weight^2"
LABELS: Final = (
    Label("step", "step of the checkpoint", STEPS),
    Label("step_other", "step of the other checkpoint", STEPS),
    Label("checkpoint", "step of the checkpoint", STEPS),
    Label("interval", "step at the start of the interval", STEPS),
    Label("interval_other", "step at the start of the other interval", STEPS),
    Label("turn", "step between two intervals", STEPS),
    Label("landmark", "step of the checkpoint", STEPS),
    Label("landmark_other", "step of the other checkpoint", STEPS),
    Label("meeting_step", "step at which both runs have a checkpoint", STEPS),
    Label("lag", "lag", STEPS),
    Label("scale", "time scale of displacements", STEPS),
    Label("frequency", "frequency", "cycles per step"),
    Label("window_length", "checkpoints per average", "checkpoints"),
    Label("component", "principal component", "1"),
    Label("rank", "rank of the singular value, from the largest", "1"),
    Label("path", "file or folder of the checkpoint"),
    Label("fingerprint", "time of the last change and digest of the checkpoint's files"),
    Label("tensor", "name of the tensor"),
    Label("group", "weights that are analyzed together"),
    Label("row_size", "number of weights of the tensor", "1"),
    Label("shape", "shape of the tensor"),
    Label("stored_dtype", "dtype of the tensor in the files"),
    Label("code", "verdict, as a code"),
    Label("sentence", "verdict, in words"),
    Label("still", "at which ends of the run the layer does not move"),
    Label("verdict", "verdict, as a code"),
    Label("river_number", "number of the averages over windows"),
    Label("n_weights", "number of weights", "1"),
    Label("n_moving", "number of weights that ever change", "1"),
    Label("n_zero_increments", "number of increments that are exactly zero", "1"),
    Label("n_amplitudes", "number of weights with a Fourier amplitude", "1"),
    Label("n_autocorrelations", "number of weights with an autocorrelation", "1"),
    Label("amplitude", "normalised Fourier amplitude, summed over weights", "1"),
    Label("amplitude_square", "its square, summed over weights", "1"),
    Label("autocorrelation", "autocorrelation, summed over weights", "1"),
    Label("deficit", "1 - autocorrelation, summed over weights, from the sample", "1"),
    Label("deficit_square", "its square, summed over weights, from the sample", "1"),
    Label("deficit_cube", "its third power, summed over weights, from the sample", "1"),
    Label("deficit_fourth", "its fourth power, summed over weights, from the sample", "1"),
    Label("n_sampled", "number of weights that the sample stands for", "1"),
    Label("n_sampled_square", "the same, each times the number that one weight stands for", "1"),
    Label("power", "squared Fourier amplitude of the increments, summed over weights", _WEIGHT2),
    Label("product_power", "power of the padded positions, summed over weights", _WEIGHT2),
    Label("padded_frequency", "frequency of the padded positions, by number", "1"),
    Label("rounding_variance", "variance of rounding, summed over weights", _WEIGHT2),
    Label("increment_gram", "inner product of two increments", _WEIGHT2),
    Label("first_products", "inner product of the first weights and an increment", _WEIGHT2),
    Label("last_products", "inner product with the weights of the last checkpoint", _WEIGHT2),
    Label("forward_products", "inner product with the increment that follows", _WEIGHT2),
    Label("landmark_gram", "inner product of two checkpoints", _WEIGHT2),
    Label("squared_positions", "squared norm of the weights", _WEIGHT2),
    Label("squared_norms", "squared norm of the weights about their mean", _WEIGHT2),
    Label("squared_increments", "squared norm of the increment", _WEIGHT2),
    Label("squared_displacements", "squared distance from the first checkpoint", _WEIGHT2),
    Label("neighbour_products", "inner product of successive increments", _WEIGHT2),
    Label("matrix", "name of the weight matrix"),
    Label("rows", "rows of the matrix", "1"),
    Label("columns", "columns of the matrix", "1"),
    Label("unfolded", "how the tensor becomes a matrix"),
    Label("is_whole", "whether all singular values were computed", "1"),
    Label("n_vectors", "leading directions whose subspaces are compared", "1"),
    Label("test", "statistical test"),
    Label("test_label", "its name in reports"),
    Label("null_hypothesis", "null hypothesis"),
    Label("run", "label of the run"),
    Label("pair", "labels of the two runs"),
    Label("first", "label of the first run"),
    Label("second", "label of the second run"),
    Label("start", "whether both runs start alike"),
    Label("quantity", "what two runs may differ in"),
    Label("quantity_label", "its name in reports"),
    Label("effect_is", "what the effect is"),
    Label("no_effect", "effect where the runs do not differ", "1"),
    Label("distance", "distance between the runs", "weight"),
    Label("distance_walk", "expected distance of random walks from the same starts", "weight"),
    Label("joint_component", "position along each joint principal component", "weight"),
    Label("joint_component_walk", "the same, expected of random walks", "weight"),
    Label("joint_explained_variance", "share of the variance along each joint component", "1"),
    Label("joint_explained_variance_walk", "the same, expected of random walks", "1"),
)
_LABEL: Final = {label.name: label for label in LABELS}
_UNITS: Final = {"step": "steps", "epoch": "epochs"}
"""Of steps; checkpoints that are only numbered have none."""


def labelled(dataset: "xr.Dataset", step_unit: str = "step") -> "xr.Dataset":
    """The Dataset with a unit and a long name on every array, where its maker gave none.

    Text has a long name alone: xarray would write an empty unit into the titles of plots.

    Parameters
    ----------
    step_unit :
        What a step counts, as ``trajectory.attrs["step_unit"]`` says it.

    Examples
    --------
    >>> import xarray as xr
    >>> labelled(xr.Dataset(coords={"lag": [0, 100]})).lag.attrs
    {'units': 'steps', 'long_name': 'lag'}
    """
    copy = dataset.copy()
    for name, array in copy.variables.items():
        is_text = array.dtype.kind in "OTU"
        own = _LABEL.get(str(name))
        if own is None and "long_name" not in array.attrs:
            continue
        told = {} if is_text else {"units": "1"}
        if own is not None and not is_text:
            told["units"] = _UNITS.get(step_unit, "1") if own.units == STEPS else own.units
        array.attrs = told | ({"long_name": own.long_name} if own else {}) | array.attrs
    return copy
