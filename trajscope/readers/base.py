"""What every format answers with: a header of named tensors, and flat ranges of one of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating]

UNREADABLE = "unreadable"
"""The dtype of an array that has no plain elements: sparse, without data, of an unknown class."""

SPARSE = "sparse"
"""`TensorSpec.original` of an unreadable array that is stored as places and values."""

NUMPY = "NumPy "
"""How `TensorSpec.original` of an unreadable NumPy array in a pickle begins; its dtype follows."""

SLICES = frozenset({"DTensor", "ShardedTensor"})
"""`TensorSpec.original` of an unreadable array that is one rank's slice of a tensor."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One array of a file, as its header describes it.

    Attributes
    ----------
    shape :
        As stored; ``()`` for a scalar.
    dtype :
        The stored dtype by its NumPy or ml_dtypes name: ``"float32"``, ``"bfloat16"``,
        ``"float8_e4m3fn"``, ``"int64"``. Also arrays that cannot be weights are listed, so that
        it can be said that they were left out.
    offset :
        First byte in the file when the elements lie there plainly: row-major, contiguous,
        uncompressed, little-endian. `None` when only `Reader.read_range` can find them.
    locator :
        What the reader alone needs to find the elements again; opaque to everyone else, hashable.
    role :
        ``"parameter"`` or ``"buffer"`` where the format tells them apart, else ``""``.
    storage :
        Tensors of one file with the same non-empty `storage` share memory (tied weights).
    original :
        The dtype in the file where `dtype` and `shape` are those of the real numbers it is read as:
        ``"complex64"`` where the last axis holds real and imaginary part.
    """

    shape: tuple[int, ...]
    dtype: str
    offset: int | None = None
    locator: tuple[object, ...] = ()
    role: str = ""
    storage: str = ""
    original: str = ""

    @property
    def size(self) -> int:
        """Number of elements."""
        count = 1
        for length in self.shape:
            count *= length
        return count


@dataclass(frozen=True, slots=True)
class Header:
    """Everything a file says of itself before any weight is read.

    Attributes
    ----------
    tensors :
        By name, in the model's order where the format keeps one. Levels of nested containers are
        joined by ``/`` ("state_dict/fc1.weight", "optimizer/state/0/exp_avg"). The name is ``""``
        where the whole file is one array.
    metadata :
        Scalars (str, int, float, bool) found inside, by name joined likewise
        ("global_step", "epoch", "trainer/global_step").
    digest :
        Changes whenever a file changes that the header stands for; ``""`` where it is the header's
        own file alone.
    partial :
        For each array of which not all chunks are there, those that are: the others are zeros, or
        are not written yet. `None` in formats that do not store chunks as files.
    """

    tensors: Mapping[str, TensorSpec]
    metadata: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    digest: str = ""
    partial: Mapping[str, frozenset[str]] | None = None


@dataclass(frozen=True)
class Reader:
    """One checkpoint file format.

    Attributes
    ----------
    name :
        Shown to users: "safetensors", "torch archive".
    suffixes :
        Lower-case file name endings that may hold this format.
    recognises :
        ``(path, first 16 bytes) -> bool``: whether a file with such an ending is this format.
    read_header :
        ``path -> Header``. Reads headers only, and checks them against the file's size before
        anything is allocated. Raises `CheckpointError`.
    read_range :
        ``(path, spec, start, stop) -> (weight,)``: elements ``start:stop`` of the flattened
        tensor, widened by `widened`. Raises `CheckpointError`.
    """

    name: str
    suffixes: tuple[str, ...]
    recognises: Callable[[Path, bytes], bool]
    read_header: Callable[[Path], Header]
    read_range: Callable[[Path, TensorSpec, int, int], Values]


@dataclass(frozen=True)
class FolderReader:
    """One format in which a folder is a checkpoint, and one file in it stands for it.

    Attributes
    ----------
    reader :
        Reads the folder, given the path of that file.
    anchor :
        ``names in a folder -> str``: the name of that file, ``""`` if this is another folder.
    """

    reader: Reader
    anchor: Callable[[frozenset[str]], str]


@dataclass(frozen=True)
class StoreTensor:
    """One array of a store that holds a whole trajectory.

    `shape` is without the step axis; `dtype` is that of the array, `original` that of the
    checkpoints it was copied from, where the store tells it, several with "|" between them.
    `name` is that of the tensor, where the array is called otherwise.
    """

    shape: tuple[int, ...]
    dtype: str
    original: str = ""
    name: str = field(default="", compare=False)

    @property
    def one_dtype(self) -> str:
        """A dtype that holds the values of every step."""
        return self.original if self.original and "|" not in self.original else self.dtype


@dataclass(frozen=True)
class StoreHeader:
    """What a store with a step axis says of itself.

    `steps` is the store's own step coordinate, or `None` where it has none; `step_source` says in
    words where it came from. `left_out` gives the reason for each array that has no weights at the
    steps, `unwritten` the number of entries at the end of the axis that hold nothing yet and are
    not among `n_steps`; `digest` changes whenever a file of the store does, and each of `states`,
    (step,), whenever a file that holds weights of its step does. `coordinates` are what else is
    counted at each step, by name.
    """

    n_steps: int
    steps: tuple[float, ...] | None
    step_unit: str
    step_source: str
    tensors: Mapping[str, StoreTensor]
    left_out: Mapping[str, str] = field(default_factory=dict)
    unwritten: int = 0
    digest: str = ""
    coordinates: Mapping[str, tuple[int | float | str, ...]] = field(default_factory=dict)
    states: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))


@dataclass(frozen=True)
class StoreReader:
    """One format whose single store holds every checkpoint along a step axis.

    Attributes
    ----------
    recognises :
        ``path -> bool``: whether the folder, or the file, is such a store.
    read_header :
        ``path -> StoreHeader``; raises `CheckpointError`.
    read_block :
        ``(path, name, tensor, rows, start, stop) -> (step, weight)``: elements ``start:stop`` of
        the flattened tensor at the step indices `rows` (any order), widened by `widened`. Raises
        `CheckpointError`, also where the array is no longer as `tensor` describes it.
    read_states :
        ``(path, header) -> (step,)``: what the header's `states` are now. Raises `CheckpointError`.
    suffixes :
        Lower-case endings of files that may be such a store; none where it is a folder.
    """

    name: str
    recognises: Callable[[Path], bool]
    read_header: Callable[[Path], StoreHeader]
    read_block: Callable[[Path, str, StoreTensor, NDArray[np.intp], int, int], Values]
    read_states: Callable[[Path, StoreHeader], NDArray[np.uint64]]
    suffixes: tuple[str, ...] = ()


def stored_dtype(name: str) -> np.dtype[np.generic] | None:
    """The dtype called `name` by NumPy or ml_dtypes, little-endian; `None` if there is none."""
    try:
        return np.dtype(name).newbyteorder("<")
    except TypeError:
        pass
    import ml_dtypes

    scalar = getattr(ml_dtypes, name, None)
    return np.dtype(scalar) if isinstance(scalar, type) else None


def widened_dtype(name: str) -> np.dtype[np.floating] | None:
    """The dtype that values stored as `name` are read in; `None` where they are not real floats.

    float64 and float32 stay, narrower floats (float16, bfloat16, float8 and smaller) become
    float32, which holds each of their values exactly.
    """
    dtype = stored_dtype(name)
    if dtype is None or dtype.kind not in "fV":
        return None
    if dtype.kind == "f":
        return np.dtype(np.float64 if dtype.itemsize > 4 else np.float32)
    import ml_dtypes

    try:
        ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, KeyError):
        return None
    return np.dtype(np.float32)


def widened(raw: NDArray[np.generic]) -> Values:
    """Stored values as float32, or as float64 if stored as such; a copy only if needed.

    Whole numbers, as which codes of quantised weights are stored, become the narrower of the two
    that holds each of them exactly, those of 64 bits float64.
    """
    target = widened_dtype(raw.dtype.name)
    if target is None and raw.dtype.kind in "biu":
        target = np.dtype(np.float32 if raw.dtype.itemsize <= 2 else np.float64)
    if target is None:
        raise TypeError(f"no real numbers in an array of dtype {raw.dtype}")
    return raw.astype(target, copy=False)


def resolution(name: str) -> float:
    """Spacing at 1 of the dtype stored as `name`: 2^-23 for float32; 0 for integers.

    Floats that lie between two neighbours at that spacing were rounded when they were saved.
    """
    dtype = stored_dtype(name)
    if dtype is None or widened_dtype(name) is None:
        return 0.0
    import ml_dtypes

    return float(ml_dtypes.finfo(dtype).eps)  # type: ignore[no-untyped-call]
