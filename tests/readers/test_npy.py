"""Single NumPy arrays; the header is that of the members of an archive, tested there."""

import os
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tests.readers.reading import at_most, header_of, is_read_or_refused, refusal, values_of
from trajscope.errors import CheckpointError


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_range_is_that_of_the_array(tmp_path: Path, dtype: str, order: str) -> None:
    values = np.asarray(np.random.default_rng(0).normal(size=(3, 4)), dtype, order=order)
    np.save(tmp_path / "w.npy", values)
    for start in range(12):
        for stop in range(start, 13):
            found = values_of(tmp_path / "w.npy", "", start, stop)
            np.testing.assert_array_equal(found, values.ravel()[start:stop])


def test_a_single_number_is_metadata_too(tmp_path: Path) -> None:
    np.save(tmp_path / "step.npy", 7)
    assert header_of(tmp_path / "step.npy").metadata == {"": 7}


def test_objects_are_listed_and_never_unpickled(tmp_path: Path) -> None:
    class Marker:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "marker"),)

    np.save(tmp_path / "w.npy", np.array([Marker()], object))
    assert header_of(tmp_path / "w.npy").tensors[""].dtype == "object"
    assert not (tmp_path / "marker").exists()


def test_a_header_that_claims_more_than_there_is_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.npy"
    np.save(path, np.ones(4))
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"(4,)", b"(4000000000000,)".ljust(4), 1))
    assert "cannot be read as a NumPy array" in refusal(path)
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        is_read_or_refused(path)
    os.mkfifo(tmp_path / "pipe.npy")
    with at_most(1), pytest.raises(CheckpointError, match="is not a regular file"):
        header_of(tmp_path / "pipe.npy")


@pytest.mark.parametrize("order", ["C", "F"])
def test_bfloat16_is_read_under_the_name_that_numpy_gives_it(tmp_path, order):
    values = np.asarray(np.arange(6.0).reshape(2, 3), ml_dtypes.bfloat16, order=order)
    np.save(tmp_path / "w.npy", values)
    np.savez_compressed(tmp_path / "w.npz", w=values)
    for file, name in (("w.npy", ""), ("w.npz", "w")):
        assert header_of(tmp_path / file).tensors[name].dtype == "bfloat16"
        found = values_of(tmp_path / file, name)
        np.testing.assert_array_equal(found, values.astype("f4").ravel())
