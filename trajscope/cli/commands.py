"""Commands: parse, call the Python API, print."""

import io
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from trajscope.cli.analyses import analyze, compare, diffusion
from trajscope.cli.grouped import Grouped
from trajscope.cli.options import (
    AVERAGE,
    CHECKPOINTS,
    JSON,
    MEMORY,
    PASS,
    PASS_NAMES,
    QUIET,
    SELECTION,
    WEIGHTS,
    chosen,
    with_options,
)
from trajscope.cli.process import (
    Commands,
    hold,
    join,
    progress,
    silence_dask,
    tell_json,
    warnings_kept_for_the_page,
    warnings_kept_to_tell,
)
from trajscope.cli.watching import watch
from trajscope.errors import OptionError, printable
from trajscope.schema import STEP


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="trajscope")
def main() -> None:
    """Analyze the trajectory of a training run in weight space from its checkpoints."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A letter that the terminal's encoding lacks becomes a question mark, not a traceback.
        sys.stdout.reconfigure(errors="replace")


for command in (analyze, compare, diffusion, watch):
    main.add_command(command)


@main.command(cls=Grouped)
@CHECKPOINTS
@with_options(*SELECTION)
@click.option(
    "--audit",
    "audited",
    is_flag=True,
    help="Read all weights once, and look for spoilt checkpoints.",
)
@with_options(*PASS)
@with_options(JSON)
def inspect(checkpoints: Path | str, audited: bool, as_json: bool, **selection: Any) -> None:
    """Show what would be read from DIR, what would be left out, and why.

    Example: trajscope inspect runs/resnet18/checkpoints --audit
    """
    from trajscope.report import audit_lines, reading_lines, trajectory_summary
    from trajscope.trajectory.listing import describe, listed

    given = [name for name in PASS_NAMES if selection[name] is not None]
    if given and not audited:
        raise OptionError(f"--{given[0]} needs --audit: without it no weights are read.")
    join(selection["scheduler"])
    with listed(checkpoints, chosen(selection)) as found:
        trajectory = describe(found)
    if not as_json:
        click.echo("\n".join(reading_lines(trajectory)))
    findings = _audit(checkpoints, selection, quiet=as_json) if audited else None
    if as_json:
        told = trajectory_summary(trajectory) | ({"audit": findings} if audited else {})
        tell_json(told)
    elif findings is not None:
        click.echo("\n".join(audit_lines(findings, len(trajectory.coords[STEP]))))


def _audit(
    checkpoints: Path | str, selection: Mapping[str, Any], *, quiet: bool
) -> list[dict[str, Any]]:
    silence_dask()
    from trajscope.analysis.audit import audit

    with warnings_kept_for_the_page(), progress("audit of the weights", quiet) as advance:
        return audit(checkpoints, **selection, progress=advance)


@main.command(cls=Grouped)
@CHECKPOINTS
@click.argument("store", metavar="OUT.zarr", type=click.Path(path_type=Path))
@with_options(*SELECTION, QUIET, JSON)
def pack(
    checkpoints: Path | str, store: Path, quiet: bool, as_json: bool, **selection: Any
) -> None:
    """Copy the checkpoints in DIR into one zarr store, which is faster to read.

    An interrupted copy is resumed. All commands accept OUT.zarr in place of DIR.

    Example: trajscope pack runs/resnet18/checkpoints resnet18.zarr
    """
    from trajscope import packing

    with warnings_kept_for_the_page(), progress("packing weights", quiet) as advance:
        written = packing.pack(checkpoints, store, progress=advance, **selection)
    if as_json:
        tell_json({"store": printable(str(written), limit=4096)})
    elif not quiet:
        click.echo(f"Packed and verified: {printable(str(written))}")


@main.command(cls=Grouped)
@CHECKPOINTS
@with_options(
    *AVERAGE, *(option for option in SELECTION if option is not WEIGHTS), MEMORY, QUIET, JSON
)
def average(
    checkpoints: Path | str, output: Path, quiet: bool, as_json: bool, **options: Any
) -> None:
    """Average the weights of several checkpoints in DIR into one safetensors file.

    Give one of --last, --ema and --weights. Batch normalisation must be recalibrated afterwards.

    Example: trajscope average runs/resnet18/checkpoints --last 10 -o swa.safetensors
    """
    from trajscope.analysis.average import average as average_weights

    with warnings_kept_to_tell() as told, progress("averaging weights", quiet) as advance:
        written = average_weights(checkpoints, output, progress=advance, **options)
    if as_json:
        tell_json({"file": printable(str(written), limit=4096), "warnings": told})
    elif not quiet:
        click.echo("\n".join([f"Averaged: {printable(str(written))}", *told]))


@main.command(cls=Grouped)
@click.argument("results", metavar="OUT/results.zarr", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the report.  [default: the folder of results.zarr]",
)
@with_options(QUIET, JSON)
def report(results: Path, output: Path | None, quiet: bool, as_json: bool) -> None:
    """Write the report again from a saved result, without the checkpoints.

    Example: trajscope report trajscope-report/results.zarr
    """
    from trajscope.report import check_output, open_results, summary, write_report
    from trajscope.report.files.completeness import mark_of
    from trajscope.report.files.marks import of_another_result
    from trajscope.report.files.storage import damage_told
    from trajscope.report.page.gradient_noise_alone import is_alone
    from trajscope.report.screen.gradient_noise import diffusion_lines
    from trajscope.report.screen.result import screen

    with warnings_kept_for_the_page():
        opened = open_results(results)
    folder = output or results.resolve().parent
    check_output(folder)
    hold(folder)
    stale = of_another_result(folder, mark_of(results))
    page = write_report(opened, folder)
    if as_json:
        tell_json(summary(opened) | {"report": printable(str(page), limit=4096)})
    if quiet or as_json:
        return
    if stale:
        click.echo(f"Of another analysis, and written again: {', '.join(stale)}\n")
    with damage_told(opened):
        if is_alone(opened):
            lines = "\n".join(diffusion_lines(opened["diffusion"].to_dataset()))
            told = f"{lines}\n\nReport    {printable(str(page), limit=4096)}"
        else:
            told = screen(opened, page=page)
    click.echo(told)


@main.command(cls=Grouped)
@click.argument(
    "directory", metavar="[DIR]", type=click.Path(path_type=Path), default="trajscope-demo"
)
@click.option(
    "--seed", default=0, show_default=True, help="Seed of the training and of the analysis."
)
@with_options(QUIET, JSON)
@click.pass_context
def demo(context: click.Context, directory: Path, seed: int, quiet: bool, as_json: bool) -> None:
    """Train a small network on handwritten digits, then analyze its checkpoints.

    Checkpoints are written to DIR/checkpoints and the report to DIR/report. The default DIR is
    trajscope-demo.

    Example: trajscope demo
    """
    from trajscope.demo.training import train_demo

    with progress("training on 8x8 digits", quiet) as advance:
        checkpoints = train_demo(directory, seed=seed, progress=advance)
    output = directory / "report"
    if not quiet and not as_json:
        command = ["trajscope", "analyze", str(checkpoints), "-o", str(output)]
        click.echo(f"$ {printable(shlex.join(command))}\n")
    told = {"quiet": quiet, "as_json": as_json}
    context.invoke(analyze, checkpoints=checkpoints, output=output, seed=seed, **told)
