"""Names that cross boundaries: dimensions, coordinates, the parts of a result, and their checks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trajscope.errors import ResultsError, TrajectoryError, printable

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

STEP = "step"
"""Optimizer step (or epoch, or index: `STEP_UNITS`) of a checkpoint."""
WEIGHT = "weight"
"""One scalar weight; the tensors lie behind one another along it, `row_size(tensor)` long each."""
FINGERPRINT = "fingerprint"
"""Of a checkpoint: time of the last change of its files in nanoseconds, a hyphen, a digest."""
PATH = "path"
"""Of a checkpoint: its file or folder."""
LEARNING_RATE = "learning_rate"
"""Of a checkpoint: the rate from it on, NaN where it is not known."""
TENSOR = "tensor"
GROUP = "group"
"""A set of tensors that is measured together; `ALL_WEIGHTS` comes first."""
LAYER = "layer"
"""A group that does not hold all weights."""
INTERVAL = "interval"
"""From a checkpoint to the next; labelled by the step it starts at."""
INTERVAL_OTHER = "interval_other"
TURN = "turn"
"""Between two neighbouring intervals; labelled by the step of the checkpoint they share."""
LANDMARK = "landmark"
"""One of at most 64 checkpoints, evenly chosen, between which distances are kept."""
LANDMARK_OTHER = "landmark_other"
LAG = "lag"
FREQUENCY = "frequency"
COMPONENT = "component"
WINDOW_LENGTH = "window_length"
"""Checkpoints over which the weights are averaged."""
RIVER_NUMBER = "river_number"
"""One of the numbers of averages over windows."""
SCALE = "scale"
"""Length over which displacements are taken."""
TEST = "test"
TEST_LABEL = "test_label"
NULL_LABEL = "null_label"
"""Of a test: its null in a word or two, the same for tests that share one."""
IS_DOUBLED = "is_doubled"
"""Of a test: whether its p-value is doubled, because another test asks the same."""
IS_USED = "is_used"
"""Of a test and a group: whether what it says is of what it asks."""
IN_LAYER_TABLE = "in_layer_table"
"""Of a test: whether reports show its statistic of every layer."""
PLANE_STEP = "plane_step"
"""Checkpoint of the evenly spaced ones in which a circulation is looked for."""
AXIS = "axis"
PHASE_AXIS = "phase_axis"
"""One of the leading principal axes of the increments."""
DIRECTION = "direction"
"""One of several directions in weight space; counted from 1 where it is a coordinate."""
MATRIX = "matrix"
"""A weight matrix, by the name of its tensor."""
RANK = "rank"
"""Number of a singular value, from the largest on."""
SURROGATE = "surrogate"

RUN = "run"
"""One of the runs that are compared, by its label."""
PAIR = "pair"
"""Two of them, the first label before the second."""
QUANTITY = "quantity"
"""What two runs may differ in."""
MEETING = "meeting"
"""A step at which both runs of a pair have a checkpoint."""
VERDICT = "verdict"
POINT = "point"
"""A checkpoint of one of several runs in their joint components."""

AUDIT = "audit"
"""Attribute of a trajectory: what the audit found, ``{"kind", "steps", "tensors", "detail"}``."""
EPOCH = "epoch"
EPOCH_STEPS = "epoch_steps"
"""Attribute of a trajectory: steps of an epoch, where known."""
WEIGHT_DECAY = "weight_decay"
"""Attribute of a trajectory: ``{"value", "per_rate", "source"}``, where known; the weights decay by
the learning rate times ``per_rate`` a step."""
EQUILIBRIUM_ANGLE = "rotation_angle_equilibrium"
"""Observable of no group: angles between checkpoints at the equilibrium of weight decay."""
NO_VERDICT = "no_verdict"
"""Attribute of a trajectory: why the audit allows no verdict on any part of it."""

ALL_WEIGHTS = "all"
"""Name of the group that holds every weight."""

STEP_UNITS = ("step", "epoch", "index")

SPECTRA = "spectra"
"""Child of a result: singular values of weight matrices, where they were asked for."""

DYNAMICS = "dynamics"
"""Child of a result: what theory predicts and what was measured, where that was asked for."""

LOG = "log"
"""Child of a result: loss and learning rate as the trainer logged them, where a log was found."""

RESULT_PARTS = ("trajectory", "reductions", "observables", "tests", "diffusion", "verdict")
"""Children of a result, a DataTree, in the order of the report."""


@dataclass(frozen=True)
class Described:
    """What is known of a trajectory without its weights; it needs no xarray, which loads slowly.

    Attributes
    ----------
    coords :
        Its coordinates by name, each along one dimension.
    attrs :
        As those of the Dataset.
    counts :
        What else is counted at each step, by name: tokens, epochs, the stage.
    dtype :
        What the weights are read in, where nothing says what they are stored in.
    """

    coords: "Mapping[str, NDArray[Any]]"
    attrs: Mapping[str, Any]
    dtype: "np.dtype[Any] | None" = None
    counts: "Mapping[str, NDArray[Any]]" = field(default_factory=dict)


def described(trajectory: "xr.Dataset | Described") -> Described:
    """The same of a Dataset: a trajectory as it was opened, or the part of a result."""
    if isinstance(trajectory, Described):
        return trajectory
    coords = {
        str(name): each.values
        for name, each in trajectory.variables.items()
        if each.ndim == 1 and name != "weights"
    }
    dtype = trajectory["weights"].dtype if "weights" in trajectory else None
    attrs = {str(name): value for name, value in trajectory.attrs.items()}
    counts = {
        name: trajectory[name].values for name in counted_along(trajectory) if name != LEARNING_RATE
    }
    return Described(coords, attrs, dtype, counts)


def counted_along(trajectory: "xr.Dataset") -> list[str]:
    """Names of the coordinates that say what else is counted at each step: tokens, the stage."""
    own = (STEP, PATH, FINGERPRINT)
    return [
        str(name)
        for name, each in trajectory.coords.items()
        if each.dims == (STEP,) and name not in own
    ]


def check_weights(dims: tuple[object, ...], kind: str, n_steps: int) -> None:
    """Refuse an array that cannot be a trajectory.

    Raises
    ------
    TrajectoryError
        The dimensions are not (step, weight), the dtype is not a real number, or there are fewer
        than two steps.
    """
    if dims != (STEP, WEIGHT):
        raise TrajectoryError(
            f"The array has dimensions {printable(dims)}; a trajectory has ('step', 'weight'). "
            "Rename or transpose it, for example array.transpose('step', 'weight')."
        )
    if kind not in "fiub":
        raise TrajectoryError(
            f"The weights have a dtype of kind {kind!r}; real numbers are expected. "
            "Convert them, for example with array.astype('float64')."
        )
    if n_steps < 2:
        raise TrajectoryError(
            f"The trajectory has {n_steps} checkpoint{'' if n_steps == 1 else 's'}; at least 2 "
            "are needed. Save checkpoints more often, or give the parent folder."
        )


def check_trajectory(trajectory: "xr.Dataset") -> None:
    """Refuse a Dataset that is not a whole trajectory, its steps in order.

    Raises
    ------
    TrajectoryError
        Something of it is missing, the tensors do not make up its weights, or the steps are not
        increasing numbers; or as `check_weights`.
    """
    needed = ("weights", STEP, TENSOR, "row_size", GROUP, "stored_dtype")
    missing = [name for name in needed if name not in trajectory.variables]
    if missing:
        raise TrajectoryError(
            f"A Dataset from open_trajectory was expected; this one lacks {', '.join(missing)}. "
            "To take an array as one tensor, pass the array alone: analyze(dataset['weights'])."
        )
    weights, steps = trajectory["weights"], trajectory[STEP].to_numpy()
    check_weights(weights.dims, weights.dtype.kind, weights.sizes.get(STEP, 0))
    n_described = int(trajectory["row_size"].sum())
    if n_described != weights.sizes[WEIGHT] or n_described == 0:
        raise TrajectoryError(
            f"The tensors have {n_described} weights together, the array has "
            f"{weights.sizes[WEIGHT]}; equal numbers of at least 1 were expected. Choose tensors "
            "when opening, with include= and exclude=, or pass the array alone."
        )
    if steps.dtype.kind not in "iuf" or not (steps[1:] > steps[:-1]).all():
        raise TrajectoryError(
            f"The steps are {printable(steps)}; increasing numbers are expected. Sort them, for "
            "example with array.sortby('step'), and remove duplicates."
        )


def check_results(results: "xr.DataTree") -> None:
    """Refuse a DataTree that is no finished result, of one run or of several compared.

    Raises
    ------
    ResultsError
        It was not written by trajscope, or one of its parts is missing.
    """
    cases = cases_of(results)
    missing = [part for part in RESULT_PARTS if part not in results.children]
    if is_comparison(results):
        missing = [] if len(cases) > 1 else ["cases"]
    if "trajscope" not in results.attrs or missing:
        raise ResultsError(
            "This is not a finished trajscope result: "
            + (
                f"the parts {', '.join(missing)} are missing. "
                if missing
                else "it lacks a version. "
            )
            + "Make it again with 'trajscope analyze' or 'trajscope compare'."
        )
    for case in cases:
        check_results(case)


def is_comparison(results: "xr.DataTree") -> bool:
    """Whether a result compares several runs, each of which is one of its cases."""
    return "compare" in results.children


def cases_of(results: "xr.DataTree") -> "list[xr.DataTree]":
    """The cases of a result, in order: windows of a run, or runs that are compared."""
    if "cases" not in results.children:
        return []
    return sorted(results["cases"].children.values(), key=lambda case: int(str(case.name)))
