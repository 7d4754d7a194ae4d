"""The command that looks at a run while it is trained."""

import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trajscope.cli.grouped import Grouped
from trajscope.cli.options import (
    EXCLUDE,
    INCLUDE,
    JSON,
    QUIET,
    RUN,
    WATCHING,
    WEIGHTS,
    output_to,
    with_options,
)
from trajscope.cli.process import hold, silence_dask, warnings_kept_for_the_page
from trajscope.errors import printable
from trajscope.files import replaced

if TYPE_CHECKING:
    import xarray as xr

_SHARE = 10
"""Times what a look took that has to pass before the next."""
_CLEAR = "\x1b[H\x1b[2J\x1b[3J"


@click.command(cls=Grouped)
@click.argument(
    "checkpoints", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@with_options(
    output_to("trajscope-watch", "watch.html"),
    RUN,
    INCLUDE,
    EXCLUDE,
    WEIGHTS,
    *WATCHING,
    QUIET,
    JSON,
)
def watch(checkpoints: Path, output: Path, interval: int, serve: str | None, **given: Any) -> None:
    """Look at DIR while checkpoints are written to it, until interrupted.

    Each new checkpoint is read once. The verdict so far, noise, displacement and alarms (NaN,
    jumps, identical copies) are shown here and on OUT/watch.html, which reloads itself.

    Example: trajscope watch runs/resnet18/checkpoints
    """
    silence_dask()
    from trajscope.analysis.watch import Watcher
    from trajscope.report import check_output
    from trajscope.report.files.serve import served
    from trajscope.report.page.watch import PAGE, render_watch

    quiet, as_json = (given.pop(name) for name in ("quiet", "as_json"))
    check_output(output)
    hold(output)
    shown = ""
    with ExitStack() as running, warnings_kept_for_the_page():
        server = running.enter_context(served(serve)) if serve is not None else None
        watcher = Watcher(checkpoints, output, given)
        while True:
            began = time.monotonic()
            for state in watcher.look():
                page = render_watch(state, seconds=interval).encode()
                with replaced(output / PAGE, tidy=True) as file:
                    file.write(page)
                if server is not None:
                    server.text = page
                where = server.address if server is not None else str(output / PAGE)
                if as_json:
                    shown = _line(state, where, shown)
                elif not quiet:
                    shown = _show(state, where, shown)
            time.sleep(max(interval, _SHARE * (time.monotonic() - began)))


def _line(state: "xr.Dataset", where: str, before: str) -> str:
    """Print a state as one line of JSON, where it differs from the one before."""
    from trajscope.report.content.watched import in_json

    text = json.dumps(in_json(state) | {"page": printable(where, limit=4096)}, allow_nan=False)
    if text != before:
        click.echo(text)
    return text


def _show(state: "xr.Dataset", where: str, before: str) -> str:
    """Show a state in the place of the one before; in a file or a pipe, only where it differs."""
    from trajscope.report.screen.watch import watch_screen

    text = watch_screen(state, page=printable(where, limit=4096))
    if text != before:
        click.echo((_CLEAR if sys.stdout.isatty() else "") + text + "\n")
    return text
