"""Opening while the training still writes: never an error, never a checkpoint that is not whole."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

from tests.checkpoints.live_writer import ENOUGH, WRITERS, weights
from trajscope.errors import CheckpointError, TrajectoryError
from trajscope.trajectory import open_trajectory, tensor

ROOT = Path(__file__).parents[2]


def not_yet(message):
    """No step, if the message says that there are too few so far."""
    assert any(each in message for each in ("one checkpoint", "were expected", "be reached"))
    return []


def whole(folder):
    """The steps that are read from a folder, every value compared with what is written there."""
    try:
        opened = open_trajectory(folder)
    except TrajectoryError as error:
        return not_yet(str(error))
    steps = opened["step"].values.tolist()
    names = set(opened["tensor"].values.tolist())
    for name, values in weights(0).items():
        assert name in names
        read = tensor(opened, name).values
        for index, step in enumerate(steps):
            np.testing.assert_array_equal(read[index], weights(step)[name], err_msg=name)
        assert read.shape[1:] == values.shape
    return steps


@pytest.mark.filterwarnings("ignore::trajscope.errors.TrajscopeWarning")
def test_a_run_is_read_while_another_process_writes_it(tmp_path):
    command = [sys.executable, "-m", "tests.checkpoints.live_writer", tmp_path]
    seen = {name: set() for name in WRITERS}
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None and min(map(len, seen.values())) < 3:
            for name in WRITERS:
                seen[name].add(len(whole(tmp_path / name)))
        (tmp_path / ENOUGH).touch()
        written, _ = process.communicate()
    assert process.returncode == 0
    for name in WRITERS:
        assert len(seen[name]) > 1, "the run was not seen to grow"
        assert whole(tmp_path / name) == list(range(0, 10 * int(written), 10))


def files_in_the_order_they_were_written(folder):
    found = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(found, key=lambda path: path.stat().st_mtime_ns)


@pytest.mark.filterwarnings("ignore::trajscope.errors.TrajscopeWarning")
@pytest.mark.parametrize("name", ["zarr groups", "zarr groups in one store", "npy folders"])
def test_a_folder_is_taken_once_all_of_its_files_are_there(name, tmp_path):
    for step in (0, 10, 20):
        WRITERS[name](tmp_path / "whole", step)
    *_, last = sorted(path for path in (tmp_path / "whole").rglob("*20*") if path.is_dir())
    files = files_in_the_order_they_were_written(last)
    partly = tmp_path / "partly"
    shutil.copytree(tmp_path / "whole", partly, ignore=shutil.ignore_patterns(last.name))
    assert whole(partly) == [0, 10]
    for count, file in enumerate(files, 1):
        target = partly / file.relative_to(tmp_path / "whole")
        target.parent.mkdir(parents=True, exist_ok=True)
        # Cut in the middle first, as a reader may find it.
        target.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        if count < len(files) or name == "npy folders":
            assert whole(partly) == [0, 10], file
        shutil.copy(file, target)
        assert whole(partly) == ([0, 10, 20] if count == len(files) else [0, 10]), file


def grouped(folder, steps):
    for step in steps:
        group = zarr.open_group(folder / f"step_{step}.zarr", mode="w")
        group.create_array("w", data=np.arange(1, 7, dtype="f4") + step, chunks=(2,))
        group.create_array("b", data=np.full(3, max(step - 10, 0), "f4"))


def test_a_chunk_of_zeros_at_the_start_is_no_gap(tmp_path, recwarn):
    grouped(tmp_path, (0, 10, 20))
    assert not (tmp_path / "step_0.zarr/b/c").exists()
    assert open_trajectory(tmp_path)["step"].values.tolist() == [0, 10, 20]
    assert not recwarn


def test_weights_that_become_zero_for_good_are_no_gap(tmp_path, recwarn):
    grouped(tmp_path, (0, 10, 20, 30, 40))
    for step in (30, 40):
        (tmp_path / f"step_{step}.zarr/w/c/1").unlink()
    opened = open_trajectory(tmp_path)
    assert tensor(opened, "w").values[:, 2].tolist() == [3, 13, 23, 0, 0]
    assert not recwarn


def test_a_chunk_that_both_neighbours_have_was_lost(tmp_path):
    grouped(tmp_path, (0, 10, 20))
    (tmp_path / "step_10.zarr/w/c/1").unlink()
    with pytest.warns(match=r"step_10\.zarr lacks chunks of the array 'w'.* before and after it"):
        opened = open_trajectory(tmp_path)
    assert opened["step"].values.tolist() == [0, 20]
    with pytest.raises(CheckpointError, match="lacks chunks"):
        open_trajectory(tmp_path, strict=True)


@pytest.mark.parametrize("missing", ["w/c/2", "w", "b"])
def test_the_last_group_is_left_until_it_has_what_the_one_before_has(missing, tmp_path):
    grouped(tmp_path, (10, 20, 30))
    lost = tmp_path / "step_30.zarr" / missing
    shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
    what = "chunks of the array 'w'" if missing == "w/c/2" else f"the array '{missing}'"
    with pytest.warns(match=rf"step_30\.zarr lacks {what}, which the checkpoint before it has"):
        assert open_trajectory(tmp_path)["step"].values.tolist() == [10, 20]


def test_a_step_that_some_arrays_of_a_store_lack_is_not_taken(tmp_path):
    group = zarr.open_group(tmp_path / "run.zarr", mode="w")
    for name in ("a", "b", "never"):
        group.create_array(
            name, shape=(4, 3), chunks=(1, 3), dtype="f4", dimension_names=("step", f"{name}.0")
        )
    for row in range(3):
        group["a"][row] = 1 + row
        if row < 2:
            group["b"][row] = 2 + row
    with pytest.warns(match="the last 2 of 4 entries of the step axis are unwritten"):
        opened = open_trajectory(tmp_path / "run.zarr")
    assert opened.sizes["step"] == 2
    group["b"][2] = 4
    (tmp_path / "run.zarr/b/c/3.1a2b.partial").mkdir()
    (tmp_path / "run.zarr/b/c/3").mkdir()
    (tmp_path / "run.zarr/b/c/3/0.1a2b.partial").write_bytes(b"")
    shutil.rmtree(tmp_path / "run.zarr/b/c/3")
    with pytest.warns(match="the last 1 of 4 entries of the step axis are unwritten"):
        assert open_trajectory(tmp_path / "run.zarr").sizes["step"] == 3
