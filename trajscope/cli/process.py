"""How every command fails, ends, warns and shows progress."""

import errno
import gc
import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import click

from trajscope.errors import TrajscopeError, TrajscopeWarning, printable

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Refusal(click.ClickException):
    """A deliberate failure, shown as one message."""

    exit_code = 2


class Commands(click.Group):
    """Show deliberate failures as one message; let bugs keep their traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run from the command line; a disk that is full, also for the output, is no bug."""
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            what = printable(error.filename or "The output")
            told = f"{what} cannot be written: {error.strerror}. Free disk space, and try again."
            click.echo(f"Error: {told}", err=True)
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes what is left
            sys.exit(Refusal.exit_code)

    def invoke(self, ctx: click.Context) -> Any:  # click leaves a command's result open
        """Run the command that was asked for."""
        try:
            with _terminated_in_words():
                return super().invoke(ctx)
        except TrajscopeError as error:
            raise Refusal(str(error)) from error
        except Terminated:
            leave_at_once("Terminated: what was unfinished is removed.", 143)
        except KeyboardInterrupt:
            leave_at_once("Aborted!", 130)


class Terminated(KeyboardInterrupt):
    """Somebody wants the process to end, as batch systems do when its time is up."""


@contextmanager
def _terminated_in_words() -> Iterator[None]:
    """Take the signal that ends a process as an interrupt: files are tidied up, and words said."""
    if threading.current_thread() is not threading.main_thread():  # which alone takes signals
        yield
        return

    def stop(*_: object) -> NoReturn:
        raise Terminated

    former = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former or signal.SIG_DFL)


def leave_at_once(word: str, code: int) -> NoReturn:
    """End the process now: a task that is running cannot be stopped, and Python would await it."""
    click.echo(word, err=True)
    with suppress(OSError):
        sys.stdout.flush()
    os._exit(code)


def tell_json(told: Mapping[str, object]) -> None:
    """Print as JSON, for other programs."""
    click.echo(json.dumps(told, indent=2, allow_nan=False))


def hold(output: Path) -> None:
    """Keep other processes from writing to a folder until the command ends, or refuse it."""
    from trajscope.report.files.write import output_held

    click.get_current_context().with_resource(output_held(output))


def join(scheduler: str | None) -> None:
    """In a Slurm step, go on as one of its tasks only; the others serve it, and end here.

    To be called before anything is written or said, which all of them would do.
    """
    if scheduler == "slurm":
        silence_dask()
        from trajscope.measure.cluster import slurm_client

        click.get_current_context().with_resource(slurm_client())


@contextmanager
def uncollected() -> Iterator[None]:
    """Import without looking for garbage, and never look for it in what was imported.

    The search takes a tenth of the time of a small analysis, and modules are no garbage.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def silence_dask() -> None:
    """Silence the log of dask: what matters in it is raised as an error as well.

    To be called before dask is imported; worker processes inherit it.
    """
    loggers = ("distributed", "distributed.client", "asyncio")
    os.environ.setdefault("DASK_LOGGING", repr(dict.fromkeys(loggers, "critical")))


@contextmanager
def warnings_kept_for_the_page() -> Iterator[None]:
    """Suppress trajscope's own warnings: the screen and the report show them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrajscopeWarning)
        yield


@contextmanager
def warnings_kept_to_tell() -> Iterator[list[str]]:
    """Collect trajscope's own warnings, for a command that has no page; others show as ever."""
    told: list[str] = []
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", TrajscopeWarning)
        yield told
    for each in seen:
        if issubclass(each.category, TrajscopeWarning):
            told.append(str(each.message))
        else:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


@contextmanager
def progress(title: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, removed at the end; none if this is not a terminal."""
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
