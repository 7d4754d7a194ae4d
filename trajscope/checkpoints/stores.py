"""Stores below a folder: those that are a whole trajectory, and those that hold one step."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trajscope.checkpoints.base import (
    Candidate,
    Checkpoint,
    CheckpointPart,
    Series,
    Store,
)
from trajscope.checkpoints.clocks import is_free
from trajscope.checkpoints.counters import Step
from trajscope.checkpoints.names import counts_steps, read_name
from trajscope.checkpoints.scan import Scan, regular_file
from trajscope.errors import CheckpointError, printable
from trajscope.readers.zarr.group import ANCHORS, READER
from trajscope.readers.zarr.metadata import array_metadata


def read_stores(found: Scan) -> tuple[dict[str, Store], list[Candidate]]:
    """The stores that are trajectories, by relative path, and candidates for those of one step.

    A store holds one step if its name says which ("step_10.zarr") and it has no steps of its own.
    Arrays without a group below a folder that is numbered like a step are its files, as .npy files
    are. Others that cannot be read are skipped.
    """
    stores: dict[str, Store] = {}
    single: list[Candidate] = []
    for path, relative, reader in found.stores:
        if _is_array_of_step(path, relative):
            one = _one_step(found, path, relative)
            single.extend([_as_file(one)] if one is not None else [])
            continue
        try:
            store = Store(path, reader, reader.read_header(path))
        except CheckpointError as error:
            one = _one_step(found, path, relative) if read_name(relative, "").texts else None
            if one is None:
                found.skip(relative, str(error))
            else:
                single.append(one)
            continue
        if store.header.steps is None and counts_steps(path.name):
            one = _one_step(found, path, relative)
            single.extend([one] if one is not None else [])
        else:
            stores[relative] = store
    return stores, single


def _is_array_of_step(path: Path, relative: str) -> bool:
    """Whether a store is one array in the tree of a step, as TensorStore writes without groups."""
    *above, own = relative.split("/")
    if own.lower().endswith(".zarr") or not any(map(counts_steps, above)):
        return False
    try:
        return array_metadata(path) is not None
    except CheckpointError:
        return False


def _as_file(candidate: Candidate) -> Candidate:
    """The candidate of an array, called by the file that holds its metadata."""
    anchor = next(name for name in ANCHORS if (candidate.path / name).is_file())
    relative = f"{candidate.relative}/{anchor}"
    return replace(
        candidate,
        path=candidate.path / anchor,
        relative=relative,
        name=read_name(relative, ""),
    )


def _one_step(found: Scan, path: Path, relative: str) -> Candidate | None:
    """The checkpoint that a folder store is; `None` if it is a file, or its metadata is none."""
    anchor = next((name for name in ANCHORS if (path / name).is_file()), None)
    if anchor is None:
        return None
    file = regular_file(
        found, path / anchor, f"{relative}/{anchor}", is_link=(path / anchor).is_symlink()
    )
    if file is None:
        return None
    ending = ".zarr" if relative.lower().endswith(".zarr") else ""
    name = read_name(relative, ending)
    try:
        part = CheckpointPart(file, READER, READER.read_header(file.path))
    except CheckpointError as error:
        return Candidate(path, relative, name, damage=str(error))
    return Candidate(path, relative, name, (part,))


def store_series(root: Path, name: str, store: Store, exclude: tuple[str, ...]) -> Series:
    """The series that lies in one store, ordered by its own step coordinate where it has one."""
    header = store.header
    unit, source = header.step_unit, header.step_source
    values: Sequence[float] = header.steps or ()
    if len(values) != header.n_steps or not all(math.isfinite(value) for value in values):
        values = range(header.n_steps)
        unit, source = "index", "position along the step axis"
    rows: dict[Step, int] = {}
    for row, value in enumerate(values):
        rows[int(value) if float(value).is_integer() else float(value)] = row
    warnings = []
    if header.unwritten:
        warnings.append(
            f"{printable(name)}: the last {header.unwritten} of "
            f"{header.n_steps + header.unwritten} entries of the step axis are unwritten and left "
            "out. Open it again after training has finished."
        )
    if len(rows) < header.n_steps:
        warnings.append(
            f"{printable(name)}: {header.n_steps - len(rows)} entries of the step axis repeat a "
            "step; the last of each is used."
        )
    coordinates = {key: own for key, own in header.coordinates.items() if is_free(key)}
    return Series(
        root=root,
        run=name,
        runs=(name,),
        checkpoints=tuple(
            Checkpoint(
                step,
                store.path,
                name,
                row=row,
                counts=tuple(own[row] for own in coordinates.values()),
            )
            for step, row in sorted(rows.items())
        ),
        coordinates=tuple(coordinates),
        step_unit=unit,
        step_source=source,
        warnings=tuple(warnings),
        unmatched=exclude,
        store=store,
    )
