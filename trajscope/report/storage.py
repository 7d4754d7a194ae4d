"""A result on disk: results.zarr, which holds everything, and summary.json for other programs."""

import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from trajscope.errors import ResultsError, printable
from trajscope.schema import COMPONENT, GROUP, STEP, TENSOR, check_results

# Format 2: strings and empty groups have a stable specification there, in every zarr release 3.x.
ZARR_FORMAT = 2
_METADATA = ".zmetadata"

# Filters that only rearrange bytes. Others exist that run code found in the file ("pickle").
_SAFE_FILTERS = frozenset({"vlen-utf8", "shuffle", "delta"})
_SAFE_COMPRESSORS = frozenset({"blosc", "zstd", "lz4", "zlib", "gzip"})


def save_results(results: xr.DataTree, path: str | os.PathLike[str]) -> Path:
    """Store of the whole result at `path`, complete or not there at all.

    It is written beside its place under a hidden name and then renamed. A result that is already
    there is kept until the new one is complete, and put back if anything fails.

    Raises
    ------
    ResultsError
        `results` is not a finished result, or something else than one lies at `path`.
    """
    check_results(results)
    target = Path(path).resolve()
    _refuse_foreign(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    storable = xr.DataTree.from_dict(
        {node.path: _storable(node.to_dataset(inherit=False)) for node in results.subtree}
    )
    with _beside(target) as workplace:
        storable.to_zarr(workplace / "new", zarr_format=ZARR_FORMAT, consolidated=True)
        _swap(workplace / "new", target)
    return target


def open_results(path: str | os.PathLike[str]) -> xr.DataTree:
    """The result stored at `path`; its arrays are read when they are used.

    Only the metadata is read, and it is checked before any array is decoded, since a store may
    come from a stranger: filters that could run code are refused.

    Raises
    ------
    ResultsError
        Nothing is there, it is unfinished, damaged, or was not written by trajscope.
    """
    place = Path(path)
    _check_metadata(place)
    try:
        results = xr.open_datatree(place, engine="zarr", chunks=None, consolidated=True)
    except Exception as error:  # xarray and zarr answer damage with many kinds of exception
        raise ResultsError(
            f"{printable(place)} cannot be opened as a result: {printable(error)}. "
            "Make it again with 'trajscope analyze'."
        ) from error
    check_results(results)
    return results


def stored_at(results: xr.DataTree, path: str | os.PathLike[str]) -> bool:
    """Whether `results` was opened from the store at `path`."""
    source = results.encoding.get("source")
    return isinstance(source, str) and Path(source).resolve() == Path(path).resolve()


def summary(results: xr.DataTree) -> dict[str, object]:
    """What summary.json holds: the trajectory in brief and one number per scalar observable.

    Every value is plain JSON; a number that could not be measured is null, and steps that are
    whole numbers are integers. `SCALARS` names and describes the observables.
    """
    check_results(results)
    trajectory = results["trajectory"].to_dataset()
    told = trajectory.attrs
    return {
        "trajscope": str(results.attrs["trajscope"]),
        "trajectory": {
            "checkpoints": int(trajectory.sizes[STEP]),
            "steps": [plain(step) for step in trajectory[STEP].values],
            "step_unit": str(told.get("step_unit", "index")),
            "step_source": str(told.get("step_source", "")),
            "weights": int(trajectory["row_size"].sum()),
            "tensors": [str(name) for name in trajectory[TENSOR].values],
            "left_out": plain(told.get("left_out", [])),
            "skipped": plain(told.get("skipped", [])),
            "run": str(told.get("run", "")),
        },
        "observables": _scalars(results["observables"].to_dataset()),
        "tests": {},
        "verdict": None,
        "diffusion": None,
    }


def write_summary(results: xr.DataTree, path: str | os.PathLike[str]) -> Path:
    """The file summary.json at `path`, written beside and renamed."""
    text = json.dumps(summary(results), indent=2, allow_nan=False)
    return replace_text(Path(path), text + "\n")


def replace_text(path: Path, text: str) -> Path:
    """The file at `path` with `text` as its content; a reader sees the old or the new, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _beside(path) as workplace:
        (workplace / "new").write_text(text, encoding="utf-8", newline="\n")
        os.replace(workplace / "new", path)
    return path


def plain(value: Any) -> Any:
    """`value` as JSON knows it: numbers whole where they are, null for what is no finite number."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value.tolist()]
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() else value
    return value if value is None or isinstance(value, (bool, int)) else _encodable(str(value))


def _last_displacement(observables: xr.Dataset) -> object:
    return observables["displacement"].isel({GROUP: 0, STEP: -1}).item()


def _weights_never_moving(observables: xr.Dataset) -> object:
    whole = observables.isel({GROUP: 0})
    return whole["n_weights"].item() - whole["n_moving"].item()


def _of_all(name: str) -> Callable[[xr.Dataset], object]:
    return lambda observables: observables[name].isel({GROUP: 0}).item()


SCALARS: Mapping[str, tuple[str, Callable[[xr.Dataset], object]]] = {
    "diffusion_exponent": (
        "slope of log mean squared displacement on log lag",
        _of_all("diffusion_exponent"),
    ),
    "path_length": ("sum of the lengths of all increments, weight units", _of_all("path_length")),
    "displacement": ("distance from first to last checkpoint, weight units", _last_displacement),
    "increment_rms": ("root mean square increment of a weight", _of_all("increment_rms")),
    "zero_increment_fraction": (
        "share of weight increments that are exactly zero",
        _of_all("zero_increment_fraction"),
    ),
    "rounding_floor": (
        "root mean square rounding error of the stored dtype, weight units",
        _of_all("rounding_floor"),
    ),
    "weights_never_moving": ("weights equal at every checkpoint", _weights_never_moving),
}
"""Scalar observables of all weights together: key, meaning, and where the number is found.

Besides these there is ``explained_variance_1``, ``_2``, ...: the share of each component.
"""


def _scalars(observables: xr.Dataset) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, (_, value) in SCALARS.items():
        try:
            found[name] = plain(value(observables))
        except KeyError:  # an observable that this result does not hold
            found[name] = None
    if "explained_variance" in observables:
        shares = observables["explained_variance"].isel({GROUP: 0})
        for component, share in zip(shares[COMPONENT].values, shares.values, strict=True):
            found[f"explained_variance_{int(component)}"] = plain(share)
    return found


def _storable(dataset: xr.Dataset) -> xr.Dataset:
    """`dataset` with its strings in a fixed width, which keeps names that are not valid UTF-8."""
    texts = {
        name: array.astype(str) for name, array in dataset.variables.items() if array.dtype.kind in "OT"
    }
    bare = dataset.drop_encoding().assign_coords(
        {name: text for name, text in texts.items() if name in dataset.coords}
    )
    stored = bare.assign({name: text for name, text in texts.items() if name in dataset.data_vars})
    stored.attrs = _stored_attributes(dataset.attrs)
    return stored


def _stored_attributes(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        str(key): value.item() if isinstance(value, np.generic) else value
        for key, value in attributes.items()
    }


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A hidden folder next to `target`, hence on the same file system; removed afterwards."""
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as name:
        yield Path(name)


def _swap(new: Path, target: Path) -> None:
    """`new` in the place of `target`, which is put back if that fails."""
    # Not inside the temporary folder: should even putting it back fail, the old result survives.
    aside = target.with_name(f".{target.name}.old-{os.getpid()}")
    with suppress(FileNotFoundError):
        os.replace(target, aside)
    try:
        os.replace(new, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.replace(aside, target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _refuse_foreign(target: Path) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if "trajscope" not in _root_attributes(target):
        raise ResultsError(
            f"{printable(target)} is in the way: a result of trajscope may be replaced, but this "
            "is something else. Move it away, or choose another folder with --output."
        )


def _root_attributes(place: Path) -> Mapping[str, object]:
    try:
        found = json.loads((place / ".zattrs").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _check_metadata(place: Path) -> None:
    if not place.exists():
        raise ResultsError(
            f"{printable(place)} does not exist; a results.zarr folder is expected. "
            "Make one with 'trajscope analyze'."
        )
    try:
        described = json.loads((place / _METADATA).read_bytes())["metadata"]
        arrays = {key: value for key, value in described.items() if key.endswith(".zarray")}
        codecs = [codec for array in arrays.values() for codec in _unsafe_codecs(array)]
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        inside = place / "results.zarr"
        hint = f"Did you mean {printable(inside)}?" if inside.is_dir() else "Name the results.zarr folder."
        raise ResultsError(
            f"{printable(place)} is not a result of trajscope: it has no readable {_METADATA}. "
            f"{hint}"
        ) from error
    if codecs:
        raise ResultsError(
            f"{printable(place)} is not opened: it asks for the codec {printable(codecs[0])}, "
            "which trajscope never writes and which could run code. Make the result again."
        )


def _unsafe_codecs(array: Mapping[str, Any]) -> list[str]:
    filters = [item["id"] for item in array["filters"] or () if item["id"] not in _SAFE_FILTERS]
    compressor = array["compressor"]
    if compressor is not None and compressor["id"] not in _SAFE_COMPRESSORS:
        filters.append(compressor["id"])
    return filters


def _encodable(text: str) -> str:
    """`text` with bytes that are no UTF-8 (lone surrogates) shown as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
