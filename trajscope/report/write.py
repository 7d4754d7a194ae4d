"""The three files that a user gets: the page, the summary, and everything as a store."""

import os
from pathlib import Path

import xarray as xr

from trajscope.report.html import render
from trajscope.report.storage import replace_text, save_results, stored_at
from trajscope.report.summary import write_summary

PAGE, SUMMARY, STORE = "report.html", "summary.json", "results.zarr"


def write_report(results: xr.DataTree, out: str | os.PathLike[str]) -> Path:
    """Path of report.html in the folder `out`, with summary.json and results.zarr beside it.

    Each is written under a hidden name and renamed when complete. The store is left as it is when
    `results` was opened from that very place.

    Raises
    ------
    ResultsError
        `results` is not a finished result, or a foreign results.zarr is in the way.
    """
    folder = Path(out)
    page = render(results)
    if not stored_at(results, folder / STORE):
        save_results(results, folder / STORE)
    write_summary(results, folder / SUMMARY)
    return replace_text(folder / PAGE, page)
