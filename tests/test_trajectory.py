import json
import os
import pickle
import warnings
from pathlib import Path

import dask
import ml_dtypes
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from trajscope.checkpoints.lazy import check_unchanged
from trajscope.errors import (
    ChangedError,
    CheckpointError,
    OptionError,
    TrajectoryError,
    TrajscopeWarning,
)
from trajscope.trajectory import TrajscopeBackend, checkpoint_files, open_trajectory, tensor

STEPS = (0, 10, 20, 100)
SHAPES = {"fc1.bias": (4,), "fc1.weight": (4, 3), "fc2.weight": (2, 4)}


def model(step):
    rng = np.random.default_rng(step)
    return {name: rng.normal(size=shape).astype("f4") for name, shape in SHAPES.items()}


def flat(step):
    return np.concatenate([values.ravel() for values in model(step).values()])


EXPECTED = np.stack([flat(step) for step in STEPS])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four checkpoints of 24 weights, with statistics between the weights in the file."""
    folder = tmp_path_factory.mktemp("run")
    for step in STEPS:
        extra = {"fc1.running_mean": np.full(5, step, "f4"), "z": np.arange(3)}
        save_file({**model(step), **extra}, folder / f"step-{step}.safetensors")
    return folder


@pytest.fixture(scope="module")
def trajectory(folder):
    return open_trajectory(folder)


@pytest.fixture
def reads(monkeypatch):
    """The names of files opened, and the bytes asked of them, from here on."""
    opened, amounts, real_open, real_read = [], [], os.open, os.preadv

    def counting_open(path, *args, **kwargs):
        opened.append(Path(path).name)
        return real_open(path, *args, **kwargs)

    def counting_read(descriptor, buffers, offset):
        amounts.append(sum(len(buffer) for buffer in buffers))
        return real_read(descriptor, buffers, offset)

    monkeypatch.setattr(os, "open", counting_open)
    monkeypatch.setattr(os, "preadv", counting_read)
    return opened, amounts


# --- what the Dataset holds


def test_the_weights_of_every_step_lie_in_one_row(trajectory):
    assert trajectory["weights"].dims == ("step", "weight")
    assert trajectory["weights"].dtype == np.float32
    np.testing.assert_array_equal(trajectory["weights"], EXPECTED)


def test_the_coordinates_say_what_lies_where(trajectory, folder):
    assert trajectory["step"].dtype == np.int64
    assert list(trajectory["step"].values) == list(STEPS)
    assert list(trajectory["path"].values) == [str(folder / f"step-{s}.safetensors") for s in STEPS]
    assert list(trajectory["tensor"].values) == list(SHAPES)
    assert list(trajectory["row_size"].values) == [4, 12, 8]
    assert trajectory["row_size"].dtype == np.int64
    assert [tuple(json.loads(text)) for text in trajectory["shape"].values] == list(SHAPES.values())
    assert set(trajectory["stored_dtype"].values) == {"float32"}


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("none", ["all", "all", "all"]),
        ("layer", ["fc1", "fc1", "fc2"]),
        ("tensor", list(SHAPES)),
    ],
)
def test_groups_are_everything_layers_or_tensors(by, groups, folder):
    assert list(open_trajectory(folder, by=by)["group"].values) == groups


def test_an_unknown_grouping_is_refused(folder):
    with pytest.raises(OptionError, match="one of 'none', 'layer' and 'tensor' was expected"):
        open_trajectory(folder, by="block")


def test_the_attributes_are_plain_and_tell_where_it_came_from(trajectory, folder):
    attrs = json.loads(json.dumps(trajectory.attrs))
    assert attrs == trajectory.attrs
    assert attrs["source"] == str(folder)
    assert attrs["run"] == folder.name
    assert (attrs["step_unit"], attrs["step_source"]) == ("step", "number after 'step' in the name")
    assert attrs["format"] == "safetensors"
    assert attrs["left_out"] == [
        {"name": "fc1.running_mean", "reason": "a running statistic, not a weight"},
        {"name": "z", "reason": "int64 values, not a supported floating-point dtype"},
    ]
    assert attrs["skipped"] == attrs["warnings"] == []


def test_the_fingerprint_follows_the_files_and_the_choice(folder, tmp_path):
    first = open_trajectory(folder).attrs["fingerprint"]
    assert open_trajectory(folder).attrs["fingerprint"] == first
    assert open_trajectory(folder, steps="10:").attrs["fingerprint"] != first
    assert open_trajectory(folder, include=("fc1.*",)).attrs["fingerprint"] != first
    for step in STEPS[:2]:
        save_file(model(step), tmp_path / f"step-{step}.safetensors")
    before = open_trajectory(tmp_path).attrs["fingerprint"]
    os.utime(tmp_path / "step-0.safetensors", ns=(1, 1))
    assert open_trajectory(tmp_path).attrs["fingerprint"] != before


def test_fractional_steps_are_kept(tmp_path):
    for half in (1, 2, 3):
        save_file(model(half), tmp_path / f"{half}.safetensors", metadata={"epoch": str(half / 2)})
    opened = open_trajectory(tmp_path)
    assert list(opened["step"].values) == [0.5, 1.0, 1.5]
    assert opened.attrs["step_unit"] == "epoch"


def test_what_was_left_out_is_warned_of_and_recorded(tmp_path):
    for step in STEPS:
        save_file(model(step), tmp_path / f"step-{step}.safetensors")
    (tmp_path / "step-7.safetensors").write_bytes(b"{}")
    with pytest.warns(TrajscopeWarning, match="1 of 5 checkpoints cannot be read") as caught:
        opened = open_trajectory(tmp_path)
    assert opened.attrs["warnings"] == [str(warning.message) for warning in caught]
    assert caught[0].filename == __file__
    assert [entry["path"] for entry in opened.attrs["skipped"]] == ["step-7.safetensors"]


def test_a_selection_chooses_checkpoints(folder):
    assert list(open_trajectory(folder, steps="10:", burn_in=1)["step"].values) == [20, 100]
    with pytest.raises(TrajectoryError, match="the selection left 1"):
        open_trajectory(folder, burn_in=3)


def test_checkpoints_outside_the_selection_do_not_matter(tmp_path):
    for step in STEPS:
        save_file(model(step), tmp_path / f"step-{step}.safetensors")
    save_file({"other": np.ones(3, "f4")}, tmp_path / "step-500.safetensors")
    assert open_trajectory(tmp_path, steps=":500", strict=True).sizes["step"] == 4


def test_one_checkpoint_beside_a_foreign_one_is_too_few(tmp_path):
    save_file({"w": np.ones(3, "f4")}, tmp_path / "step-0.safetensors")
    save_file({"w": np.ones(4, "f4")}, tmp_path / "step-1.safetensors")
    with pytest.raises(TrajectoryError, match=r"one checkpoint remains; .*it shares 0 of the 1"):
        open_trajectory(tmp_path)


def test_names_that_no_array_could_hold_are_escaped(tmp_path):
    for step in (1, 2):
        values = {"a": np.ones(2, "f4"), "b_": np.ones(2, "f4"), "c_": np.ones(2, "f4")}
        path = tmp_path / f"step-{step}.safetensors"
        save_file(values, path)
        content = path.read_bytes()
        header = content[8 : 8 + int.from_bytes(content[:8], "little")]
        header = header.replace(b'"b_"', b'"a\\u0000"').replace(b'"c_"', b'"b\\ud800"')
        path.write_bytes(len(header).to_bytes(8, "little") + header + content[-24:])
    opened = open_trajectory(tmp_path)
    assert sorted(opened["tensor"].values) == ["a", "a\\x00", "b\\ud800"]


# --- reading


def test_opening_reads_no_weights(tmp_path, reads):
    for step in (1, 2):
        save_file({"w": np.zeros(1_000_000, "f4")}, tmp_path / f"s{step}.safetensors")
    open_trajectory(tmp_path)
    assert sum(reads[1]) < 200_000


def test_selected_weights_are_all_that_is_read(trajectory, reads):
    opened, amounts = reads
    block = trajectory["weights"].isel(step=[0, -1], weight=slice(6, 10)).values
    np.testing.assert_array_equal(block, EXPECTED[[0, -1], 6:10])
    assert opened == ["step-0.safetensors", "step-100.safetensors"]
    assert amounts == [16, 16]


def test_neighbouring_tensors_are_read_at_once(tmp_path, reads):
    for step in STEPS:
        save_file(model(step), tmp_path / f"step-{step}.safetensors")
    opened = open_trajectory(tmp_path)
    reads[0].clear()
    reads[1].clear()
    np.testing.assert_array_equal(opened["weights"].values, EXPECTED)
    assert len(reads[0]) == 4
    assert reads[1] == [96] * 4


def test_a_block_belongs_to_its_reader_who_needs_no_copy(trajectory):
    block = trajectory["weights"].variable[:, 3:9].to_numpy()
    assert block.flags.owndata
    assert block.flags.writeable


def test_nothing_that_was_read_is_kept(trajectory, reads):
    for _ in range(2):
        trajectory["weights"].values  # noqa: B018
    assert len(reads[0]) == 8


def outer(length):
    """Keys along a dimension: numbers, lists, masks, and slices that begin inside it."""
    positions = st.integers(-length, length - 1)
    ends = st.none() | positions
    return st.one_of(
        positions,
        st.lists(positions, max_size=8).map(lambda values: np.array(values, int)),
        st.builds(slice, ends, ends, st.sampled_from((None, 1, 2, -1, -3))),
        st.lists(st.booleans(), min_size=length, max_size=length).map(np.array),
    )


@given(outer(4), outer(24))
def test_every_outer_selection_is_the_one_numpy_makes(trajectory, rows, columns):
    lazy = trajectory["weights"].isel(step=rows, weight=columns)
    loaded = xr.Variable(("step", "weight"), EXPECTED).isel(step=rows, weight=columns)
    np.testing.assert_array_equal(lazy.values, loaded.values)


@given(outer(4), outer(24), st.data())
def test_selections_of_selections_are_the_ones_numpy_makes(trajectory, rows, columns, data):
    lazy, loaded = trajectory["weights"].variable, xr.Variable(("step", "weight"), EXPECTED)
    lazy, loaded = (each.isel(step=rows).isel(weight=columns) for each in (lazy, loaded))
    if loaded.sizes.get("weight", 0) > 0:
        more = data.draw(outer(loaded.sizes["weight"]))
        lazy, loaded = lazy.isel(weight=more), loaded.isel(weight=more)
    np.testing.assert_array_equal(lazy.values, loaded.values)


def test_pointwise_selections_are_the_ones_numpy_makes(trajectory):
    points = {
        "step": xr.DataArray([3, 0, 1], dims="p"),
        "weight": xr.DataArray([5, 5, 0], dims="p"),
    }
    np.testing.assert_array_equal(
        trajectory["weights"].isel(points).values, EXPECTED[[3, 0, 1], [5, 5, 0]]
    )


def test_far_apart_weights_are_read_without_what_lies_between(tmp_path, reads):
    for step in (1, 2):
        save_file({"w": np.arange(100_000, dtype="f4") + step}, tmp_path / f"s{step}.safetensors")
    opened = open_trajectory(tmp_path)
    reads[1].clear()
    picked = opened["weights"].isel(weight=[99_999, 3, 5]).values
    np.testing.assert_array_equal(picked, [[100_000, 4, 6], [100_001, 5, 7]])
    assert sum(reads[1]) == 2 * (3 + 1) * 4


def test_weights_in_different_files_of_a_checkpoint_are_one_row(tmp_path):
    for step in (10, 20):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        parts = {
            "a-00001-of-00002.safetensors": ("fc2.weight",),
            "a-00002-of-00002.safetensors": ("fc1.bias", "fc1.weight"),
        }
        for name, tensors in parts.items():
            save_file({key: model(step)[key] for key in tensors}, folder / name)
    opened = open_trajectory(tmp_path)
    for name in SHAPES:
        np.testing.assert_array_equal(tensor(opened, name)[1], model(20)[name])


@pytest.mark.parametrize(
    ("stored", "target"),
    [
        ("float64", "float64"),
        ("float32", "float32"),
        ("float16", "float32"),
        ("bfloat16", "float32"),
        ("float8_e4m3fn", "float32"),
    ],
)
def test_narrow_floats_are_widened_exactly_and_their_dtype_is_told(stored, target, tmp_path):
    dtype = np.dtype(getattr(ml_dtypes, stored, None) or stored)
    values = {step: np.random.default_rng(step).normal(size=50).astype(dtype) for step in (1, 2)}
    for step, drawn in values.items():
        save_file({"a": drawn, "b": drawn[:7]}, tmp_path / f"step{step}.safetensors")
    opened = open_trajectory(tmp_path)
    assert opened["weights"].dtype == target
    assert set(opened["stored_dtype"].values) == {stored}
    np.testing.assert_array_equal(
        tensor(opened, "a"), np.stack(list(values.values())).astype(target)
    )


def test_mixed_dtypes_are_read_in_the_one_that_holds_all(tmp_path):
    for step in (1, 2):
        values = {
            "a": np.full(3, 0.1, "f2"),
            "b": np.full(2, 0.1, "f8"),
            "c": np.full(4, 0.1, "f4"),
        }
        save_file(values, tmp_path / f"step{step}.safetensors")
    opened = open_trajectory(tmp_path)
    expected = np.concatenate(
        [np.full(n, 0.1, d).astype("f8") for n, d in ((3, "f2"), (2, "f8"), (4, "f4"))]
    )
    np.testing.assert_array_equal(opened["weights"], np.stack([expected, expected]))


def test_dask_reads_the_same_in_any_blocks(trajectory):
    chunked = trajectory.chunk(weight=7)["weights"]
    assert isinstance(chunked.data, dask.array.Array)
    np.testing.assert_array_equal(chunked.compute(scheduler="threads"), EXPECTED)


def test_a_lazy_trajectory_can_be_sent_to_another_process(trajectory):
    again = pickle.loads(pickle.dumps(trajectory["weights"].variable))
    np.testing.assert_array_equal(again, EXPECTED)


@pytest.mark.slow
def test_a_trajectory_of_twenty_thousand_files_is_small_when_sent(tmp_path):
    one = tmp_path / "0.safetensors"
    save_file(model(0), one)
    os.utime(one, ns=(5, 5))
    content = one.read_bytes()
    for step in range(1, 20_000):
        (tmp_path / f"{step}.safetensors").write_bytes(content)
    variable = open_trajectory(tmp_path)["weights"].variable
    assert variable.shape == (20_000, 24)
    assert len(pickle.dumps(variable)) < 1_000_000


# --- files that change


@pytest.fixture
def young(tmp_path):
    for step in STEPS:
        save_file(model(step), tmp_path / f"step-{step}.safetensors")
    return open_trajectory(tmp_path), tmp_path


def test_a_file_that_vanished_is_named_with_the_question_of_a_shared_folder(young):
    opened, folder = young
    (folder / "step-10.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"step-10\.safetensors .*access to the folder"):
        opened["weights"].values  # noqa: B018


def test_a_file_of_another_size_is_refused(young):
    opened, folder = young
    save_file({**model(0), "more": np.ones(1, "f4")}, folder / "step-0.safetensors")
    with pytest.raises(CheckpointError, match=r"step-0\.safetensors was written again .* bytes"):
        opened["weights"].values  # noqa: B018


def written_again(path):
    save_file(model(5), path)


def replaced(path):
    save_file(model(5), path.with_name("other"))
    path.with_name("other").rename(path)


def written_in_place(path):
    with path.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(np.float32(5).tobytes())


def touched(path):
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("keep_times", [False, True])
@pytest.mark.parametrize("change", [written_again, replaced, written_in_place, touched])
def test_a_file_of_the_same_size_that_may_hold_other_weights_is_refused(change, keep_times, young):
    opened, folder = young
    path = folder / "step-0.safetensors"
    before = path.stat()
    change(path)
    if keep_times:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    with pytest.raises(ChangedError, match=r"step-0\.safetensors was written again .* inode"):
        opened["weights"].values  # noqa: B018
    with pytest.raises(ChangedError, match=r"step-0\.safetensors was written again .* inode"):
        check_unchanged(opened["weights"].variable)


def test_a_file_that_is_written_in_place_while_it_is_read_is_refused(young, monkeypatch):
    opened, folder = young
    real = os.preadv

    def write_meanwhile(*arguments):
        if not (folder / "done").exists():
            (folder / "done").touch()
            written_in_place(folder / "step-0.safetensors")
        return real(*arguments)

    monkeypatch.setattr(os, "preadv", write_meanwhile)
    with pytest.raises(ChangedError, match=r"step-0\.safetensors was written again"):
        opened["weights"].values  # noqa: B018


def test_a_file_that_is_cut_while_it_is_read_was_written_again(young, monkeypatch):
    opened, folder = young
    real = os.preadv

    def cut_meanwhile(*arguments):
        os.truncate(folder / "step-0.safetensors", 300)
        return real(*arguments)

    monkeypatch.setattr(os, "preadv", cut_meanwhile)
    with pytest.raises(ChangedError, match=r"step-0\.safetensors was written again .* 300 found"):
        opened["weights"].values  # noqa: B018


def test_whether_files_are_as_they_were_is_seen_without_reading_them(young, reads):
    opened, folder = young
    (folder / "step-10.safetensors").unlink()
    for each in reads:
        each.clear()
    check_unchanged(opened["weights"].variable[[0, 2, 3]])
    with pytest.raises(ChangedError, match=r"step-10\.safetensors existed when"):
        check_unchanged(opened["weights"].variable[1:, 5:9])
    assert reads == ([], [])


def test_a_file_that_became_a_pipe_is_refused(young):
    opened, folder = young
    (folder / "step-0.safetensors").unlink()
    os.mkfifo(folder / "step-0.safetensors")
    with pytest.raises(CheckpointError, match="is not a regular file"):
        opened["weights"].values  # noqa: B018


def test_a_file_cut_between_the_check_and_the_read_is_refused(young, monkeypatch):
    opened, _ = young
    monkeypatch.setattr(os, "preadv", lambda *_: 0)
    with pytest.raises(CheckpointError, match=r"ends early: 96 bytes are missing"):
        opened["weights"].values  # noqa: B018


def test_short_reads_are_continued(young, monkeypatch):
    opened, _ = young
    real = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, b, offset: real(fd, [b[0][:7]], offset))
    np.testing.assert_array_equal(opened["weights"], EXPECTED)


def test_a_disk_that_fails_is_named(young, monkeypatch):
    opened, _ = young

    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(CheckpointError, match=r"step-0\.safetensors cannot be read: Input/output"):
        opened["weights"].values  # noqa: B018


# --- one tensor


@pytest.mark.parametrize("name", SHAPES)
def test_a_tensor_comes_back_in_its_own_shape(name, trajectory):
    one = tensor(trajectory, name)
    assert one.dims == ("step", *(f"dim_{i}" for i in range(len(SHAPES[name]))))
    np.testing.assert_array_equal(one, np.stack([model(step)[name] for step in STEPS]))
    assert list(one["step"].values) == list(STEPS)


def test_two_steps_of_a_tensor_are_two_reads(trajectory, reads):
    for select in (
        lambda: tensor(trajectory, "fc1.weight").isel(step=[0, -1]),
        lambda: tensor(trajectory.isel(step=[0, -1]), "fc1.weight"),
        lambda: tensor(trajectory, "fc1.weight").sel(step=[0, 100]),
    ):
        reads[0].clear()
        reads[1].clear()
        one = select()
        assert not reads[0]
        np.testing.assert_array_equal(one, np.stack([model(s)["fc1.weight"] for s in (0, 100)]))
        assert reads == (["step-0.safetensors", "step-100.safetensors"], [48, 48])


@given(outer(4), outer(4), outer(3))
def test_every_outer_selection_of_a_tensor_is_the_one_numpy_makes(trajectory, a, b, c):
    loaded = xr.Variable(
        ("step", "dim_0", "dim_1"), np.stack([model(step)["fc1.weight"] for step in STEPS])
    )
    lazy = tensor(trajectory, "fc1.weight").isel(step=a, dim_0=b, dim_1=c)
    np.testing.assert_array_equal(lazy.values, loaded.isel(step=a, dim_0=b, dim_1=c).values)


@pytest.mark.parametrize("prepare", [lambda ds: ds.load(), lambda ds: ds.chunk(weight=5)])
def test_a_tensor_of_a_loaded_or_chunked_trajectory_is_the_same(prepare, folder):
    prepared = prepare(open_trajectory(folder))
    one = tensor(prepared, "fc1.weight")
    np.testing.assert_array_equal(one, np.stack([model(step)["fc1.weight"] for step in STEPS]))


def test_scalars_are_tensors_too(tmp_path):
    for step in (1, 2):
        save_file(
            {"gain": np.full((), step, "f4"), "w": np.ones(2, "f4")},
            tmp_path / f"step{step}.safetensors",
        )
    one = tensor(open_trajectory(tmp_path), "gain")
    assert one.dims == ("step",)
    assert list(one.values) == [1, 2]


def test_an_unknown_tensor_is_refused_with_near_names(trajectory):
    with pytest.raises(TrajectoryError, match=r"no tensor 'fc1\.wieght' .*Near it: fc1\.weight"):
        tensor(trajectory, "fc1.wieght")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda ds: ds.isel(weight=slice(5)), "Take the tensor first"),
        (lambda ds: ds.isel(step=0), "Select steps with a list or a slice"),
        (lambda ds: ds.drop_vars("row_size"), "row_size is missing"),
    ],
)
def test_a_dataset_that_is_no_whole_trajectory_is_refused(spoil, message, trajectory):
    with pytest.raises(TrajectoryError, match=message):
        tensor(spoil(trajectory), "fc1.weight")


# --- the xarray engine


def test_xarray_opens_a_folder_by_the_name_of_the_engine(folder):
    opened = xr.open_dataset(folder, engine="trajscope", cache=False, steps="10:", by="tensor")
    np.testing.assert_array_equal(opened["weights"], EXPECTED[1:])
    assert list(opened["group"].values) == list(SHAPES)


def test_xarray_recognises_a_folder_of_checkpoints_by_itself(folder):
    np.testing.assert_array_equal(xr.open_dataset(folder)["weights"], EXPECTED)


def test_dropped_variables_are_not_there(folder):
    assert "path" not in xr.open_dataset(folder, engine="trajscope", drop_variables="path")


def test_other_folders_and_files_are_not_claimed(folder, tmp_path):
    claims = TrajscopeBackend().guess_can_open
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "zarr.json").write_text("{}")
    assert claims(folder)
    assert claims(folder.parent)
    assert not claims(tmp_path)
    assert not claims(tmp_path / "a.zarr")
    assert not claims(folder / "step-0.safetensors")
    assert not claims(tmp_path / "nowhere")
    assert not claims(object())


def test_warnings_are_only_raised_when_there_is_something_to_say(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_trajectory(folder, strict=True)


def test_a_single_pattern_may_be_given_as_text(folder):
    assert list(open_trajectory(folder, include="fc1.b*")["tensor"].values) == ["fc1.bias"]
    assert list(open_trajectory(folder, exclude="fc1*")["tensor"].values) == ["fc2.weight"]


def test_printing_a_trajectory_from_a_hostile_folder_sends_no_escape_sequences(tmp_path):
    folder = tmp_path / "run\x1b[31m\u202e"
    folder.mkdir()
    for step in (1, 2):
        save_file({"w<b>\x1b[31m": np.ones(2, "f4")}, folder / f"{step}.safetensors")
    opened = open_trajectory(folder)
    for text in (repr(opened), repr(tensor(opened, "w<b>\x1b[31m"))):
        assert not {"\x1b", "\u202e"} & set(text)
    assert "<b>" not in opened._repr_html_()


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.filterwarnings("ignore:.*(consolidated|Consolidated|string|specification|data type)")
def test_a_trajectory_copied_in_chunks_is_the_same(zarr_format, trajectory, tmp_path):
    trajectory.chunk(weight=10).to_zarr(tmp_path / "copy.zarr", zarr_format=zarr_format)
    copy = xr.open_zarr(tmp_path / "copy.zarr")
    xr.testing.assert_identical(copy.load(), trajectory.load())
    assert copy.attrs == trajectory.attrs


def test_the_files_of_checkpoints_are_told_and_those_of_a_store_are_none(tmp_path):
    for step in (0, 1):
        for place in (tmp_path / "flat" / f"step-{step}", tmp_path / "deep" / f"step-{step}" / "w"):
            place.parent.mkdir(parents=True, exist_ok=True)
            save_file(model(step), place.with_suffix(".safetensors"))
    flat_files, alone = checkpoint_files(open_trajectory(tmp_path / "flat"))
    assert [path.name for path in flat_files] == ["step-0.safetensors", "step-1.safetensors"]
    assert not alone
    assert checkpoint_files(open_trajectory(tmp_path / "deep"))[1]
    array = xr.DataArray(np.zeros((2, 3)), dims=("step", "weight"))
    store = xr.Dataset({"weights": array}, {"path": ("step", ["run.zarr"] * 2)})
    assert checkpoint_files(store) == checkpoint_files(array.to_dataset(name="w")) == ([], False)
