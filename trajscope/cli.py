"""Commands: parse, call the Python API, print."""

import io
import json
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from trajscope.errors import OptionError, TrajscopeError, TrajscopeWarning, printable

if TYPE_CHECKING:
    import xarray as xr

Command = TypeVar("Command", bound=Callable[..., Any])


class Refusal(click.ClickException):
    """A deliberate failure, shown as one message."""

    exit_code = 2


class Commands(click.Group):
    """Show deliberate failures as one message; let bugs keep their traceback."""

    def invoke(self, ctx: click.Context) -> Any:  # click leaves a command's result open
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except TrajscopeError as error:
            raise Refusal(str(error)) from error
        except KeyboardInterrupt:
            _leave_at_once()


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
SELECTION_NAMES = (
    "run",
    "burn_in",
    "steps",
    "include",
    "exclude",
    "by",
    "order",
    "weights",
    "strict",
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
        help="Draw every null N times.",
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
OUTPUT = click.option(
    "-o",
    "--output",
    metavar="OUT",
    type=click.Path(path_type=Path, file_okay=False),
    default="trajscope-report",
    show_default=True,
    help="Folder for report.html, summary.json and results.zarr.",
)
HISTORY = click.option(
    "--history",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
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


def with_options(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Add several options to a command, in the order they are listed."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="trajscope")
def main() -> None:
    """Learn what a training run did in weight space from the checkpoints it wrote."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A letter that the terminal's encoding lacks becomes a question mark, not a traceback.
        sys.stdout.reconfigure(errors="replace")


@main.command()
@CHECKPOINTS
@with_options(*SELECTION)
@click.option("--json", "as_json", is_flag=True, help="Print it for other programs.")
def inspect(checkpoints: Path | str, as_json: bool, **selection: Any) -> None:
    """Say what would be read from DIR, and what would be left out and why.

    Example: trajscope inspect runs/resnet18/checkpoints
    """
    from trajscope.report import reading_lines, trajectory_summary
    from trajscope.trajectory import open_trajectory

    with _warnings_kept_for_the_page():
        trajectory = open_trajectory(checkpoints, **selection)
    if as_json:
        click.echo(json.dumps(trajectory_summary(trajectory), indent=2, allow_nan=False))
    else:
        click.echo("\n".join(reading_lines(trajectory)))


@main.command()
@CHECKPOINTS
@with_options(OUTPUT, *SELECTION, *ENGINE, *INFERENCE, *PROBLEM, HISTORY, QUIET)
def analyze(checkpoints: Path | str, output: Path, quiet: bool, **options: Any) -> None:
    """Measure the trajectory of the checkpoints in DIR and write a report.

    With --problem, also the covariance of per-sample gradients at a few of them.

    Example: trajscope analyze runs/resnet18/checkpoints --burn-in 20%
    """
    _silence_dask()
    from trajscope import analysis
    from trajscope.report import check_output, reading_lines, screen, write_report
    from trajscope.report.terminal_diffusion import diffusion_lines
    from trajscope.trajectory import open_trajectory

    check_output(output)
    selection = {name: options[name] for name in SELECTION_NAMES}
    engine = {name: options[name] for name in (*ENGINE_NAMES, *INFERENCE_NAMES)}
    with _warnings_kept_for_the_page():
        trajectory = open_trajectory(checkpoints, **selection)
        if not quiet:
            click.echo("\n".join(reading_lines(trajectory)) + "\n")
        found = _diffusion(trajectory, options, quiet)
        if found is not None and not quiet:
            click.echo("\n".join(diffusion_lines(found)) + "\n")
        told: list[str] = []
        with _progress("one pass over the weights", quiet) as advance:
            results = analysis.analyze(
                trajectory,
                **engine,
                history=_history(output, options, advance, told),
                diffusion=found,
                strict=options["strict"],
                progress=advance,
            )
    results.attrs["config"] |= {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in selection.items()
        if value
    }
    results.attrs["command"] = shlex.join(["trajscope", *sys.argv[1:]])
    page = write_report(results, output)
    if not quiet:
        click.echo("".join(f"{line}\n\n" for line in told), nl=False)
        click.echo(screen(results, page=page, told=trajectory))


@main.command()
@CHECKPOINTS
@with_options(OUTPUT, *SELECTION, *PROBLEM, MOMENTUM, MEMORY, SEED, QUIET)
def diffusion(checkpoints: Path | str, output: Path, quiet: bool, **options: Any) -> None:
    """Measure the covariance of per-sample gradients at chosen checkpoints in DIR.

    It needs the model, the data and the loss as well: a function, in a module or a file, that
    returns trajscope.Problem(model, data, loss). An analysis of the same run that lies in OUT
    keeps everything else.

    Example: trajscope diffusion runs/resnet18/checkpoints --problem problem.py:make_problem
    """
    _silence_dask()
    from trajscope.report import reading_lines
    from trajscope.report.terminal_diffusion import diffusion_lines
    from trajscope.report.write_diffusion import check_diffusion_output, write_diffusion
    from trajscope.trajectory import open_trajectory

    with _warnings_kept_for_the_page():
        selection = {name: options[name] for name in SELECTION_NAMES}
        trajectory = open_trajectory(checkpoints, **selection)
        check_diffusion_output(trajectory, output)
        if not quiet:
            click.echo("\n".join(reading_lines(trajectory)) + "\n")
        found = _diffusion(trajectory, options, quiet)
    if found is None:
        raise click.UsageError("--problem is missing: FILE.py:FUNCTION or MODULE:FUNCTION.")
    command = shlex.join(["trajscope", *sys.argv[1:]])
    page = write_diffusion(trajectory, found, output, command=command)
    if not quiet:
        click.echo("\n".join(diffusion_lines(found)))
        click.echo(f"\nReport    {printable(str(page), limit=4096)}")


@main.command()
@CHECKPOINTS
@click.argument("store", metavar="OUT.zarr", type=click.Path(path_type=Path))
@with_options(*SELECTION, QUIET)
def pack(checkpoints: Path | str, store: Path, quiet: bool, **selection: Any) -> None:
    """Copy the checkpoints in DIR into one zarr store, which is read faster.

    An interrupted copy is taken up where it ended. All commands read OUT.zarr.

    Example: trajscope pack runs/resnet18/checkpoints resnet18.zarr
    """
    from trajscope import packing

    with _warnings_kept_for_the_page(), _progress("packing weights", quiet) as advance:
        written = packing.pack(checkpoints, store, progress=advance, **selection)
    if not quiet:
        click.echo(f"Packed and verified: {printable(str(written))}")


@main.command()
@click.argument("results", metavar="OUT/results.zarr", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the report.  [default: the one that holds results.zarr]",
)
@QUIET
def report(results: Path, output: Path | None, quiet: bool) -> None:
    """Make the report again from a saved result, without the checkpoints.

    Example: trajscope report trajscope-report/results.zarr
    """
    from trajscope.report import check_output, open_results, screen, write_report
    from trajscope.report.page_diffusion import is_alone
    from trajscope.report.terminal_diffusion import diffusion_lines

    opened = open_results(results)
    folder = output or results.resolve().parent
    check_output(folder)
    page = write_report(opened, folder)
    if quiet:
        return
    if is_alone(opened):
        click.echo("\n".join(diffusion_lines(opened["diffusion"].to_dataset())))
        click.echo(f"\nReport    {printable(str(page), limit=4096)}")
    else:
        click.echo(screen(opened, page=page))


@main.command()
@click.argument(
    "directory", metavar="[DIR]", type=click.Path(path_type=Path), default="trajscope-demo"
)
@click.option("--seed", default=0, show_default=True, help="Of the training and the analysis.")
@QUIET
@click.pass_context
def demo(context: click.Context, directory: Path, seed: int, quiet: bool) -> None:
    """Train a small network on handwritten digits, then analyze its checkpoints.

    They go to DIR/checkpoints and the report to DIR/report; DIR is trajscope-demo by default.

    Example: trajscope demo
    """
    from trajscope.demo.training import train_demo

    with _progress("training on 8x8 digits", quiet) as advance:
        checkpoints = train_demo(directory, seed=seed, progress=advance)
    output = directory / "report"
    if not quiet:
        command = ["trajscope", "analyze", str(checkpoints), "-o", str(output)]
        click.echo(f"$ {printable(shlex.join(command))}\n")
    context.invoke(analyze, checkpoints=checkpoints, output=output, seed=seed, quiet=quiet)


def _diffusion(
    trajectory: "xr.Dataset", options: Mapping[str, Any], quiet: bool
) -> "xr.Dataset | None":
    """What `trajscope.diffusion` finds with the options that were given; none without --problem."""
    given = {name: options[name] for name in PROBLEM_NAMES if options[name] is not None}
    if options["problem"] is None:
        if given:
            raise OptionError(
                f"--{next(iter(given)).replace('_', '-')} is about gradient noise, which needs a "
                "model, data and a loss. Give them with --problem FILE.py:FUNCTION."
            )
        return None
    from trajscope.diffusion import diffusion as measure

    chunk = given.get("chunk", "auto")
    given["chunk"] = int(chunk) if chunk.isdecimal() else chunk
    common = {name: options[name] for name in ("memory", "seed", "momentum")}
    with _progress("gradients of single samples", quiet) as advance:
        return measure(trajectory, options["problem"], progress=advance, **common, **given)


def _history(
    output: Path, options: Mapping[str, Any], advance: Callable[[int, int], None], told: list[str]
) -> "Callable[[xr.Dataset], AbstractContextManager[xr.Dataset]] | None":
    """How the weights are read from the history in OUT; what was read is added to `told`."""
    choice = options["history"]
    if choice == "never" or (choice == "auto" and options["scheduler"]):  # may not see OUT
        return None
    from trajscope.history.kept import remembered

    @contextmanager
    def from_history(trajectory: "xr.Dataset") -> "Iterator[xr.Dataset]":
        folder, always = output / "history", choice == "always"
        with remembered(trajectory, folder, always=always, progress=advance) as found:
            told.extend([found.line] if found.line else [])
            yield found.trajectory

    return from_history


def _leave_at_once() -> NoReturn:
    """End the process now: a task that is running cannot be stopped, and Python would await it."""
    click.echo("Aborted!", err=True)
    sys.stdout.flush()
    os._exit(130)


def _silence_dask() -> None:
    """Let no log line of dask onto the screen: what matters in them is raised here as well.

    To be called before dask is imported; worker processes inherit it.
    """
    loggers = ("distributed", "distributed.client", "asyncio")
    os.environ.setdefault("DASK_LOGGING", repr(dict.fromkeys(loggers, "critical")))


@contextmanager
def _warnings_kept_for_the_page() -> Iterator[None]:
    """Leave trajscope's own warnings to the screen and the report, which show each in its place."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrajscopeWarning)
        yield


@contextmanager
def _progress(title: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error with the time left, gone when done; nothing where nobody looks."""
    if quiet or not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
