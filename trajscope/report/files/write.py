"""The three files that a user gets: the page, the summary, and everything as a store."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import xarray as xr

from trajscope.errors import ResultsError, printable
from trajscope.files import obstacle
from trajscope.report.content.summary import summary
from trajscope.report.files.storage import (
    loaded,
    refuse_foreign,
    replace_text,
    save_results,
)
from trajscope.report.page.comparison import render_comparison
from trajscope.report.page.gradient_noise_alone import is_alone, render_alone
from trajscope.report.page.render import render
from trajscope.schema import is_comparison

PAGE, SUMMARY, STORE = "report.html", "summary.json", "results.zarr"


def write_report(results: xr.DataTree, out: str | os.PathLike[str]) -> Path:
    """Path of report.html in the folder `out`, with summary.json and results.zarr beside it.

    Each is written under a hidden name and renamed when complete; `results` may have been opened
    from that very place.

    Raises
    ------
    ResultsError
        `results` is not a finished result, or is damaged; a foreign results.zarr is in the way;
        or the folder cannot be written to.
    """
    folder = Path(out)
    page = _renderer(results)(loaded(results))
    save_results(results, folder / STORE)
    write_summary(results, folder / SUMMARY)
    return replace_text(folder / PAGE, page)


def _renderer(results: xr.DataTree) -> Callable[[xr.DataTree], str]:
    if is_comparison(results):
        return render_comparison
    return render_alone if is_alone(results) else render


def write_summary(results: xr.DataTree, path: str | os.PathLike[str]) -> Path:
    """The file summary.json at `path`, written beside and renamed."""
    text = json.dumps(summary(results), indent=2, allow_nan=False)
    return replace_text(Path(path), text + "\n")


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
