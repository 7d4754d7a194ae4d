"""Checkpoints of torch.distributed.checkpoint, written by torch and, where they lie, by hand."""

import datetime
import os
import pickle
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from hypothesis import given
from hypothesis import strategies as st
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

from tests.readers.reading import at_most, everything, header_of, is_read_or_refused, values_of
from trajscope.errors import CheckpointError
from trajscope.readers.boxes import check_boxes, fill_from_box
from trajscope.trajectory import open_trajectory, tensor

SHAPES = {"fc.weight": (5, 3), "fc.bias": (5,), "scale": ()}


def state(step):
    generator = torch.Generator().manual_seed(step)
    return {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def save(content, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no process group is there
        dcp.save(content, checkpoint_id=str(folder), no_dist=True)
    return folder / ".metadata"


def save_chunks(folder, tensors, cut):
    """What several ranks write: `cut` gives the boxes (offsets, sizes) of a shape."""
    folder.mkdir(parents=True)
    described, places = {}, {}
    with (
        (folder / "__0_0.distcp").open("wb") as first,
        (folder / "__1_0.distcp").open("wb") as last,
    ):
        for name, values in tensors.items():
            boxes = cut(values.shape)
            for number, (offsets, sizes) in enumerate(boxes):
                file = (first, last)[number % 2]
                start = file.tell()
                chunk = values[tuple(slice(o, o + s) for o, s in zip(offsets, sizes, strict=True))]
                torch.save(chunk.clone(), file)
                info = dcp.filesystem._StorageInfo(Path(file.name).name, start, file.tell() - start)
                places[MetadataIndex(name, torch.Size(offsets), number)] = info
            described[name] = TensorStorageMetadata(
                TensorProperties(values.dtype),
                values.shape,
                [ChunkStorageMetadata(torch.Size(o), torch.Size(s)) for o, s in boxes],
            )
    metadata = Metadata(described, {name: ("model", name) for name in tensors}, places)
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    return folder / ".metadata"


def halves(shape):
    """Along the first axis, as FSDP2 cuts."""
    if not shape:
        return [((), ())]
    cut = (shape[0] + 1) // 2
    rest = tuple(shape[1:])
    zeros = (0,) * len(rest)
    return [((0, *zeros), (cut, *rest)), ((cut, *zeros), (shape[0] - cut, *rest))]


def quarters(shape):
    """Along both axes, as tensor parallelism on top of it cuts."""
    if len(shape) < 2:
        return halves(shape)
    return [
        ((*start, column), (*size, width))
        for start, size in [((0,), (2,)), ((2,), (shape[0] - 2,))]
        for column, width in ((0, 1), (1, shape[1] - 1))
    ]


def test_a_series_that_torch_wrote_is_read_bit_for_bit(tmp_path):
    for step in (10, 20):
        content = {
            "model": state(step),
            "optim": {"state": {"fc.weight": {"exp_avg": torch.ones(5, 3)}}},
            "step": step,
            "args": {"lr": 0.1},
        }
        save(content, tmp_path / f"step-{step}")
    opened = open_trajectory(tmp_path)
    assert opened.attrs["format"] == "torch distributed checkpoint"
    assert opened.attrs["step_source"] == "metadata key 'step'"
    assert list(opened["step"].values) == [10, 20]
    assert sorted(opened["tensor"].values) == sorted(SHAPES)
    for name in SHAPES:
        expected = np.stack([state(step)[name].numpy() for step in (10, 20)])
        np.testing.assert_array_equal(tensor(opened, name), expected)
    assert opened.attrs["left_out"] == [{"name": "optim/*", "reason": "optimizer state (1 array)"}]


def test_an_application_around_model_and_optimizer_is_looked_into(tmp_path):
    content = {"app": {"model": state(1), "optim": {"exp_avg": {"w": torch.ones(2)}}}}
    names = header_of(save(content, tmp_path / "step_1")).tensors
    assert set(names) == {*(f"model/{name}" for name in SHAPES), "optim/exp_avg/w"}


@pytest.mark.parametrize("cut", [halves, quarters])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_chunks_over_ranks_are_put_together(cut, dtype, tmp_path):
    tensors = {name: values.to(dtype) for name, values in state(3).items()}
    path = save_chunks(tmp_path / "step_3", tensors, cut)
    for name, values in tensors.items():
        wide = values.to(torch.float64 if dtype == torch.float64 else torch.float32).numpy().ravel()
        for start in range(wide.size):
            for stop in range(start, wide.size + 1):
                found = values_of(path, f"model/{name}", start, stop)
                np.testing.assert_array_equal(found, wide[start:stop])


@given(data=st.data())
def test_any_box_fills_what_it_holds(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    whole = np.arange(np.prod(shape), dtype="f4").reshape(shape)
    first = [data.draw(st.integers(0, n - 1)) for n in shape]
    sizes = [data.draw(st.integers(1, n - o)) for n, o in zip(shape, first, strict=True)]
    box = whole[tuple(slice(o, o + s) for o, s in zip(first, sizes, strict=True))]
    start = data.draw(st.integers(0, whole.size))
    stop = data.draw(st.integers(start, whole.size))
    out = np.full(stop - start, -1, "f4")
    fill_from_box(
        out, start, shape, (tuple(first), tuple(sizes)), lambda a, b: box.ravel()[a:b].copy()
    )
    expected = np.where(np.isin(whole, box), whole, -1).ravel()[start:stop]
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([((0, 0), (2, 3))], "contain 6 of 12"),
        ([((0, 0), (2, 3)), ((1, 0), (2, 3))], "overlap"),
        ([((0, 0), (5, 3))], "outside"),
        ([((0,), (4,))], "outside"),
    ],
)
def test_chunks_that_do_not_make_up_the_tensor_are_refused(boxes, message):
    with pytest.raises(CheckpointError, match=message):
        check_boxes((4, 3), boxes)
    check_boxes((4, 3), [((0, 0), (4, 1)), ((0, 1), (4, 2)), ((0, 0), (0, 0))])


# --- what lies


class Marker:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_in_the_metadata_or_the_chunks_is_run(tmp_path):
    marker = tmp_path / "marker"
    path = save_chunks(tmp_path / "step_1", state(1), halves)
    metadata = pickle.loads(path.read_bytes())
    metadata.planner_data["evil"] = Marker(marker)
    metadata.state_dict_metadata["evil"] = Marker(marker)
    path.write_bytes(pickle.dumps(metadata))
    assert set(everything(path)) == {f"model/{name}" for name in SHAPES}
    path.write_bytes(pickle.dumps(Marker(marker)))
    with pytest.raises(
        CheckpointError, match=("its metadata is not that of a distributed checkpoint")
    ):
        header_of(path)
    folder = tmp_path / "step_2"
    path = save({"model": state(1), "step": torch.tensor(1)}, folder)
    with (folder / "__0_0.distcp").open("rb") as file:
        content = file.read()
    code = pickle.dumps(Marker(marker), 2)
    (folder / "__0_0.distcp").write_bytes(content.replace(b"\x80\x02ctorch", code[:7], 1))
    is_read_or_refused(path)
    assert not marker.exists()


def rewritten(path, change):
    metadata = pickle.loads(path.read_bytes())
    change(metadata)
    path.write_bytes(pickle.dumps(metadata))


def place(metadata, **changes):
    index = next(iter(metadata.storage_data))
    for name, value in changes.items():
        setattr(metadata.storage_data[index], name, value)


LIES = {
    "names the file": lambda m: place(m, relative_path="../step_2/__0_0.distcp"),
    "names the file '/etc/passwd'": lambda m: place(m, relative_path="/etc/passwd"),
    "cannot be opened: No such file": lambda m: place(m, relative_path="gone.distcp"),
    "is not a regular file": lambda m: place(m, relative_path="pipe.distcp"),
    "is a link to a place outside its folder": lambda m: place(m, relative_path="link.distcp"),
    "should end at byte": lambda m: place(m, length=2**40),
    "lacks a position": lambda m: place(m, offset=-1),
    "stored in a transformed form": lambda m: place(m, transform_descriptors=["zstd"]),
    "not in any file": lambda m: m.storage_data.pop(next(iter(m.storage_data))),
    "its chunks contain 15 of": lambda m: setattr(
        m.state_dict_metadata["fc.weight"], "size", torch.Size((2**40, 3))
    ),
    "its list of chunks is invalid": lambda m: m.storage_data.update({1: 2}),
}


@pytest.mark.parametrize("message", LIES)
@pytest.mark.timeout(20)
def test_metadata_that_lies_is_refused(message, tmp_path):
    path = save_chunks(tmp_path / "step_1", state(1), halves)
    os.mkfifo(path.parent / "pipe.distcp")
    (tmp_path / "outside").write_bytes(bytes(10**5))
    (path.parent / "link.distcp").symlink_to(tmp_path / "outside")
    rewritten(path, LIES[message])
    with at_most(8), pytest.raises(CheckpointError, match=message):
        header_of(path)


def test_a_chunk_of_another_shape_than_promised_is_refused(tmp_path):
    path = save_chunks(tmp_path / "step_1", {"w": torch.ones(4)}, halves)
    other = save_chunks(tmp_path / "step_2", {"w": torch.ones(2, 2)}, halves)
    for name in ("__0_0.distcp", "__1_0.distcp"):
        shutil.copy(other.parent / name, path.parent / name)
    rewritten(path, lambda m: [place(m, offset=0)])
    with pytest.raises(CheckpointError):
        everything(path)


def test_metadata_cut_or_changed_anywhere_is_refused_or_read(tmp_path):
    path = save_chunks(tmp_path / "step_1", state(1), halves)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for cut in range(0, len(whole), 7):
        path.write_bytes(whole[:cut])
        is_read_or_refused(path)
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] = rng.integers(256)
        path.write_bytes(bytes(damaged))
        is_read_or_refused(path)


def test_a_checkpoint_whose_metadata_is_not_there_yet_is_left_with_a_reason(tmp_path):
    for step in (10, 20, 30):
        save({"model": state(step)}, tmp_path / f"step-{step}")
    (tmp_path / "step-30/.metadata").unlink()
    opened = open_trajectory(tmp_path)
    assert list(opened["step"].values) == [10, 20]
    (skipped,) = opened.attrs["skipped"]
    assert skipped["path"] == "step-30/__0_0.distcp"
    assert "may be unfinished" in skipped["reason"]


def test_values_of_other_kinds_beside_the_tensors_do_no_harm(tmp_path):
    content = {"model": state(1), "when": datetime.datetime(2026, 1, 1), "note": "x" * 10**5}
    header = header_of(save(content, tmp_path / "step-1"))
    assert set(header.tensors) == {f"model/{name}" for name in SHAPES}
    assert header.metadata == {}
