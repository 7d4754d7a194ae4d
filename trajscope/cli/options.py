"""The options of the commands: each is written once, and listed by what it is about."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    import xarray as xr

Command = TypeVar("Command", bound=Callable[..., Any])

SELECTION = (
    click.option("--run", metavar="NAME", help="Which run, where the folder holds several."),
    click.option(
        "--burn-in",
        metavar="N|P%",
        help="Leave out the first N checkpoints, or the first P percent.",
    ),
    click.option(
        "--steps",
        metavar="START:STOP:STRIDE",
        help="Steps from START up to, not including, STOP; of those, every STRIDE-th checkpoint.",
    ),
    click.option(
        "--include",
        multiple=True,
        metavar="GLOB",
        help="Take only tensors whose names match, buffers too. May be repeated.",
    ),
    click.option(
        "--exclude",
        multiple=True,
        metavar="GLOB",
        help="Leave out tensors, or files, whose names match. May be repeated.",
    ),
    click.option(
        "--by",
        type=click.Choice(["none", "layer", "tensor"]),
        default="layer",
        show_default=True,
        help="Measure this beside all weights together.",
    ),
    click.option(
        "--order",
        type=click.Choice(["step", "mtime", "name"]),
        default="step",
        show_default=True,
        help="Put checkpoints in this order; step where files say which.",
    ),
    click.option(
        "--weights",
        type=click.Choice(["live", "ema"]),
        default="live",
        show_default=True,
        help="Of checkpoints that hold an average too, take these.",
    ),
    click.option(
        "--strict", is_flag=True, help="Fail where a checkpoint would be left out with a warning."
    ),
)
MEMORY = click.option(
    "--memory",
    metavar="SIZE",
    help="Most memory to hold, such as 2GiB.  [default: a quarter of what is free]",
)
SEED = click.option(
    "--seed", default=0, show_default=True, help="Makes every drawn number repeatable."
)
ENGINE = (
    MEMORY,
    click.option(
        "--workers", type=int, metavar="N", help="Use N local processes instead of threads."
    ),
    click.option("--scheduler", metavar="ADDRESS", help="Use the dask cluster at this address."),
    SEED,
)
MOMENTUM = click.option(
    "--momentum",
    type=float,
    metavar="MU",
    help="Momentum of the optimizer: for ringing, and for the budget of gradient noise.",
)
INFERENCE = (
    click.option(
        "--surrogates",
        "n_surrogates",
        type=int,
        metavar="N",
        default=999,
        show_default=True,
        help="Draw every null N times; beyond 10,000 checkpoints as often as --alpha needs.",
    ),
    click.option(
        "--alpha",
        type=float,
        metavar="LEVEL",
        default=0.01,
        show_default=True,
        help="How often a test may speak falsely.",
    ),
    MOMENTUM,
)
PROBLEM = (
    click.option(
        "--problem",
        metavar="FILE.py:FUNCTION",
        help="Function that returns trajscope.Problem(model, data, loss); its code is run.",
    ),
    click.option(
        "--at",
        metavar="STEPS",
        help="Checkpoints whose gradient noise is measured.  [default: 20%,40%,100%]",
    ),
    click.option(
        "--samples", type=int, metavar="N", help="Of the data, drawn once.  [default: all]"
    ),
    click.option(
        "--every",
        type=int,
        metavar="N",
        help="Loss and gradient norm at every N-th checkpoint, 0: none.  [default: up to 200]",
    ),
    click.option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N.  [default: auto]"),
    click.option(
        "--dtype",
        type=click.Choice(["float32", "float64"]),
        help="Of the network; products are in float64.  [default: float32]",
    ),
    click.option("--chunk", metavar="N", help="Samples at once.  [default: auto, by memory]"),
    click.option(
        "--mode",
        type=click.Choice(["eval", "train"]),
        help="eval: sample by sample, as in the paper; train: batches as training saw them."
        "  [default: eval]",
    ),
    click.option("--lr", type=float, metavar="ETA", help="Learning rate: gives the temperature."),
    click.option("--batch-size", type=int, metavar="B", help="Of training."),
    click.option(
        "--sampling",
        type=click.Choice(["with", "without"]),
        help="Whether training drew batches with replacement, or each epoch without.",
    ),
    click.option(
        "--sketch",
        type=int,
        metavar="K",
        help="Not exact: project gradients onto K random directions; its error is measured.",
    ),
    click.option(
        "--work-dir",
        metavar="FOLDER",
        type=click.Path(path_type=Path, file_okay=False),
        help="Keep unfinished work here: after a kill, the same command goes on.",
    ),
)
PROBLEM_NAMES = (
    "at",
    "samples",
    "every",
    "device",
    "dtype",
    "chunk",
    "mode",
    "lr",
    "batch_size",
    "sampling",
    "sketch",
    "work_dir",
)
ENGINE_NAMES = ("memory", "workers", "scheduler", "seed")
INFERENCE_NAMES = ("n_surrogates", "alpha", "momentum")


def output_to(folder: str) -> Callable[[Command], Command]:
    """Where the report goes, a folder of this name unless one is given."""
    return click.option(
        "-o",
        "--output",
        metavar="OUT",
        type=click.Path(path_type=Path, file_okay=False),
        default=folder,
        show_default=True,
        help="Folder for report.html, summary.json and results.zarr.",
    )


OUTPUT = output_to("trajscope-report")
WINDOWS = click.option(
    "--windows",
    metavar="START:STOP,...|N",
    help="Judge these parts of the run on their own too, by steps; or N equal parts.",
)
HISTORY = click.option(
    "--history",
    type=click.Choice(["auto", "always", "never"]),
    default="never",
    show_default=True,
    help="Keep the weights in OUT/history, so that the next time only new checkpoints are read; "
    "auto: up to 1 GiB.",
)
QUIET = click.option("--quiet", is_flag=True, help="Print nothing but errors.")


class Checkpoints(click.Path):
    """A folder that exists, or an address such as s3://bucket/run, which is seen when it opens."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path, or the address as it is."""
        is_address = isinstance(value, str) and "://" in value
        return value if is_address else super().convert(value, param, ctx)


CHECKPOINTS = click.argument(
    "checkpoints", metavar="DIR", type=Checkpoints(exists=True, path_type=Path)
)
RUNS = click.argument(
    "runs", metavar="RUN...", nargs=-1, type=Checkpoints(exists=True, path_type=Path)
)
COMPARISON = (
    click.option(
        "--label", "labels", multiple=True, metavar="NAME",
        help="What a run is called, one for each in their order.  [default: from the paths]",
    ),
    click.option(
        "--replicas", is_flag=True,
        help="The runs repeat one training with other seeds: pool them too.",
    ),
)  # fmt: skip


def opened(checkpoints: Path | str, options: Mapping[str, Any]) -> "xr.Dataset":
    """The trajectory in a folder, selected by the options of `SELECTION`."""
    from trajscope.checkpoints.selection import SELECTION_NAMES, Selection
    from trajscope.trajectory import open_selection

    return open_selection(
        checkpoints, Selection.of({name: options[name] for name in SELECTION_NAMES})
    )


def with_options(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Add several options to a command, in the order they are listed."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate
