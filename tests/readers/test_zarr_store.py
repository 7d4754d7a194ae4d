"""Zarr stores with a step axis, written by zarr and xarray, and stores that lie."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from trajscope.errors import CheckpointError
from trajscope.readers.base import StoreTensor
from trajscope.readers.zarr import tree
from trajscope.readers.zarr.store import READER

FORMATS = [2, 3]


def trajectory(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def write(
    path: Path, zarr_format: int, **arrays: tuple[np.ndarray, tuple[str, ...] | None]
) -> Path:
    """A group of arrays with the names of their dimensions."""
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)  # type: ignore[arg-type]
    for name, (values, dims) in arrays.items():
        named: dict[str, Any] = {"dimension_names": dims} if zarr_format == 3 and dims else {}
        array = group.create_array(name.replace("__", "/"), data=values, chunks="auto", **named)
        if zarr_format == 2 and dims:
            array.attrs["_ARRAY_DIMENSIONS"] = list(dims)
    return path


def block(path: Path, name: str, rows: list[int], start: int, stop: int) -> np.ndarray:
    folder = path / name if (path / name).is_dir() else path
    array = zarr.open_array(folder, mode="r")
    tensor = StoreTensor(array.shape[1:], array.dtype.name)
    return READER.read_block(path, name, tensor, np.array(rows, np.intp), start, stop)


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_a_group_with_a_named_step_axis_is_a_trajectory(tmp_path: Path, zarr_format: int) -> None:
    weights = trajectory(5, 3, 4)
    path = write(
        tmp_path / "run.zarr",
        zarr_format,
        layer__w=(weights, ("step", "a", "b")),
        bias=(weights[:, 0, 0:2].astype(np.float64), ("step", "c")),
        half=(weights[:, 0].astype(np.float16), ("step", "d")),
        count=(np.ones((5, 2), np.int64), ("step", "e")),
        loss=(weights[:, 0, 0], ("step",)),
        step=(np.array([0, 10, 20, 40, 80]), ("step",)),
        other=(np.ones((7, 2)), ("x", "y")),
    )
    assert READER.recognises(path)
    header = READER.read_header(path)
    assert header.steps == (0, 10, 20, 40, 80)
    assert (header.n_steps, header.step_unit) == (5, "step")
    assert header.step_source == "the store's array 'step'"
    found = {name: (each.shape, each.dtype) for name, each in header.tensors.items()}
    assert header.left_out == {
        "loss": "one number per checkpoint, not a weight",
        "other": "its first dimension is called 'x', not 'step'",
    }
    assert found == {
        "bias": ((2,), "float64"),
        "count": ((2,), "int64"),
        "half": ((4,), "float16"),
        "layer/w": ((3, 4), "float32"),
    }
    np.testing.assert_array_equal(
        block(path, "layer/w", [0, 1, 2, 3, 4], 2, 11), weights.reshape(5, 12)[:, 2:11]
    )
    assert block(path, "half", [0], 0, 4).dtype == np.float32
    assert block(path, "bias", [0], 0, 2).dtype == np.float64


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_without_names_the_shared_first_length_is_the_step_axis(
    tmp_path: Path, zarr_format: int
) -> None:
    path = write(
        tmp_path / "x.zarr",
        zarr_format,
        w=(trajectory(4, 6), None),
        epoch=(np.arange(4.0), None),
        scalar=(np.array(1.0), None),
    )
    header = READER.read_header(path)
    assert (header.steps, header.step_unit, list(header.tensors)) == ((0, 1, 2, 3), "epoch", ["w"])
    assert header.left_out == {"scalar": "it lacks a step axis"}
    uneven = write(
        tmp_path / "y.zarr", zarr_format, a=(trajectory(4, 6), None), b=(trajectory(5, 6), None)
    )
    with pytest.raises(CheckpointError, match="found: first dimensions of 2 lengths"):
        READER.read_header(uneven)


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_a_single_array_is_a_trajectory(tmp_path: Path, zarr_format: int) -> None:
    values = trajectory(4, 3, 2)
    zarr.create_array(tmp_path / "w.zarr", data=values, zarr_format=zarr_format)  # type: ignore[arg-type]
    header = READER.read_header(tmp_path / "w.zarr")
    assert (header.n_steps, header.steps, header.step_unit) == (4, None, "index")
    assert header.step_source == "the position along the store's first axis"
    assert header.tensors["w"].shape == (3, 2)
    np.testing.assert_array_equal(
        block(tmp_path / "w.zarr", "w", [3, 1], 1, 5), values.reshape(4, 6)[[3, 1], 1:5]
    )


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.filterwarnings("ignore:.*(consolidated|Consolidated|string|specification)")
def test_a_dataset_written_by_xarray_is_a_trajectory(tmp_path: Path, zarr_format: int) -> None:
    dataset = xr.Dataset(
        {
            "weights": (("step", "weight"), trajectory(4, 6)),
            "row_size": ("tensor", [2, 4]),
            "loss": ("step", np.arange(4.0)),
        },
        {"step": [0, 5, 10, 15], "path": ("step", ["a", "b", "c", "d"]), "tensor": ["u", "v"]},
    )
    dataset.to_zarr(tmp_path / "x.zarr", zarr_format=zarr_format)  # type: ignore[call-overload]
    header = READER.read_header(tmp_path / "x.zarr")
    assert (header.steps, list(header.tensors)) == ((0, 5, 10, 15), ["weights"])
    assert header.left_out["path"] == "values that are not plain numbers"
    np.testing.assert_array_equal(
        block(tmp_path / "x.zarr", "weights", [0, 2], 1, 4),
        dataset["weights"].to_numpy()[[0, 2], 1:4],
    )


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f2", ">f4", ">f8"])
@pytest.mark.parametrize("zarr_format", FORMATS)
def test_every_float_of_zarr_is_read_bit_for_bit(
    tmp_path: Path, zarr_format: int, dtype: str
) -> None:
    values = np.random.default_rng(3).normal(size=(3, 7)).astype(dtype)
    path = write(tmp_path / "x.zarr", zarr_format, w=(values, None))
    found = block(path, "w", [0, 1, 2], 0, 7)
    np.testing.assert_array_equal(found, values)
    assert found.dtype == (np.float64 if dtype.endswith("8") else np.float32)


@settings(max_examples=20)
@given(st.data())
def test_any_block_is_that_of_the_flat_array(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    shape = data.draw(st.lists(st.integers(1, 5), max_size=3))
    values = np.random.default_rng(4).normal(size=(6, *shape))
    path = tmp_path_factory.mktemp("x") / "w.zarr"
    chunks = tuple(data.draw(st.integers(1, length)) for length in values.shape)
    zarr.create_array(path, data=values, chunks=chunks)
    flat = values.reshape(6, -1)
    rows = data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=8))
    start = data.draw(st.integers(0, flat.shape[1]))
    stop = data.draw(st.integers(start, flat.shape[1]))
    np.testing.assert_array_equal(block(path, "w", rows, start, stop), flat[rows, start:stop])


def test_only_the_chunks_asked_for_are_read(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "w.zarr", data=trajectory(4, 100), chunks=(2, 10))
    for chunk in (tmp_path / "w.zarr" / "c").rglob("*"):
        if chunk.is_file() and chunk.name != "3":
            chunk.write_bytes(b"damaged")
    assert block(tmp_path / "w.zarr", "w", [0, 1, 2, 3], 30, 40).shape == (4, 10)
    with pytest.raises(CheckpointError, match="array 'w' cannot be read"):
        block(tmp_path / "w.zarr", "w", [0], 29, 40)


def test_a_store_that_grows_is_seen_again(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "w.zarr", data=trajectory(4, 3), chunks=(1, 3))
    block(tmp_path / "w.zarr", "w", [3], 0, 3)
    array.append(np.ones((1, 3), np.float32))
    assert READER.read_header(tmp_path / "w.zarr").n_steps == 5
    assert block(tmp_path / "w.zarr", "w", [4], 0, 3).tolist() == [[1, 1, 1]]


def test_weights_behind_the_last_numbered_step_are_not_written_yet(tmp_path: Path) -> None:
    def written(name: str, n_v: int, n_w: int, steps: list[int]) -> Path:
        v, w = trajectory(n_v, 3), trajectory(n_w, 2)
        numbers = (np.array(steps), ("step",))
        return write(tmp_path / name, 3, v=(v, ("step", "a")), w=(w, ("step", "b")), step=numbers)

    header = READER.read_header(written("grows.zarr", 6, 5, [0, 10, 20, 30]))
    assert (header.n_steps, header.steps, header.unwritten) == (4, (0, 10, 20, 30), 2)
    longer = READER.read_header(written("longer.zarr", 5, 5, [10, 20, 30, 0, 0]))
    assert (longer.n_steps, longer.steps) == (3, (10, 20, 30))
    with pytest.raises(CheckpointError, match="found: first dimensions of 2 lengths"):
        READER.read_header(written("uneven.zarr", 4, 5, [0, 10, 20, 30, 40]))


def test_folders_that_are_no_store_are_not_recognised(tmp_path: Path) -> None:
    assert not READER.recognises(tmp_path)
    (tmp_path / "weights.npz").write_bytes(b"")
    assert not READER.recognises(tmp_path)
    assert not READER.recognises(tmp_path / "weights.npz")


def test_a_store_without_a_step_axis_says_what_was_found(tmp_path: Path) -> None:
    path = write(tmp_path / "x.zarr", 3, w=(trajectory(4, 3), ("layer", "weight")))
    with pytest.raises(
        CheckpointError, match="arrays along one axis named 'step' are expected; found: none"
    ):
        READER.read_header(path)
    only = write(tmp_path / "y.zarr", 3, step=(np.arange(4), ("step",)))
    with pytest.raises(CheckpointError, match="contains steps but no array of weights"):
        READER.read_header(only)


def test_weights_whose_steps_are_not_first_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.zarr", 3, w=(trajectory(3, 4), ("weight", "step")),
                 step=(np.arange(4), ("step",)))  # fmt: skip
    with pytest.raises(
        CheckpointError, match=r"'w' has the dimensions \('weight', 'step'\); the s"
    ):
        READER.read_header(path)


def test_two_step_axes_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.zarr", 3, v=(trajectory(4, 3), ("step", "a")),
                 w=(trajectory(4, 3), ("epoch", "a")))  # fmt: skip
    with pytest.raises(CheckpointError, match="found: axes named 'epoch', 'step'"):
        READER.read_header(path)


@pytest.mark.parametrize("group", ["step_{}", "epoch-{}", "ckpt{}"])
def test_a_group_for_each_step_is_refused(tmp_path: Path, group: str) -> None:
    arrays = {f"{group.format(step)}__w": (trajectory(3, 4), None) for step in (10, 20)}
    with pytest.raises(CheckpointError, match="is a zarr store with a group for each step"):
        READER.read_header(write(tmp_path / "x.zarr", 3, **arrays))


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_steps_that_are_not_written_yet_do_not_count(tmp_path: Path, zarr_format: int) -> None:
    path = tmp_path / "x.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)  # type: ignore[arg-type]
    values = np.concatenate([np.zeros((1, 3), np.float32), trajectory(3, 3)])  # zeros: no chunk
    weights = group.create_array("w", shape=(4, 3), chunks=(1, 2), dtype="f4")
    weights[:] = values
    group.create_array("frozen", shape=(6, 3), chunks=(1, 3), dtype="f4")
    weights.resize((6, 3))
    header = READER.read_header(path)
    assert (header.n_steps, header.unwritten) == (4, 2)
    np.testing.assert_array_equal(block(path, "w", [0, 1, 2, 3], 0, 3), values)
    weights[4] = 1
    assert READER.read_header(path).n_steps == 5
    step = group.create_array("step", shape=(6,), chunks=(1,), dtype="i8")
    step[:4] = [5, 10, 15, 20]
    header = READER.read_header(path)
    assert (header.steps, header.unwritten) == ((5, 10, 15, 20), 2)


def test_steps_that_share_a_file_are_counted_by_the_file(tmp_path: Path) -> None:
    array = zarr.create_array(
        tmp_path / "w.zarr", shape=(5, 4), chunks=(1, 2), shards=(2, 4), dtype="f4"
    )
    array[:3] = 1
    header = READER.read_header(tmp_path / "w.zarr")
    assert (header.n_steps, header.unwritten) == (4, 1)


def test_steps_that_cannot_be_decoded_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.zarr", 3, w=(trajectory(4, 3), None), step=(np.arange(4), None))
    (path / "step" / "c" / "0").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="its steps, array 'step', cannot be read"):
        READER.read_header(path)


def test_steps_that_are_no_finite_numbers_are_refused(tmp_path: Path) -> None:
    steps = np.array([0, 1, np.nan, 3])
    path = write(tmp_path / "x.zarr", 3, w=(trajectory(4, 3), None), step=(steps, None))
    with pytest.raises(CheckpointError, match="are not all finite numbers"):
        READER.read_header(path)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write(tmp_path / "x.zarr", 3, w=(trajectory(4, 3), None))


@pytest.fixture
def old_store(tmp_path: Path) -> Path:
    return write(tmp_path / "x.zarr", 2, w=(trajectory(4, 3), None))


def changed(path: Path, **values: object) -> None:
    metadata = json.loads(path.read_text())
    path.write_text(json.dumps(metadata | values))


GRID = {"name": "regular", "configuration": {"chunk_shape": [2**20, 2**20]}}
CHANGES_3: dict[str, dict[str, object]] = {
    r"one of its chunks takes \d+ bytes, more than 2147483648": {"chunk_grid": GRID},
    "its chunks are not a regular grid": {"chunk_grid": {"name": "rectangular"}},
    "the codec 'numcodecs.pickle', which is not known to be safe": {
        "codecs": [{"name": "numcodecs.pickle"}]
    },
    "the codec 'evil'": {
        "codecs": [{"name": "sharding_indexed", "configuration": {"codecs": [{"name": "evil"}]}}]
    },
    r"contains invalid zarr metadata \(a shape is expected": {"shape": [-1, 2]},
    r"invalid zarr metadata \(a shape is expected": {"shape": [True, 2]},
    r"zarr metadata \(a shape is expected": {"shape": 2**70},
    r"invalid zarr metadata \(a list of codecs is expected": {"codecs": 3},
    "it uses a storage transformer": {"storage_transformers": [{"name": "x"}]},
    "values are compressed by add_offset and scale_factor": {
        "attributes": {"add_offset": 1, "scale_factor": 0.5}
    },
    "a different number of dimensions": {
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [0, 1]}}
    },
    "the limit is 10000000": {"shape": [2**40, 3]},
}


@pytest.mark.parametrize("expected", CHANGES_3)
def test_metadata_that_lies_is_refused(store: Path, expected: str) -> None:
    changed(store / "w" / "zarr.json", **CHANGES_3[expected])
    with pytest.raises(CheckpointError, match=expected):
        READER.read_header(store)


CHANGES_2: dict[str, dict[str, object]] = {
    "the codec 'pickle', which is not known to be safe": {"filters": [{"id": "pickle"}]},
    "one of its chunks takes": {"chunks": [2**20, 2**20]},
    "invalid zarr metadata": {"chunks": None},
    "found: none": {"dtype": "|O"},
    "found: none|none": {"dtype": [["a", "<f4"]]},
}


@pytest.mark.parametrize("expected", CHANGES_2)
def test_metadata_of_format_2_that_lies_is_refused(old_store: Path, expected: str) -> None:
    changed(old_store / "w" / ".zarray", **CHANGES_2[expected])
    with pytest.raises(CheckpointError, match=expected):
        READER.read_header(old_store)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"node_type": "array"}']
)
def test_metadata_that_is_none_is_refused(store: Path, content: bytes) -> None:
    (store / "w" / "zarr.json").write_bytes(content)
    with pytest.raises(CheckpointError, match="invalid zarr metadata"):
        READER.read_header(store)


def test_metadata_cut_anywhere_is_refused(store: Path) -> None:
    path = store / "w" / "zarr.json"
    content = path.read_bytes().rstrip()
    for length in range(0, len(content), 3):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError):
            READER.read_header(store)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((4, 2), "f4"), ((4, 30), "f4"), ((2, 3), "f4"), ((4, 3), "i4")]
)
def test_an_array_that_was_written_again_is_refused(
    store: Path, shape: tuple[int, ...], dtype: str
) -> None:
    tensor = READER.read_header(store).tensors["w"]
    zarr.create_array(store / "w", data=np.ones(shape, dtype), overwrite=True)
    with pytest.raises(CheckpointError, match="'w' was written again after the trajectory was op"):
        READER.read_block(store, "w", tensor, np.arange(4), 0, 3)


def test_a_codec_that_was_exchanged_is_never_run(store: Path) -> None:
    tensor = READER.read_header(store).tensors["w"]
    changed(store / "w" / "zarr.json", codecs=[{"name": "numcodecs.pickle"}])
    with pytest.raises(
        CheckpointError, match=r"is not opened, since it uses the codec 'numcodecs\."
    ):
        READER.read_block(store, "w", tensor, np.arange(4), 0, 3)
    (store / "w" / "zarr.json").write_text('{"node_type": "group"}')
    with pytest.raises(CheckpointError, match="is not opened, since it is no longer an array"):
        READER.read_block(store, "w", tensor, np.arange(4), 0, 3)


def test_a_pipe_in_place_of_a_chunk_is_refused(store: Path) -> None:
    chunk = next((store / "w" / "c").rglob("0"))
    while chunk.is_dir():
        chunk /= "0"
    chunk.unlink()
    os.mkfifo(chunk)
    with pytest.raises(CheckpointError, match=r"'w/c/0/0' is not a regular file, so the store"):
        READER.read_header(store)


def test_chunks_may_be_links_but_not_to_nowhere(store: Path, tmp_path: Path) -> None:
    before = block(store, "w", [0, 1, 2, 3], 0, 3)
    chunk = store / "w" / "c" / "0" / "0"
    chunk.rename(tmp_path / "annex")
    chunk.symlink_to(tmp_path / "annex")
    READER.read_header(store)
    np.testing.assert_array_equal(block(store, "w", [0, 1, 2, 3], 0, 3), before)
    (tmp_path / "annex").unlink()
    with pytest.raises(CheckpointError, match=r"'w/c/0/0' is a broken link \(No such"):
        READER.read_header(store)


def test_a_store_that_cannot_be_listed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gone\.zarr cannot be listed: No such file"):
        READER.read_header(tmp_path / "gone.zarr")


def test_a_store_of_too_many_folders_is_refused(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "_MAX_FOLDERS", 2)
    for name in "ab":
        (store / name).mkdir()
    with pytest.raises(CheckpointError, match="has more than 2 folders; a zarr store of weights"):
        READER.read_header(store)


def test_an_array_that_is_gone_is_reported(store: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"array 'v' no longer exists\. Is the folder accessible to every"
    ):
        READER.read_block(store, "v", StoreTensor((3,), "float32"), np.array([0]), 0, 1)


def test_links_to_folders_are_not_followed(tmp_path: Path, store: Path) -> None:
    (store / "round").symlink_to(store)
    assert list(READER.read_header(store).tensors) == ["w"]
