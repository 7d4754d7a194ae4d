"""A result on disk: results.zarr, which holds everything, written beside its place and renamed."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import xarray as xr

from trajscope.errors import ResultsError, TrajscopeError, TrajscopeWarning, printable
from trajscope.files import clear_left, replaced_folder
from trajscope.report.content.results import Results
from trajscope.report.files.chunks import write_tree
from trajscope.report.files.completeness import MANIFEST, check_complete, write_manifest
from trajscope.report.files.marks import of_another_result
from trajscope.report.files.metadata import check_files, check_metadata, root_attributes
from trajscope.schema import check_results


def save_results(results: xr.DataTree, path: str | os.PathLike[str]) -> Path:
    """Store of the whole result at `path`, complete or not there at all.

    It is written beside its place under a hidden name and then renamed. A result that is already
    there is kept until the new one is complete, and put back if anything fails.

    Raises
    ------
    ResultsError
        `results` is not a finished result, something else than one lies at `path`, or it cannot
        be written there.
    """
    target = Path(path).resolve()
    with stored(results, target):
        pass
    return target


@contextmanager
def stored(results: xr.DataTree, target: Path) -> Iterator[str]:
    """The whole result beside `target`, whose place it takes at the end, and its `mark_of`.

    Raises
    ------
    ResultsError
        As `save_results`.
    """
    check_results(results)
    refuse_foreign(target)
    with in_words(target), replaced_folder(target, tidy=True) as unfinished:
        write_tree(results, unfinished)
        yield write_manifest(unfinished)


def open_results(path: str | os.PathLike[str]) -> xr.DataTree:
    """The result stored at `path`; its arrays are read when they are used.

    Every file is compared with the list that was written last, and the metadata is checked before
    any array is decoded, since a store may come from a stranger: filters that could run code are
    refused. A folder that a killed process had set aside is put back.

    Raises
    ------
    ResultsError
        Nothing is there, it is unfinished, damaged, copied only in part, or was not written by
        trajscope.

    Examples
    --------
    >>> import trajscope
    >>> results = trajscope.analyze(trajscope.simulate.brownian(64, 20, seed=1), n_surrogates=199)
    >>> page = trajscope.write_report(results, "opened")
    >>> trajscope.open_results("opened/results.zarr")["verdict"].attrs["code"]
    'brownian'
    """
    place = Path(path)
    if not os.path.lexists(place):
        clear_left(place)
    check_files(place)
    check_metadata(place)
    # What is foreign is told of as such, further down.
    is_ours = "trajscope" in root_attributes(place) or os.path.lexists(place / MANIFEST)
    mark = check_complete(place) if is_ours else ""
    if mark and (stale := of_another_result(place.parent, mark)):
        warnings.warn(
            f"{' and '.join(stale)} beside {printable(place)} {'are' if stale[1:] else 'is'} of "
            "another analysis: one was stopped while it wrote. 'trajscope report' writes "
            f"{'them' if stale[1:] else 'it'} again.",
            TrajscopeWarning,
            stacklevel=2,
        )
    try:
        results = xr.open_datatree(str(place), engine="zarr", chunks=None, consolidated=True)
    except Exception as error:  # xarray and zarr answer damage with many kinds of exception
        raise ResultsError(
            f"{printable(place)} cannot be opened as a result: {printable(error)}. "
            "Make it again with 'trajscope analyze'."
        ) from error
    check_results(results)
    return _shown_safely(results)


def _shown_safely(results: xr.DataTree) -> xr.DataTree:
    """The result with units and names of its arrays that can be shown on any screen."""
    parts = {node.path: node.to_dataset(inherit=False) for node in results.subtree}
    for part in parts.values():
        for array in part.variables.values():
            array.attrs = {
                str(name): printable(value, limit=1000) if isinstance(value, str) else value
                for name, value in array.attrs.items()
            }
    safe = Results.from_dict(parts)
    safe.encoding = results.encoding
    return safe


def refuse_foreign(target: Path) -> None:
    """Refuse to replace what lies at `target`, unless it is a result of trajscope.

    Raises
    ------
    ResultsError
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if "trajscope" not in root_attributes(target):
        raise ResultsError(
            f"{printable(target)} exists and is not a result of trajscope, so it is not replaced. "
            "Move it, or choose another folder with --output."
        )


def loaded(results: xr.DataTree) -> xr.DataTree:
    """`results` with every array in memory.

    Raises
    ------
    ResultsError
        Some array of the store that it was opened from is damaged.
    """
    try:
        return results.load()
    except Exception as error:  # each codec has its own kind of exception
        place = results.encoding.get("source", "The result")
        raise ResultsError(
            f"{printable(place)} is damaged: an array in it cannot be read ({printable(error)}). "
            "Make it again with 'trajscope analyze'."
        ) from error


@contextmanager
def damage_told(results: xr.DataTree) -> Iterator[None]:
    """Tell in words when what was opened from a file cannot be shown.

    Raises
    ------
    ResultsError
        Its arrays or attributes are not those that trajscope writes.
    """
    try:
        yield
    except TrajscopeError:
        raise
    except Exception as error:
        place = results.encoding.get("source")
        if place is None:  # made here: a bug
            raise
        raise ResultsError(
            f"{printable(place)} cannot be shown: its contents are not what trajscope writes "
            f"({type(error).__name__}: {printable(error)}). Make it again with 'trajscope analyze'."
        ) from error


@contextmanager
def in_words(target: Path) -> Iterator[None]:
    """Tell in words why something cannot be written."""
    try:
        yield
    except OSError as error:
        raise ResultsError(
            f"{printable(target)} cannot be written: {error.strerror or printable(error)}. Choose "
            "another folder with --output, or free disk space."
        ) from error
