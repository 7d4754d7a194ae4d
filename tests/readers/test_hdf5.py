"""HDF5 files and Keras archives, written by h5py, and those that lead elsewhere or lie."""

import builtins
import os
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.readers.reading import everything, header_of, is_read_or_refused, values_of
from trajscope.errors import CheckpointError
from trajscope.readers.hdf5 import store as hdf5_store
from trajscope.trajectory import open_trajectory

VALUES = np.random.default_rng(0).normal(size=(5, 4)).astype("f4")


def write(path: Path, **settings: object) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("a/w", data=VALUES, **settings)
        file.attrs["step"] = 7
        file.attrs["many"] = np.arange(5)
    return path


SETTINGS = {
    "plain": {},
    "big endian": {"dtype": ">f4"},
    "double": {"dtype": "f8"},
    "half": {"dtype": "f2"},
    "chunks": {"chunks": (2, 3)},
    "deflated": {"chunks": (2, 3), "compression": "gzip", "shuffle": True, "fletcher32": True},
    "lzf": {"compression": "lzf"},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_range_is_that_of_the_array(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "x.h5", **SETTINGS[name])
    header = header_of(path)
    assert header.metadata == {"step": 7}
    with h5py.File(path) as file:
        expected = np.asarray(file["a/w"]).astype("f8" if name == "double" else "f4").ravel()
    for start in range(0, 20, 3):
        for stop in range(start, 21):
            np.testing.assert_array_equal(values_of(path, "a/w", start, stop), expected[start:stop])


def test_a_keras_archive_is_read_where_it_lies(tmp_path: Path) -> None:
    inner = write(tmp_path / "model.weights.h5")
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / "m.keras", "w", method) as file:
            file.writestr("config.json", "{}")
            file.write(inner, "model.weights.h5")
        if method == zipfile.ZIP_STORED:
            assert header_of(tmp_path / "m.keras").tensors["a/w"].offset is not None
            np.testing.assert_array_equal(values_of(tmp_path / "m.keras", "a/w"), VALUES.ravel())
        else:
            with pytest.raises(CheckpointError, match="without the plainly stored"):
                header_of(tmp_path / "m.keras")


def test_links_are_not_followed_and_loops_end(tmp_path: Path) -> None:
    write(tmp_path / "other.h5")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["w"] = VALUES
        file["out"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/a/w")
        file["soft"] = h5py.SoftLink("/w")
        file["loop"] = file["/"]
        group = file.create_group("g")
        group["again"] = group
    assert list(everything(tmp_path / "x.h5")) == ["w"]


def test_values_elsewhere_are_refused(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(bytes(80))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("w", (5, 4), "f4", external=[(str(tmp_path / "raw"), 0, 80)])
    with pytest.raises(CheckpointError, match="its values are stored in another file"):
        header_of(tmp_path / "x.h5")
    layout = h5py.VirtualLayout((5, 4), "f4")
    layout[:] = h5py.VirtualSource(write(tmp_path / "other.h5"), "a/w", (5, 4))
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file.create_virtual_dataset("w", layout)
    with pytest.raises(CheckpointError, match="composed of other datasets"):
        header_of(tmp_path / "y.h5")


def test_what_is_not_written_yet_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("w", (50, 4), "f4")
    with pytest.raises(CheckpointError, match="not all of it is written"):
        header_of(tmp_path / "x.h5")
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file.create_dataset("w", (50, 4), "f4", chunks=(5, 4))[:10] = 1
    with pytest.raises(CheckpointError, match="not all of it is written"):
        header_of(tmp_path / "y.h5")


def test_a_file_that_is_open_for_writing_is_never_taken_half(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for index in range(20):
            file[f"w{index}"] = np.ones((100, 100), "f4")
            with pytest.raises(CheckpointError):
                header_of(tmp_path / "x.h5")
    assert len(everything(tmp_path / "x.h5")) == 20


def test_a_filter_that_the_library_lacks_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((5, 4))
        properties.set_filter(32015, h5py.h5z.FLAG_OPTIONAL)  # zstd, a plug-in
        space = h5py.h5s.create_simple((5, 4))
        h5py.h5d.create(file.id, b"w", h5py.h5t.IEEE_F32LE, space, properties)
    with pytest.raises(CheckpointError, match="filter 32015, which the HDF5 library lacks"):
        header_of(tmp_path / "x.h5")


def test_texts_objects_and_structures_are_listed_and_never_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["text"] = "words"
        file["pairs"] = np.zeros(3, [("a", "f4"), ("b", "i4")])
        file["w"] = VALUES
        file["empty"] = h5py.Empty("f4")
    assert list(everything(tmp_path / "x.h5")) == ["w"]


def test_a_missing_library_is_asked_for_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "x.h5")
    real = builtins.__import__

    def without(name: str, *args: object, **kwargs: object) -> object:
        if name.startswith("h5py"):
            raise ImportError(name)
        return real(name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(CheckpointError, match=r"h5py .* pip install 'trajscope\[hdf5\]'"):
        header_of(path)
    assert not hdf5_store.recognises(path)


@settings(max_examples=150)
@given(data=st.data())
def test_damage_anywhere_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.h5"
    whole = bytearray(write(path, chunks=(2, 3), compression="gzip").read_bytes())
    if data.draw(st.booleans()):
        whole = whole[: data.draw(st.integers(0, len(whole)))]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(whole))
    os.utime(path, ns=(0, data.draw(st.integers(0, 2**40))))
    is_read_or_refused(path)


@pytest.mark.parametrize("layout", ["groups", "axis"])
def test_a_store_that_changed_or_disagrees_is_said(tmp_path: Path, layout: str) -> None:
    path = tmp_path / "run.h5"
    with h5py.File(path, "w") as file:
        if layout == "groups":
            file["10/w"], file["20/w"], file["20/extra"] = np.ones(3), np.ones(3), np.ones(2)
        else:
            file["step"], file["w"], file["other"] = [1.0, 2.0], np.ones((2, 3)), np.ones(5)
    header = hdf5_store.read_header(path)
    assert list(header.tensors) == ["w"]
    assert set(header.left_out) == {"extra" if layout == "groups" else "other"}
    rows = np.array([1, 0])
    block = hdf5_store.read_block(path, "w", header.tensors["w"], rows, 1, 3)
    assert block.tolist() == [[1, 1], [1, 1]]
    write(path)
    with pytest.raises(CheckpointError, match="was written again"):
        hdf5_store.read_block(path, "w", header.tensors["w"], rows, 1, 3)
    with pytest.raises(CheckpointError, match="is an HDF5 file without a step axis"):
        hdf5_store.read_header(path)


def test_steps_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file["epoch"], file["w"] = [1.0, np.nan], np.ones((2, 3))
    with pytest.raises(CheckpointError, match="are not all finite numbers"):
        hdf5_store.read_header(tmp_path / "run.h5")


def test_rows_behind_the_last_numbered_step_are_not_written_yet(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    with h5py.File(path, "w") as file:
        weights, steps = (
            file.create_dataset("w", (9, 3), "f4"),
            file.create_dataset("step", (9,), "i8"),
        )
        weights[:4], steps[:4] = np.arange(12).reshape(4, 3), [0, 10, 20, 30]
    opened = open_trajectory(path)
    assert opened["step"].values.tolist() == [0, 10, 20, 30]
    np.testing.assert_array_equal(opened["weights"], np.arange(12).reshape(4, 3))
