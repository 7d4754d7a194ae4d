"""Names that cross boundaries: dimensions, coordinates, the parts of a result, and their checks."""

from typing import TYPE_CHECKING

from trajscope.errors import ResultsError, TrajectoryError, printable

if TYPE_CHECKING:
    import xarray as xr

STEP = "step"
"""Optimizer step (or epoch, or index: `STEP_UNITS`) of a checkpoint."""
WEIGHT = "weight"
"""One scalar weight; the tensors lie behind one another along it, `row_size(tensor)` long each."""
TENSOR = "tensor"
GROUP = "group"
"""A set of tensors that is measured together; `ALL_WEIGHTS` comes first."""
INTERVAL = "interval"
"""From a checkpoint to the next; labelled by the step it starts at."""
INTERVAL_OTHER = "interval_other"
TURN = "turn"
"""Between two neighbouring intervals; labelled by the step of the checkpoint they share."""
LAG = "lag"
FREQUENCY = "frequency"
COMPONENT = "component"

ALL_WEIGHTS = "all"
"""Name of the group that holds every weight."""

STEP_UNITS = ("step", "epoch", "index")

RESULT_PARTS = ("trajectory", "reductions", "observables", "tests", "diffusion", "verdict")
"""Children of a result, a DataTree, in the order of the report."""


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
            "are needed to see a movement. Log more often, or point at the folder above."
        )


def check_results(results: "xr.DataTree") -> None:
    """Refuse a DataTree that is no finished result.

    Raises
    ------
    ResultsError
        It was not written by trajscope, or one of its parts is missing.
    """
    missing = [part for part in RESULT_PARTS if part not in results.children]
    if "trajscope" not in results.attrs or missing:
        raise ResultsError(
            "This is not a finished trajscope result: "
            + (
                f"the parts {', '.join(missing)} are missing. "
                if missing
                else "it has no version. "
            )
            + "Make it again with 'trajscope analyze'."
        )
