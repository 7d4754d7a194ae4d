"""Commands: parse, call the Python API, print."""

import io
import json
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from trajscope.errors import TrajscopeError, TrajscopeWarning, printable

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
        "--strict", is_flag=True, help="Fail where a checkpoint would be left out with a warning."
    ),
)
ENGINE = (
    click.option(
        "--memory",
        metavar="SIZE",
        help="Most memory to hold, such as 2GiB.  [default: a quarter of what is free]",
    ),
    click.option(
        "--workers", type=int, metavar="N", help="Use N local processes instead of threads."
    ),
    click.option("--scheduler", metavar="ADDRESS", help="Use the dask cluster at this address."),
    click.option(
        "--seed", default=0, show_default=True, help="Makes every drawn number repeatable."
    ),
)
SELECTION_NAMES = ("run", "burn_in", "steps", "include", "exclude", "by", "strict")
ENGINE_NAMES = ("memory", "workers", "scheduler", "seed")
OUTPUT = click.option(
    "-o",
    "--output",
    metavar="OUT",
    type=click.Path(path_type=Path, file_okay=False),
    default="trajscope-report",
    show_default=True,
    help="Folder for report.html, summary.json and results.zarr.",
)
QUIET = click.option("--quiet", is_flag=True, help="Print nothing but errors.")
CHECKPOINTS = click.argument(
    "checkpoints", metavar="DIR", type=click.Path(exists=True, path_type=Path)
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
def inspect(checkpoints: Path, as_json: bool, **selection: Any) -> None:
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
@with_options(OUTPUT, *SELECTION, *ENGINE, QUIET)
def analyze(checkpoints: Path, output: Path, quiet: bool, **options: Any) -> None:
    """Measure the trajectory of the checkpoints in DIR and write a report.

    Example: trajscope analyze runs/resnet18/checkpoints --burn-in 20%
    """
    _silence_dask()
    from trajscope import analysis
    from trajscope.report import check_output, reading_lines, screen, write_report
    from trajscope.trajectory import open_trajectory

    check_output(output)
    selection = {name: options[name] for name in SELECTION_NAMES}
    engine = {name: options[name] for name in ENGINE_NAMES}
    with _warnings_kept_for_the_page():
        trajectory = open_trajectory(checkpoints, **selection)
        if not quiet:
            click.echo("\n".join(reading_lines(trajectory)) + "\n")
        with _progress("one pass over the weights", quiet) as advance:
            results = analysis.analyze(
                trajectory, **engine, strict=options["strict"], progress=advance
            )
    results.attrs["config"] |= {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in selection.items()
        if value
    }
    results.attrs["command"] = shlex.join(["trajscope", *sys.argv[1:]])
    page = write_report(results, output)
    if not quiet:
        click.echo(screen(results, page=page, told=trajectory))


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

    opened = open_results(results)
    folder = output or results.resolve().parent
    check_output(folder)
    page = write_report(opened, folder)
    if not quiet:
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
