"""Commands that measure: of one run, of several, and their gradient noise."""

import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trajscope.cli.gradients import (
    measured_noise,
    noise_options,
    optimizer_of,
    prepared_noise,
    tested_theory,
)
from trajscope.cli.grouped import Grouped
from trajscope.cli.options import (
    CHECKPOINTS,
    COMPARISON,
    ENGINE,
    ENGINE_NAMES,
    EXACT,
    HISTORY,
    INFERENCE,
    INFERENCE_NAMES,
    JSON,
    MEMORY,
    OUTPUT,
    PHASES,
    QUIET,
    RUNS,
    SCHEDULE,
    SEED,
    SELECTION,
    SPECTRA,
    WINDOWS,
    opened,
    output_to,
    with_options,
)
from trajscope.cli.process import (
    hold,
    join,
    progress,
    silence_dask,
    tell_json,
    uncollected,
    warnings_kept_for_the_page,
)
from trajscope.cli.training import MOMENTUM, PROBLEM, TRAINING, WEIGHT_DECAY
from trajscope.errors import TrajscopeError, printable

if TYPE_CHECKING:
    import xarray as xr


@click.command(cls=Grouped)
@CHECKPOINTS
@with_options(
    OUTPUT,
    *SELECTION,
    WINDOWS,
    PHASES,
    SPECTRA,
    EXACT,
    *SCHEDULE,
    *ENGINE,
    *INFERENCE,
    *PROBLEM,
    WEIGHT_DECAY,
    HISTORY,
    QUIET,
    JSON,
)
def analyze(
    checkpoints: Path | str, output: Path, quiet: bool, as_json: bool, **options: Any
) -> None:
    """Analyze the checkpoints in DIR and write a report.

    With --problem, also measure the covariance of per-sample gradients at some of them; with the
    settings of the optimizer too, test whether the theory of SGD's steady state holds. With these
    settings alone there is what needs no gradients.

    Example: trajscope analyze runs/resnet18/checkpoints --burn-in 20%
    """
    silence_dask()
    with uncollected():
        import xarray as xr

        from trajscope.analysis.run import analyze as analyze_run
        from trajscope.report import check_output, reading_lines, summary, write_report

    join(options["scheduler"])
    check_output(output)
    hold(output)
    silent = quiet or as_json
    noise = noise_options(options)
    optimizer = optimizer_of(options)
    engine = {name: options[name] for name in (*ENGINE_NAMES, *INFERENCE_NAMES)}
    with warnings_kept_for_the_page():
        trajectory = opened(checkpoints, options)
        if not silent:
            click.echo("\n".join(reading_lines(trajectory)) + "\n")
        prepared = prepared_noise(trajectory, options["problem"], noise)
        tested = None
        if optimizer is not None:
            tested = tested_theory(trajectory, optimizer, options | {"quiet": quiet})
        told: list[str] = []
        with progress("one pass over the weights", quiet) as advance:
            results = analyze_run(
                trajectory,
                **engine,
                history=_history(output, options, advance, told),
                resume=output / "parts",
                strict=options["strict"],
                windows=options["windows"],
                phases=options["phases"],
                spectra=options["spectra"],
                exact=options["exact"],
                lr_schedule=options["lr_schedule"],
                epoch_steps=options["epoch_steps"],
                updates_per_epoch=prepared.updates_per_epoch if prepared is not None else None,
                directions=tested.directions if tested is not None else None,
                progress=advance,
            )
    results.attrs["command"] = shlex.join(["trajscope", *sys.argv[1:]])
    if tested is not None:
        tested.add_to(results)
    # Before the gradients, which may take hours and run the user's code.
    page = write_report(results, output)
    if not silent:
        click.echo("".join(f"{line}\n\n" for line in told), nl=False)
        _show(results, page, trajectory)
    if prepared is not None:
        try:
            results["diffusion"] = xr.DataTree(measured_noise(prepared.again(), quiet))
            write_report(results, output)
        except TrajscopeError as error:
            done = (
                "The analysis without gradient noise is finished: "
                f"{printable(str(page), limit=4096)}"
            )
            raise type(error)(f"{error} {done}") from error
        prepared.clear()
        if not silent:
            from trajscope.report.screen.gradient_noise import diffusion_lines

            click.echo("\n" + "\n".join(diffusion_lines(results["diffusion"].to_dataset())))
    if tested is not None and not silent:
        from trajscope.report.screen.dynamics import dynamics_lines

        click.echo("\n" + "\n".join(dynamics_lines(results["dynamics"].to_dataset())))
    if as_json:
        tell_json(summary(results) | {"report": printable(str(page), limit=4096)})


def _show(results: "xr.DataTree", page: Path, trajectory: "xr.Dataset") -> None:
    """Print a finished result."""
    from trajscope.report.screen.result import screen

    click.echo(screen(results, page=page, told=trajectory))


@click.command(cls=Grouped)
@RUNS
@with_options(
    output_to("trajscope-comparison"),
    *COMPARISON,
    *TRAINING,
    *SELECTION,
    *ENGINE,
    *INFERENCE,
    QUIET,
    JSON,
)
def compare(
    runs: tuple[Path | str, ...], output: Path, labels: tuple[str, ...], **options: Any
) -> None:
    """Compare two or more RUNs: folders of checkpoints, or reports of earlier analyses.

    Each run is analyzed, and every pair is tested for differences in increment variance, variance
    ratio, spectral shape and drift, and for the same stationary law up to the ratio of learning
    rate over batch size. --replicas also pools runs that differ only in their seed.

    Example: trajscope compare runs/seed-1 runs/seed-2
    """
    silence_dask()
    from trajscope.analysis.compare import compare as compare_runs
    from trajscope.report import check_output, summary, write_report
    from trajscope.report.files.write import refuse_source
    from trajscope.report.screen.result import screen

    quiet, as_json = (options.pop(name) for name in ("quiet", "as_json"))
    join(options["scheduler"])
    check_output(output)
    refuse_source(output, runs)
    hold(output)
    with warnings_kept_for_the_page(), progress("one pass over the weights", quiet) as advance:
        results = compare_runs(*runs, labels=labels or None, progress=advance, **options)
    results.attrs["command"] = shlex.join(["trajscope", *sys.argv[1:]])
    page = write_report(results, output)
    if as_json:
        tell_json(summary(results) | {"report": printable(str(page), limit=4096)})
    elif not quiet:
        click.echo(screen(results, page=page))


@click.command(cls=Grouped)
@CHECKPOINTS
@with_options(OUTPUT, *SELECTION, *PROBLEM, MOMENTUM, MEMORY, SEED, QUIET, JSON)
def diffusion(
    checkpoints: Path | str, output: Path, quiet: bool, as_json: bool, **options: Any
) -> None:
    """Measure the covariance of per-sample gradients at selected checkpoints in DIR.

    This needs the model, the data and the loss: a function, in a module or a file, that returns
    trajscope.Problem(model, data, loss). If OUT contains an analysis of the same run, the result
    is added to it.

    Example: trajscope diffusion runs/resnet18/checkpoints --problem problem.py:make_problem
    """
    silence_dask()
    from trajscope.gradient_noise.api import prepare
    from trajscope.report import open_results, reading_lines, summary
    from trajscope.report.files.write_gradient_noise import check_diffusion_output, write_diffusion
    from trajscope.report.screen.gradient_noise import diffusion_lines

    noise = noise_options(options)
    if noise is None:
        raise click.UsageError("--problem is missing: FILE.py:FUNCTION or MODULE:FUNCTION.")
    with warnings_kept_for_the_page():
        trajectory = opened(checkpoints, options)
        hold(output)
        check_diffusion_output(trajectory, output)
        if not quiet and not as_json:
            click.echo("\n".join(reading_lines(trajectory)) + "\n")
        prepared = prepare(trajectory, options["problem"], noise)
        found = measured_noise(prepared, quiet)
    command = shlex.join(["trajscope", *sys.argv[1:]])
    page = write_diffusion(trajectory, found, output, command=command)
    prepared.clear()
    if as_json:
        written = summary(open_results(page.parent / "results.zarr"))
        tell_json(written | {"report": printable(str(page), limit=4096)})
    elif not quiet:
        click.echo("\n".join(diffusion_lines(found)))
        click.echo(f"\nReport    {printable(str(page), limit=4096)}")


def _history(
    output: Path, options: Mapping[str, Any], advance: Callable[[int, int], None], told: list[str]
) -> "Callable[[xr.Dataset], AbstractContextManager[xr.Dataset]] | None":
    """Reader of the weights from the history in OUT; it adds a line on what was read to `told`."""
    choice = options["history"]
    if choice == "never" or (choice == "auto" and options["scheduler"]):  # may not see OUT
        return None
    from trajscope.history.kept import remembered

    @contextmanager
    def from_history(trajectory: "xr.Dataset") -> "Iterator[xr.Dataset]":
        folder, always = output / "history", choice == "always"
        with remembered(trajectory, folder, always=always, progress=advance) as found:
            told.append(found.line)
            yield found.trajectory

    return from_history
