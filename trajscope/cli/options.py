"""The options of the commands: each is defined once, and listed by topic."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from trajscope.cli.training import MOMENTUM

if TYPE_CHECKING:
    import xarray as xr

    from trajscope.checkpoints.selection import Selection

Command = TypeVar("Command", bound=Callable[..., Any])

WEIGHTS = click.option(
    "--weights",
    type=click.Choice(["live", "ema"]),
    default="live",
    show_default=True,
    help="Weights to use if checkpoints also contain an average (EMA).",
)
RUN = click.option(
    "--run",
    metavar="NAME",
    help="Run to open, if the folder contains several. A glob, or several names with commas "
    "between them, joins parts of one run: 'version_*'.",
)
INCLUDE = click.option(
    "--include",
    multiple=True,
    metavar="GLOB",
    help="Use only tensors whose names match, including buffers. May be repeated.",
)
EXCLUDE = click.option(
    "--exclude",
    multiple=True,
    metavar="GLOB",
    help="Exclude tensors or files whose names match. May be repeated.",
)
SELECTION = (
    RUN,
    click.option(
        "--burn-in",
        metavar="N|P%",
        help="Exclude the first N checkpoints, or the first P percent.",
    ),
    click.option(
        "--steps",
        metavar="START:STOP:STRIDE",
        help="Use every STRIDE-th checkpoint with START <= step < STOP.",
    ),
    INCLUDE,
    EXCLUDE,
    click.option(
        "--by",
        type=click.Choice(["none", "layer", "tensor"]),
        default="layer",
        show_default=True,
        help="Groups to analyze in addition to all weights together.",
    ),
    click.option(
        "--order",
        type=click.Choice(["step", "mtime", "name"]),
        default="step",
        show_default=True,
        help="Sort checkpoints by step number, modification time or file name.",
    ),
    WEIGHTS,
    click.option(
        "--strict", is_flag=True, help="Fail instead of excluding a checkpoint with a warning."
    ),
)
MEMORY = click.option(
    "--memory",
    metavar="SIZE",
    help="Memory limit, such as 2GiB.  [default: a quarter of the free memory]",
)
SEED = click.option("--seed", default=0, show_default=True, help="Seed of all random numbers.")
PASS = (
    MEMORY,
    click.option(
        "--workers", type=int, metavar="N", help="Use N local processes instead of threads."
    ),
    click.option(
        "--scheduler",
        metavar="ADDRESS|FILE|slurm",
        help="Use the dask cluster at this address, of this scheduler file, or the tasks of this "
        "Slurm step.",
    ),
    click.option(
        "--stall",
        type=float,
        metavar="SECONDS",
        help="Give up workers of which no task ends for so long.  [default: 1800]",
    ),
)
ENGINE = (*PASS, SEED)
INFERENCE = (
    click.option(
        "--surrogates",
        "n_surrogates",
        type=int,
        metavar="N",
        default=999,
        show_default=True,
        help="Permutations or surrogates per null hypothesis; of layers, and above 10,000 "
        "checkpoints, only as many as --alpha requires.",
    ),
    click.option(
        "--alpha",
        type=float,
        metavar="LEVEL",
        default=0.01,
        show_default=True,
        help="Significance level of every test (false-positive rate).",
    ),
    MOMENTUM,
)
PASS_NAMES = ("memory", "workers", "scheduler", "stall")
ENGINE_NAMES = (*PASS_NAMES, "seed")
INFERENCE_NAMES = ("n_surrogates", "alpha", "momentum")


def output_to(
    folder: str, files: str = "report.html, summary.json and results.zarr"
) -> Callable[[Command], Command]:
    """The option for the output folder, with its default name, and what is written to it."""
    return click.option(
        "-o",
        "--output",
        metavar="OUT",
        type=click.Path(path_type=Path, file_okay=False),
        default=folder,
        show_default=True,
        help=f"Folder for {files}.",
    )


OUTPUT = output_to("trajscope-report")
WINDOWS = click.option(
    "--windows",
    metavar="START:STOP,...|N",
    help="Also analyze these windows of the run, given by steps, or N equal windows.",
)
PHASES = click.option(
    "--phases",
    type=click.Choice(["auto", "none"]),
    default="auto",
    show_default=True,
    help="Look for changes of rate, noise and drift, and decide on each phase between them.",
)
SPECTRA = click.option(
    "--spectra",
    metavar="STEPS|all|none",
    default="none",
    show_default=True,
    help="Checkpoints at which singular values of every weight matrix are computed: 20%,100%.",
)
EXACT = click.option(
    "--exact",
    is_flag=True,
    help="Take the standard deviation of the autocorrelation from all weights, not from a random "
    "sample of 8,192 of each group.",
)
SCHEDULE = (
    click.option(
        "--lr-schedule",
        metavar="FILE|STEP:RATE,...",
        help="Learning rates, each from its step on, or a CSV, JSON or JSONL file of them.  "
        "[default: from the trainer's files]",
    ),
    click.option(
        "--epoch-steps",
        type=float,
        metavar="N",
        help="Steps of an epoch.  [default: from the trainer's files]",
    ),
)
HISTORY = click.option(
    "--history",
    type=click.Choice(["auto", "always", "never"]),
    default="never",
    show_default=True,
    help="Store the weights in OUT/history, so that the next analysis reads only new checkpoints "
    "(auto: if they take up to 1 GiB).",
)
WATCHING = (
    click.option(
        "--interval",
        type=click.IntRange(1, 86_400),
        default=10,
        show_default=True,
        metavar="SECONDS",
        help="How often to look for new checkpoints.",
    ),
    click.option(
        "--serve",
        metavar="127.0.0.1:PORT",
        help="Also serve the page to browsers on this machine; port 0 takes any that is free.",
    ),
)
QUIET = click.option("--quiet", is_flag=True, help="Print errors only.")
JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as JSON instead of text."
)


class Checkpoints(click.Path):
    """An existing folder, or an address such as s3://bucket/run, which is checked on opening."""

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
AVERAGE = (
    click.option("--last", type=int, metavar="N", help="Mean of the last N checkpoints."),
    click.option(
        "--ema",
        type=float,
        metavar="HALF_LIFE",
        help="Exponential average with this half-life, in the unit of the steps.",
    ),
    click.option(
        "--weights",
        metavar="FILE|STEP:WEIGHT,...",
        help="Weights of the checkpoints at these steps, or a CSV, JSON or JSONL file of them.",
    ),
    click.option(
        "-o",
        "--output",
        metavar="OUT.safetensors",
        type=click.Path(path_type=Path),
        required=True,
        help="File to write.",
    ),
)
COMPARISON = (
    click.option(
        "--label", "labels", multiple=True, metavar="NAME",
        help="Label of a run; give one per run, in the same order.  [default: from the paths]",
    ),
    click.option(
        "--replicas", is_flag=True,
        help="Treat the runs as repetitions with different seeds, and also pool them.",
    ),
)  # fmt: skip


def opened(checkpoints: Path | str, options: Mapping[str, Any]) -> "xr.Dataset":
    """The trajectory in a folder, selected by the options of `SELECTION`."""
    from trajscope.trajectory import open_selection

    return open_selection(checkpoints, chosen(options))


def chosen(options: Mapping[str, Any]) -> "Selection":
    """What the options of `SELECTION` select."""
    from trajscope.checkpoints.selection import SELECTION_NAMES, Selection

    return Selection.of({name: options[name] for name in SELECTION_NAMES})


def with_options(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Add several options to a command, in the order they are listed."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate
