"""The three files that a user gets: the page, the summary, and everything as a store."""

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import xarray as xr

from trajscope.errors import ResultsError, printable
from trajscope.files import locked_folder, obstacle, replaced
from trajscope.report.content.summary import summary
from trajscope.report.files.marks import PAGE, SUMMARY, marked_page, marked_summary
from trajscope.report.files.storage import damage_told, in_words, loaded, refuse_foreign, stored
from trajscope.report.page.gradient_noise_alone import is_alone, render_alone
from trajscope.schema import is_comparison

STORE = "results.zarr"
_LOG = logging.getLogger(__name__)


def write_report(results: xr.DataTree, out: str | os.PathLike[str]) -> Path:
    """Path of report.html in the folder `out`, with summary.json and results.zarr beside it.

    All three are written under hidden names, and renamed when the last is complete; `results` may
    have been opened from that very place. They have one mark, by which `open_results` sees whether
    a process was killed between two of the renames.

    Raises
    ------
    ResultsError
        `results` is not a finished result, or is damaged; a foreign results.zarr is in the way; the
        folder cannot be written to, or another process writes to it.

    Examples
    --------
    >>> import trajscope
    >>> results = trajscope.analyze(trajscope.simulate.brownian(64, 20, seed=1), n_surrogates=199)
    >>> trajscope.write_report(results, "written").name
    'report.html'
    """
    folder = Path(out)
    with damage_told(results):
        page = _renderer(results)(loaded(results))
        told = summary(results)
    with output_held(folder), ExitStack() as written:
        mark = written.enter_context(stored(results, (folder / STORE).resolve()))
        for name, text in ((SUMMARY, marked_summary(told, mark)), (PAGE, marked_page(page, mark))):
            written.enter_context(in_words(folder / name))
            written.enter_context(replaced(folder / name, tidy=True)).write(text.encode())
    _LOG.info("written: %s", printable(folder, limit=4096))
    return folder / PAGE


@contextmanager
def output_held(out: str | os.PathLike[str]) -> Iterator[None]:
    """The folder of a report, made where it is missing, for this process alone.

    Raises
    ------
    ResultsError
        Another process holds it, or it cannot be made.
    """
    folder = Path(out)
    with ExitStack() as held:
        try:
            held.enter_context(locked_folder(folder))
        except BlockingIOError as error:
            raise ResultsError(
                f"Another trajscope is writing to {printable(folder)}. Wait until it has finished, "
                "or choose another folder with --output."
            ) from error
        except OSError as error:
            raise ResultsError(
                f"{printable(folder)} cannot be written to: {error.strerror}. Choose another "
                "folder with --output."
            ) from error
        yield


def _renderer(results: xr.DataTree) -> Callable[[xr.DataTree], str]:
    if is_comparison(results):
        from trajscope.report.page.comparison import render_comparison

        return render_comparison
    if is_alone(results):
        return render_alone
    from trajscope.report.page.render import render

    return render


def write_summary(results: xr.DataTree, path: str | os.PathLike[str]) -> Path:
    """The file summary.json at `path`, written beside and renamed."""
    target = Path(path)
    text = json.dumps(summary(results), indent=2, allow_nan=False)
    with in_words(target), replaced(target, tidy=True) as unfinished:
        unfinished.write(f"{text}\n".encode())
    return target


def check_output(out: str | os.PathLike[str]) -> None:
    """Refuse a folder that `write_report` could not write to; nothing is made yet.

    Raises
    ------
    ResultsError
        It is no folder, it may not be written to, or a foreign results.zarr lies in it.
    """
    folder = Path(out)
    if what := obstacle(folder):
        raise ResultsError(
            f"{printable(folder)} is expected to be a folder for the report, but {what}. Choose "
            "another with --output."
        )
    refuse_foreign(folder / STORE)


def refuse_source(out: str | os.PathLike[str], sources: Sequence[str | os.PathLike[str]]) -> None:
    """Refuse a folder whose result is one of those that are read.

    Raises
    ------
    ResultsError
    """
    target = (Path(out) / STORE).resolve()
    for source in sources:
        if "://" not in str(source) and target in (
            Path(source).resolve(),
            (Path(source) / STORE).resolve(),
        ):
            raise ResultsError(
                f"{printable(target)} would be overwritten, but it is one of the compared runs. "
                "Choose another folder with --output."
            )
