"""The diffusion matrix into the folder of a report: beside an analysis, or alone."""

import os
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import xarray as xr

from trajscope.errors import ResultsError, printable
from trajscope.report.files.storage import loaded, open_results, refuse_foreign
from trajscope.report.files.write import STORE, check_output, write_report
from trajscope.schema import RESULT_PARTS, STEP
from trajscope.units import labelled

_ALONE = "Only gradient noise was measured; run 'trajscope analyze' for the rest."


def check_diffusion_output(trajectory: xr.Dataset, out: str | os.PathLike[str]) -> None:
    """Refuse a folder that holds the analysis of another run, or cannot be written to.

    Raises
    ------
    ResultsError
        As `check_output`, or the result there is of other weights.
    """
    check_output(out)
    _analysis_there(trajectory, Path(out))


def write_diffusion(
    trajectory: xr.Dataset, found: xr.Dataset, out: str | os.PathLike[str], *, command: str = ""
) -> Path:
    """Path of report.html in the folder `out`, with the diffusion matrix in all three files.

    A result of the same run that lies there keeps everything else it holds.

    Parameters
    ----------
    trajectory :
        As it was opened.
    found :
        As `trajscope.diffusion` returns it.

    Raises
    ------
    ResultsError
        As `check_diffusion_output`.
    """
    folder = Path(out)
    there = _analysis_there(trajectory, folder)
    if there is not None:
        parts = {node.path: node.to_dataset(inherit=False) for node in loaded(there).subtree}
        return write_report(xr.DataTree.from_dict(parts | {"/diffusion": found}), folder)
    return write_report(_alone(trajectory, found, command), folder)


def _analysis_there(trajectory: xr.Dataset, folder: Path) -> xr.DataTree | None:
    """The analysis of the same run in `folder`; none where there is nothing but gradient noise."""
    if not (folder / STORE).exists() or not any((folder / STORE).iterdir()):
        return None
    refuse_foreign(folder / STORE)
    there = open_results(folder / STORE)
    if not there["observables"].data_vars:
        return None
    seen = there["trajectory"]
    same = all(
        str(seen.attrs.get(name, "")) == str(trajectory.attrs.get(name, ""))
        for name in ("source", "run")
    )
    if not same or list(seen["tensor"].to_numpy()) != list(trajectory["tensor"].to_numpy()):
        raise ResultsError(
            f"{printable(folder)} holds the analysis of "
            f"{printable(seen.attrs.get('source', ''))}, which covers another run or other "
            "tensors. Choose another folder with --output, or analyze again with --problem."
        )
    if there.attrs.get("fingerprint") != trajectory.attrs.get("fingerprint"):
        raise ResultsError(
            f"{printable(folder)} holds an analysis of {printable(seen.attrs.get('source', ''))} "
            f"as it was on {printable(there.attrs.get('created', 'another day'))}; its "
            "checkpoints have changed since, or the selection differs. Choose another folder with "
            "--output, or analyze again with --problem."
        )
    return there


def _alone(trajectory: xr.Dataset, found: xr.Dataset, command: str) -> xr.DataTree:
    root = {
        "trajscope": version("trajscope"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "seed": found.attrs["seed"],
        "fingerprint": trajectory.attrs.get("fingerprint", ""),
        "timings": {"diffusion_s": found.attrs["seconds"]},
    }
    read = trajectory.drop_vars("weights").assign_attrs(
        checkpoints=trajectory.sizes[STEP], weights=trajectory.sizes["weight"]
    )
    empty = {f"/{part}": xr.Dataset(attrs={"reason": _ALONE}) for part in RESULT_PARTS}
    read = labelled(read, str(read.attrs.get("step_unit", "index")))
    parts = {"/": xr.Dataset(attrs=root), "/trajectory": read, "/diffusion": found}
    return xr.DataTree.from_dict({**empty, **parts})
