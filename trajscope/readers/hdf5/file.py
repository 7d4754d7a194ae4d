"""HDF5 files that hold the weights at one step, such as Keras's ``.weights.h5`` and ``.keras``."""

import re
from collections import defaultdict
from functools import lru_cache
from pathlib import Path

from trajscope.errors import CheckpointError, printable
from trajscope.readers import ranges
from trajscope.readers.base import Header, Reader, TensorSpec, Values, stored_dtype, widened
from trajscope.readers.hdf5.objects import Array, attributes_of, list_arrays, read_flat
from trajscope.readers.hdf5.opening import SIGNATURE, damaged, opened
from trajscope.readers.natural import natural_key
from trajscope.readers.ranges import Place, paired, row_major

# Keras numbers the variables of a layer; those of a batch normalisation end with two statistics.
_VARIABLE = re.compile(r"(?P<layer>(?:.*/)?(?P<kind>[^/]*)/vars)/(?P<number>\d{1,4})", re.ASCII)
_BATCH_NORM = re.compile(r"batch_normalization(_\d+)?", re.ASCII)


def recognises(path: Path, first: bytes) -> bool:
    """Whether the file starts like HDF5, or is a zip archive of the name that Keras gives."""
    archive = path.name.lower().endswith(".keras") and first.startswith(b"PK\x03\x04")
    return first.startswith(SIGNATURE) or archive


def read_header(path: Path) -> Header:
    """Datasets of the file by their path in it, and the numbers and texts among its attributes.

    Raises
    ------
    CheckpointError
        It is damaged or unfinished, an array is not stored in the file itself, or h5py is missing.
    """
    arrays = list_arrays(path)
    for name, array in arrays.items():
        if array.dtype.startswith(("float", "complex")) and array.problem:
            raise CheckpointError(
                f"{printable(path)}: array '{printable(name)}' is not read, since {array.problem}. "
                "Write the file again, or leave it out with --exclude."
            )
    statistics = _statistics(arrays)
    specs = tuple(
        (name, _spec(name, arrays[name], "buffer" if name in statistics else ""))
        for name in sorted(arrays, key=natural_key)
    )
    return Header(_shared(specs), attributes_of(path))


def read_range(path: Path, spec: TensorSpec, start: int, stop: int) -> Values:
    """Elements ``start:stop`` of the flattened tensor, through the HDF5 library where it must be.

    Raises
    ------
    CheckpointError
        The data is damaged, or the file has changed.
    """
    if spec.offset is not None or len(spec.locator) != 1:
        return ranges.read_range(path, spec, start, stop)
    name = str(spec.locator[0])
    dtype = stored_dtype(spec.dtype)
    try:
        with opened(path) as file:
            dataset = file[name]
            found = paired(TensorSpec(dataset.shape, dataset.dtype.name))
            if (found.shape, found.dtype) != (spec.shape, spec.dtype):
                raise ValueError(f"{name} has a different shape or dtype than before")
            values = read_flat(dataset, start, stop)
    except CheckpointError:
        raise
    except Exception as error:  # the library raises whatever it likes on damaged data
        raise damaged(path, error) from error
    return widened(values.astype(dtype, copy=False))


READER = Reader("HDF5", (".h5", ".hdf5", ".keras"), recognises, read_header, read_range)


def _spec(name: str, array: Array, role: str) -> TensorSpec:
    if array.offset is None:
        spec = TensorSpec(array.shape, array.dtype or "other", None, (name,), role)
    elif not array.big_endian:
        spec = TensorSpec(array.shape, array.dtype, array.offset, (), role)
    else:
        place = Place(array.offset, 0, 0, 0, row_major(array.shape), big_endian=True)
        spec = TensorSpec(array.shape, array.dtype, None, place, role)
    return paired(spec)


def _statistics(arrays: dict[str, Array]) -> set[str]:
    """Names of the moving statistics among the variables that Keras only numbers."""
    layers: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for name in arrays:
        match = _VARIABLE.fullmatch(name)
        if match and _BATCH_NORM.fullmatch(match["kind"]):
            layers[match["layer"]].append((int(match["number"]), name))
    return {name for variables in layers.values() for _, name in sorted(variables)[-2:]}


@lru_cache(maxsize=32)
def _shared(specs: tuple[tuple[str, TensorSpec], ...]) -> dict[str, TensorSpec]:
    """One table for all checkpoints that are laid out alike."""
    return dict(specs)
