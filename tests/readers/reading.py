"""What the tests of all formats need: read a whole file, provoke a refusal, watch the memory."""

import contextlib
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from trajscope.errors import CheckpointError
from trajscope.readers import reader_for
from trajscope.readers.base import Header, Values, widened_dtype


def header_of(path: Path) -> Header:
    reader = reader_for(path)
    assert reader is not None
    return reader.read_header(path)


def values_of(path: Path, name: str, start: int = 0, stop: int | None = None) -> Values:
    reader = reader_for(path)
    assert reader is not None
    spec = reader.read_header(path).tensors[name]
    return reader.read_range(path, spec, start, spec.size if stop is None else stop)


def everything(path: Path) -> dict[str, Values]:
    """Every tensor of floats, flat."""
    reader = reader_for(path)
    assert reader is not None
    return {
        name: reader.read_range(path, spec, 0, spec.size)
        for name, spec in reader.read_header(path).tensors.items()
        if widened_dtype(spec.dtype) is not None
    }


def refusal(path: Path) -> str:
    """The message with which a file is refused, without taking memory for what it claims."""
    with at_most(8), pytest.raises(CheckpointError) as refused:
        header_of(path)
    message = str(refused.value)
    assert path.name in message
    return message


def is_read_or_refused(path: Path, allowed: dict[str, Values] | None = None) -> None:
    """Whatever the bytes, there is a result or a `CheckpointError`; of `allowed`, these values."""
    with contextlib.suppress(CheckpointError):
        found = everything(path)
        if allowed is not None:
            assert found.keys() == allowed.keys()
            for name, values in found.items():
                np.testing.assert_array_equal(values, allowed[name])


@contextlib.contextmanager
def at_most(mebibytes: float) -> Iterator[None]:
    """Fail if what is inside allocates more than this at any one time."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < mebibytes * 2**20
