"""The dtypes that TensorStore writes and zarr lacks: bare names, a byte for each narrow value."""

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import zarr

from trajscope.errors import TrajectoryError, TrajscopeWarning
from trajscope.readers.zarr.group import READER
from trajscope.trajectory import open_trajectory, tensor

NAMES = [
    "bfloat16",
    "float8_e3m4",
    "float8_e4m3",
    "float8_e4m3b11fnuz",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
    "float4_e2m1fn",
    "float6_e2m3fn",
]


def write(folder: Path, values: np.ndarray, name: str, zarr_format: int, **changes) -> None:
    """An array as TensorStore writes it, through one of whole numbers with the same bits."""
    bits = values.view(f"u{values.dtype.itemsize}")
    chunks = tuple(min(length, 3) for length in bits.shape)
    zarr.create_array(folder, data=bits, chunks=chunks, zarr_format=zarr_format, fill_value=0)
    path = folder / ("zarr.json" if zarr_format == 3 else ".zarray")
    metadata = json.loads(path.read_text())
    metadata["data_type" if zarr_format == 3 else "dtype"] = name
    if zarr_format == 3 and values.dtype.itemsize == 1:
        metadata["codecs"][0] = {"name": "bytes"}
    metadata["fill_value"] = 0.0 if zarr_format == 3 else None
    path.write_text(json.dumps(metadata | changes))


def values_of(step: int, name: str) -> np.ndarray:
    numbers = np.random.default_rng(step).normal(size=(4, 5))
    return numbers.astype(getattr(ml_dtypes, name))


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_small_floats_are_read_bit_by_bit(tmp_path, name, zarr_format):
    for step in (0, 10):
        write(tmp_path / f"step_{step}.zarr" / "w", values_of(step, name), name, zarr_format)
        zarr.open_group(tmp_path / f"step_{step}.zarr", mode="a", zarr_format=zarr_format)
    opened = open_trajectory(tmp_path)
    assert opened["stored_dtype"].values.tolist() == [name]
    for row, step in enumerate((0, 10)):
        expected = values_of(step, name).astype("f4")
        np.testing.assert_array_equal(tensor(opened, "w")[row], expected)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_small_floats_may_lie_along_steps(tmp_path, zarr_format):
    values = np.stack([values_of(step, "bfloat16") for step in range(3)])
    write(tmp_path / "run.zarr" / "w", values, "bfloat16", zarr_format)
    zarr.open_group(tmp_path / "run.zarr", mode="a", zarr_format=zarr_format)
    opened = open_trajectory(tmp_path / "run.zarr")
    np.testing.assert_array_equal(opened["weights"][::-1, 3:9], values.reshape(3, 20)[::-1, 3:9])


def test_numpys_name_of_bfloat16_is_read(tmp_path):
    for step in (0, 10):
        write(tmp_path / f"step_{step}.zarr", values_of(step, "bfloat16"), "<V2", 2)
    assert open_trajectory(tmp_path)["stored_dtype"].values.tolist() == ["bfloat16"]


@pytest.mark.parametrize(
    ("fill", "value"), [(1.5, 1.5), ("NaN", np.nan), ("0x3fc0", 1.5), ("-Infinity", -np.inf)]
)
def test_chunks_that_are_not_there_hold_the_fill_value(tmp_path, fill, value):
    folder = tmp_path / "w"
    write(folder, values_of(0, "bfloat16"), "bfloat16", 3, fill_value=fill)
    (folder / "c" / "1" / "1").unlink()
    spec = READER.read_header(folder / "zarr.json").tensors[""]
    found = READER.read_range(folder / "zarr.json", spec, 15, 20)
    np.testing.assert_array_equal(found[3:], [value, value])
    np.testing.assert_array_equal(found[:3], values_of(0, "bfloat16")[3, :3].astype("f4"))


@pytest.mark.parametrize("name", ["int4", "uint4", "int2", "float8_e9m9", "string", "<V3"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_other_dtypes_are_left_out_by_their_name(tmp_path, name, zarr_format):
    for step in (0, 10):
        bits = np.ones((4, 5), "u1")
        write(tmp_path / f"step_{step}.zarr" / "w", bits, name, zarr_format)
        zarr.open_group(tmp_path / f"step_{step}.zarr", mode="a", zarr_format=zarr_format)
    with pytest.raises(TrajectoryError, match=f"w: {name} values, not a supported"):
        open_trajectory(tmp_path)


@pytest.mark.parametrize("fill", ["1e", "0xzz", "é", [0]])
def test_an_invalid_fill_value_is_refused(tmp_path, fill):
    for step in (0, 10, 20):
        changes = {"fill_value": fill} if step == 10 else {}
        write(tmp_path / f"step_{step}.zarr", values_of(0, "bfloat16"), "bfloat16", 3, **changes)
    if fill == [0]:
        assert len(open_trajectory(tmp_path)["step"]) == 3
        return
    with pytest.warns(TrajscopeWarning, match=r"contains invalid zarr metadata"):
        assert open_trajectory(tmp_path)["step"].values.tolist() == [0, 20]
