"""Writing checkpoints that hold nothing but weights and their step: the easy way to log densely."""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from trajscope.errors import CheckpointError, OptionError, printable
from trajscope.files import replaced
from trajscope.readers.safetensors import CODES

if TYPE_CHECKING:
    import torch

Scalar = str | int | float | bool


class Model(Protocol):
    """Anything with a ``state_dict``, as a module of torch has."""

    def state_dict(self) -> "Mapping[str, torch.Tensor]":
        """Tensors by name."""


if TYPE_CHECKING:
    Weights = Model | Mapping[str, torch.Tensor | np.ndarray]


def save_checkpoint(
    path: str | os.PathLike[str],
    model: "Weights",
    *,
    step: int,
    epoch: int | float | None = None,
    **metadata: Scalar,
) -> Path:
    """Write the weights at one step to a safetensors file, all of it or nothing.

    The file is written under another name, which no command reads, and then renamed, so that a
    run may be analysed while it goes on.

    Parameters
    ----------
    path :
        File to write, or a folder (any path without the ending ``.safetensors``), in which the
        file is then called ``step-<step>.safetensors``. Missing folders are made.
    model :
        A module of torch, or a mapping from names to tensors of torch or arrays of NumPy, of any
        shapes. Tensors that share memory are written once, under the first of their names.
    step, epoch :
        Where training is; the step is what the trajectory is plotted over.
    metadata :
        More to store in the file, as text.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OptionError
        `step` is no whole number from 0, or there is something that is neither array nor tensor.
    CheckpointError
        The file cannot be written.

    References
    ----------
    The format: https://github.com/huggingface/safetensors#format

    Examples
    --------
    >>> import numpy as np, trajscope
    >>> weights = {"fc.weight": np.zeros((2, 3), "float32")}
    >>> trajscope.save_checkpoint("runs/saved", weights, step=100).name
    'step-100.safetensors'
    """
    check_step(step)
    texts = {"step": str(step), **({} if epoch is None else {"epoch": str(epoch)})}
    texts |= {name: str(value) for name, value in metadata.items()}
    target = Path(path)
    if target.suffix != ".safetensors":
        target /= f"step-{step}.safetensors"
    try:
        with replaced(target, durable=True) as unfinished:
            write_safetensors(unfinished, model, texts)
    except OSError as error:
        raise CheckpointError(
            f"{printable(target)} cannot be written: {printable(error)}. Check the permissions "
            "and the free disk space."
        ) from error
    return target


def check_step(step: object) -> None:
    """Raise an `OptionError` unless it can be the number of an optimizer step."""
    if isinstance(step, bool) or not isinstance(step, int | np.integer) or step < 0:
        raise OptionError(
            f"step={printable(step)!r}: the number of the optimizer step was expected, a whole "
            "number of at least 0."
        )


def write_safetensors(file: BinaryIO, model: "Weights", texts: Mapping[str, str]) -> None:
    """Write an open file in the format of safetensors; equal tensors and texts give equal bytes.

    Raises
    ------
    OptionError
        There is something in `model` that is neither array nor tensor.
    """
    arrays = as_stored(model)
    specs = {name: (a.dtype, a.shape, a.raw.nbytes) for name, a in arrays.items()}
    stream_safetensors(file, specs, (array.raw.data for array in arrays.values()), texts)


def stream_safetensors(
    file: BinaryIO,
    specs: Mapping[str, tuple[str, tuple[int, ...], int]],
    blocks: Iterable[memoryview],
    texts: Mapping[str, str],
) -> None:
    """Write an open safetensors file, its elements as they come.

    Parameters
    ----------
    specs :
        Dtype, as NumPy and ml_dtypes call it, shape, and bytes of every tensor, by name.
    blocks :
        The elements of all tensors behind one another, in little-endian bytes, in pieces of any
        size.
    """
    header: dict[str, object] = {"__metadata__": texts}
    end = 0
    for name, (dtype, shape, n_bytes) in specs.items():
        start, end = end, end + n_bytes
        header[name] = {"dtype": CODES[dtype], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the elements are aligned
    file.write(len(text).to_bytes(8, "little") + text)
    for block in blocks:
        file.write(block)


class Stored(NamedTuple):
    """Elements as little-endian bytes, and where in memory the tensor they came from lies."""

    dtype: str
    shape: tuple[int, ...]
    raw: NDArray[np.uint8]
    address: int


def as_stored(model: "Weights") -> dict[str, Stored]:
    """The elements of every tensor, by name; tensors that share all memory under the first name.

    Raises
    ------
    OptionError
        There is something in `model` that is neither array nor tensor.
    """
    state = model if isinstance(model, Mapping) else model.state_dict()
    seen: set[tuple[object, ...]] = set()
    unique = {}
    for name, array in ((name, _stored(name, value)) for name, value in state.items()):
        place = (array.address, array.shape, array.dtype)
        if not array.address or not array.raw.nbytes or place not in seen:
            unique[name] = array
        seen.add(place)
    return unique


def _stored(name: str, value: object) -> Stored:
    if isinstance(value, np.ndarray | np.generic):
        values = np.ascontiguousarray(value)
        values = values.astype(values.dtype.newbyteorder("<"), copy=False)
        address = value.ctypes.data if isinstance(value, np.ndarray) else 0
        found = Stored(values.dtype.name, np.shape(value), _bytes(values), address)
    else:
        torch = sys.modules.get("torch")  # whoever holds a tensor has imported it
        if torch is None or not isinstance(value, torch.Tensor):
            raise OptionError(
                f"The entry {printable(name)!r} is a {printable(type(value).__name__)}; tensors "
                "and arrays were expected. Pass the rest as metadata, or leave it out."
            )
        flat = value.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
        raw = flat.view(torch.uint8).numpy()
        dtype = str(value.dtype).removeprefix("torch.")
        found = Stored(dtype, tuple(value.shape), raw, value.data_ptr())
    if found.dtype not in CODES or name == "__metadata__":
        raise OptionError(
            f"The entry {printable(name)!r} of dtype {printable(found.dtype)} cannot be stored in "
            "a safetensors file. Convert or rename it, or leave it out."
        )
    return found


def _bytes(values: np.ndarray) -> NDArray[np.uint8]:
    return values.reshape(-1).view(np.uint8)
