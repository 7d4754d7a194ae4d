"""Analyses of a run whose files change, vanish or are replaced while they are read."""

import os
import pickle
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
import xarray as xr
import zarr
from safetensors.numpy import save_file

from trajscope import TrajectoryError, TrajscopeWarning, analyze, audit, compare, open_trajectory
from trajscope.analysis.unchanged import unchanged
from trajscope.errors import ChangedError

QUICK = {"n_surrogates": 19, "alpha": 0.1}
N = 12


def state(step, salt=0, n_weights=400):
    rng = np.random.default_rng(salt)
    walk = rng.normal(size=(N, n_weights)).cumsum(axis=0)[step]
    return {"a.w": walk[: n_weights // 2].astype("f4"), "b.w": walk[n_weights // 2 :].astype("f4")}


def path(folder, step):
    return folder / f"step-{step}.safetensors"


def write(folder, *steps, salt=0):
    folder.mkdir(exist_ok=True)
    for step in steps or range(N):
        save_file(state(step, salt), path(folder, step))


def in_place(folder, step):
    """Other weights in the same file, of the same size and with its old time, as rsync does it."""
    before = path(folder, step).stat()
    save_file(state(step, 1), folder / "other")
    with path(folder, step).open("r+b") as file:
        file.write((folder / "other").read_bytes())
    (folder / "other").unlink()
    os.utime(path(folder, step), ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(folder, step):
    """Another file of the same size and time under the same name."""
    before = path(folder, step).stat()
    save_file(state(step, 1), folder / "other")
    (folder / "other").rename(path(folder, step))
    os.utime(path(folder, step), ns=(before.st_atime_ns, before.st_mtime_ns))


def vanish(folder, step):
    path(folder, step).unlink()


def pipe(folder, step):
    path(folder, step).unlink()
    os.mkfifo(path(folder, step))


CHANGES = {
    "written in place": (in_place, "written again after .* times of its last change"),
    "replaced": (replace, "written again after .* another inode"),
    "vanished": (vanish, "existed when the trajectory was opened but cannot be found any more"),
    "a pipe": (pipe, "was written again after"),
}


def during(change, at):
    """A progress that changes files once, when so much of a pass is done."""
    done_already = []

    def progress(done, total):
        if done >= at * total and not done_already:
            done_already.append(done)
            change()

    return progress


@pytest.fixture(autouse=True)
def _many_tasks(monkeypatch):
    """A pass of many tasks, though there are few weights."""
    monkeypatch.setattr("trajscope.measure.plan.block_width", lambda *_: 64)
    monkeypatch.setattr("trajscope.measure.plan.NARROWEST_ROW", 64)
    monkeypatch.setattr("trajscope.measure.plan.MIB", 0)


def assert_same(found, expected):
    for part in ("reductions", "observables", "tests", "verdict"):
        xr.testing.assert_identical(found[part].to_dataset(), expected[part].to_dataset())


@pytest.fixture
def expected(tmp_path):
    """What an analysis finds without steps 3 and 7."""
    write(tmp_path / "fewer", *(step for step in range(N) if step not in (3, 7)))
    with pytest.warns(TrajscopeWarning, match="unevenly spaced"):
        return analyze(tmp_path / "fewer", **QUICK)


UNEVEN = pytest.mark.filterwarnings("ignore:.*unevenly spaced")


@UNEVEN
@pytest.mark.parametrize("at", ["before", 0.0, 0.3, 0.6])
@pytest.mark.parametrize("kind", CHANGES)
def test_what_changed_since_it_was_opened_is_left_out_and_named(kind, at, tmp_path, expected):
    change, reason = CHANGES[kind]
    write(tmp_path / "run")
    opened = open_trajectory(tmp_path / "run")

    def both():
        change(tmp_path / "run", 3)
        change(tmp_path / "run", 7)

    options = dict(QUICK)
    if at == "before":
        both()
    else:
        options["progress"] = during(both, at)
    with pytest.warns(TrajscopeWarning, match=rf"2 of 12 checkpoints changed .*{reason}"):
        found = analyze(opened, **options)
    assert_same(found, expected)
    told = found["trajectory"].attrs
    lost = [str(path(tmp_path / "run", step)) for step in (3, 7)]
    assert [each["path"] for each in told["skipped"]] == lost
    assert "2 of 12 checkpoints changed or vanished" in told["warnings"][0]


@pytest.mark.parametrize("kind", CHANGES)
def test_what_changes_after_it_was_read_is_taken(kind, tmp_path):
    write(tmp_path / "run")
    opened = open_trajectory(tmp_path / "run")
    before = analyze(opened, **QUICK)
    found = analyze(
        opened, progress=during(lambda: CHANGES[kind][0](tmp_path / "run", 3), 1), **QUICK
    )
    assert_same(found, before)


def test_a_run_that_is_written_again_from_the_start_is_never_mixed(tmp_path):
    """As by a trainer that is started anew: one checkpoint after another while they are read."""
    write(tmp_path / "run")
    write(tmp_path / "old", *range(6, N))
    opened = open_trajectory(tmp_path / "run")
    again = during(lambda: write(tmp_path / "run", *range(6), salt=2), 0.4)
    with pytest.warns(TrajscopeWarning, match="6 of 12 checkpoints changed or vanished"):
        found = analyze(opened, progress=again, **QUICK)
    assert_same(found, analyze(tmp_path / "old", **QUICK))


def test_one_that_goes_on_changing_ends_in_a_sentence(tmp_path):
    write(tmp_path / "run")
    steps = iter(range(N))

    def progress(done, total):
        if done == 2:
            write(tmp_path / "run", next(steps), salt=2)

    with (
        pytest.warns(TrajscopeWarning, match="1 of 12"),
        pytest.warns(TrajscopeWarning, match="1 of 11"),
        pytest.warns(TrajscopeWarning, match="1 of 10"),
        pytest.warns(TrajscopeWarning, match="1 of 9"),
        pytest.warns(TrajscopeWarning, match="1 of 8"),
        pytest.raises(TrajectoryError, match=r"in each of 5 passes some did\..*--history always"),
    ):
        analyze(open_trajectory(tmp_path / "run"), progress=progress, **QUICK)


def test_one_of_which_nothing_stayed_ends_in_a_sentence(tmp_path):
    write(tmp_path / "run")
    opened = open_trajectory(tmp_path / "run")
    write(tmp_path / "run", *range(1, N), salt=2)
    with pytest.raises(TrajectoryError, match=r"11 of 12 checkpoints changed or vanished while"):
        analyze(opened, **QUICK)


def test_strict_refuses_what_changed(tmp_path):
    write(tmp_path / "run")
    opened = open_trajectory(tmp_path / "run")
    replace(tmp_path / "run", 3)
    with pytest.raises(ChangedError, match=r"step-3\.safetensors was written again"):
        analyze(opened, strict=True, **QUICK)


@UNEVEN
def test_parts_of_a_trajectory_are_left_out_rightly(tmp_path):
    write(tmp_path / "run")
    opened = open_trajectory(tmp_path / "run").isel(step=slice(2, None))
    vanish(tmp_path / "run", 0)
    vanish(tmp_path / "run", 5)
    with pytest.warns(TrajscopeWarning, match="1 of 10 checkpoints changed or vanished"):
        found = analyze(opened, **QUICK)
    assert found["trajectory"]["step"].values.tolist() == [2, 3, 4, 6, 7, 8, 9, 10, 11]


def test_what_dask_reads_in_blocks_is_refused(tmp_path):
    write(tmp_path / "run")
    opened = open_trajectory(tmp_path / "run").chunk({"step": 4, "weight": 100})
    vanish(tmp_path / "run", 5)  # a block holds three others
    with pytest.raises(ChangedError, match=r"step-5\.safetensors existed when"):
        analyze(opened, **QUICK)


@UNEVEN
def test_windows_hold_what_is_left(tmp_path):
    write(tmp_path / "run")
    opened = open_trajectory(tmp_path / "run")
    vanish(tmp_path / "run", 2)
    with pytest.warns(TrajscopeWarning, match="1 of 12 checkpoints changed or vanished"):
        found = analyze(opened, windows=":9,4:", **QUICK)
    sizes = [found[f"cases/{number}/trajectory"].sizes["step"] for number in (1, 2)]
    assert sizes == [8, 8]


@UNEVEN
def test_a_checkpoint_in_the_history_may_vanish(tmp_path):
    write(tmp_path / "run")
    for each in range(N):
        os.utime(path(tmp_path / "run", each), (1_600_000_000 + each,) * 2)
    before = analyze(tmp_path / "run", history=tmp_path / "history", **QUICK)
    opened = open_trajectory(tmp_path / "run")

    def go(some):
        from trajscope.history.kept import remembered

        with remembered(some[0], tmp_path / "history") as found:
            vanish(tmp_path / "run", 3)
            return analyze(found.trajectory, **QUICK)

    assert_same(unchanged([opened], go, strict=False), before)


@UNEVEN
def test_one_that_vanishes_before_the_history_has_it_is_left_out(tmp_path, expected):
    write(tmp_path / "run")
    opened = open_trajectory(tmp_path / "run")

    def kept(trajectory):
        from trajscope.history.kept import remembered

        if path(tmp_path / "run", 3).exists():
            vanish(tmp_path / "run", 3)
            vanish(tmp_path / "run", 7)
        return reading(remembered(trajectory, tmp_path / "history"))

    with pytest.warns(TrajscopeWarning, match="2 of 12 checkpoints changed or vanished"):
        found = analyze(opened, history=kept, **QUICK)
    assert_same(found, expected)


@contextmanager
def reading(remembered):
    with remembered as found:
        yield found.trajectory


@UNEVEN
@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
@pytest.mark.parametrize("kind", ["zarr groups", "torch distributed"])
def test_a_folder_of_which_one_file_is_written_again_is_left_out(kind, tmp_path, monkeypatch):
    for step in range(N):
        folder_of(kind, tmp_path, step)
    opened = open_trajectory(tmp_path)
    assert opened.sizes["step"] == N

    def write_again():
        file = next(p for p in (tmp_path / f"step_3{ENDINGS[kind]}").rglob("*") if is_data(p))
        content = file.read_bytes()
        file.write_bytes(content[:-4] + b"\1\1\1\1" if kind == "zarr groups" else content)

    with pytest.warns(TrajscopeWarning, match="1 of 12 .* another size or time of a file beside"):
        found = analyze(opened, progress=during(write_again, 0.4), **QUICK)
    assert 3 not in found["trajectory"]["step"].values


ENDINGS = {"zarr groups": ".zarr", "torch distributed": ""}


def folder_of(kind, above, step):
    target = above / f"step_{step}{ENDINGS[kind]}"
    if kind == "zarr groups":
        group = zarr.open_group(target, mode="w")
        for name, values in state(step).items():
            group.create_array(name, data=values, compressors=None)
    else:
        import torch
        from torch.distributed.checkpoint import FileSystemWriter, save

        tensors = {name: torch.tensor(values) for name, values in state(step).items()}
        save({"model": tensors}, storage_writer=FileSystemWriter(target), no_dist=True)


def is_data(file):
    return file.is_file() and not file.name.startswith((".", "zarr.json"))


@UNEVEN
def test_compared_runs_are_what_they_were(tmp_path):
    write(tmp_path / "one")
    write(tmp_path / "other", salt=3)
    runs = [open_trajectory(tmp_path / name) for name in ("one", "other")]
    labels = ["one", "other"]
    with pytest.warns(TrajscopeWarning, match="1 of 12 checkpoints changed or vanished"):
        found = compare(
            *runs, labels=labels, progress=during(lambda: vanish(tmp_path / "other", 3), 0.3),
            **QUICK,
        )  # fmt: skip
    sizes = [found[f"cases/{number}/trajectory"].sizes["step"] for number in (1, 2)]
    assert sizes == [12, 11]
    write(tmp_path / "other", 3, salt=3)
    left = open_trajectory(tmp_path / "other").isel(step=[s for s in range(N) if s != 3])
    expected = compare(runs[0], left, labels=labels, **QUICK)
    xr.testing.assert_identical(
        found["compare"].to_dataset()["p_value"], expected["compare"].to_dataset()["p_value"]
    )


def test_the_audit_goes_on_without_one_that_vanished(tmp_path):
    write(tmp_path / "run")
    shutil.copy(path(tmp_path / "run", 2), path(tmp_path / "run", 9))
    opened = open_trajectory(tmp_path / "run")
    vanish(tmp_path / "run", 5)
    with pytest.warns(TrajscopeWarning, match="1 of 12 checkpoints changed or vanished"):
        found = audit(opened)
    assert [(each["kind"], each["steps"]) for each in found] == [("identical", [2, 9])]


def test_a_worker_that_does_not_see_the_files_is_told_of(tmp_path):
    write(tmp_path / "run")
    opened = open_trajectory(tmp_path / "run")

    def blind(_):
        raise ChangedError("step-0 cannot be found on node7. Workers of a cluster need access")

    with pytest.raises(ChangedError, match="on node7"):
        unchanged([opened], blind, strict=False)


def test_the_error_travels_from_workers():
    again = pickle.loads(pickle.dumps(ChangedError("what\nhappened", "why", True)))
    assert (str(again), again.reason, again.unseen) == ("what\nhappened", "why", True)


def store_of(kind, folder, salt=0, steps=range(N)):
    """One store with a step axis: a file or a folder of chunks."""
    values = {name: np.stack([state(step, salt)[name] for step in steps]) for name in state(0)}
    if kind == "HDF5":
        import h5py

        with h5py.File(folder, "w") as file:
            file["step"] = np.array(steps)
            for name, array in values.items():
                file[name] = array
        return
    group = zarr.open_group(folder, mode="w", zarr_format=2 if kind == "zarr 2" else 3)
    length = {"zarr of all steps": N, "zarr of five steps": 5}.get(kind, 1)
    axes = {} if kind == "zarr 2" else {"dimension_names": ("step",)}
    made = group.create_array("step", data=np.array(steps), chunks=(N,), **axes)
    axes = {} if kind == "zarr 2" else {"dimension_names": ("step", "weight")}
    for name, array in values.items():
        made = group.create_array(name, data=array, chunks=(length, 100), compressors=None, **axes)
        if kind == "zarr 2":
            made.attrs["_ARRAY_DIMENSIONS"] = ["step", "weight"]
    if kind == "zarr 2":
        group["step"].attrs["_ARRAY_DIMENSIONS"] = ["step"]


def step_again(kind, path, step):
    """Other weights at one step, of the same size."""
    if kind == "HDF5":
        import h5py

        with h5py.File(path, "r+") as file:
            file["a.w"][step] = state(step, 1)["a.w"]
        return
    zarr.open_group(path, mode="r+")["a.w"][step] = state(step, 1)["a.w"]


LOST = {
    "zarr": [3], "zarr 2": [3], "zarr of five steps": [0, 1, 2, 3, 4],
    "zarr of all steps": list(range(N)), "HDF5": list(range(N)),
}  # fmt: skip


@UNEVEN
@pytest.mark.parametrize("at", ["before", 0.4])
@pytest.mark.parametrize("kind", LOST)
def test_steps_of_a_store_that_are_written_again_are_left_out_or_all_is_refused(kind, at, tmp_path):
    place = tmp_path / ("run.h5" if kind == "HDF5" else "run.zarr")
    store_of(kind, place)
    opened = open_trajectory(place)
    options = dict(QUICK)
    if at == "before":
        step_again(kind, place, 3)
    else:
        options["progress"] = during(lambda: step_again(kind, place, 3), at)
    if len(LOST[kind]) == N:
        with pytest.raises(TrajectoryError, match=r"12 of 12 checkpoints changed .* is another"):
            analyze(opened, **options)
        return
    with pytest.warns(TrajscopeWarning, match=rf"{len(LOST[kind])} of 12 .* is another, or is go"):
        found = analyze(opened, **options)
    left = [step for step in range(N) if step not in LOST[kind]]
    assert found["trajectory"]["step"].values.tolist() == left
    store_of(kind, tmp_path / "fewer.zarr", steps=left)
    assert_same(found, analyze(tmp_path / "fewer.zarr", **QUICK))


def test_a_store_that_only_grows_is_as_it_was(tmp_path):
    store_of("zarr", tmp_path / "run.zarr", steps=range(N - 2))
    opened = open_trajectory(tmp_path / "run.zarr")
    before = analyze(opened, **QUICK)
    group = zarr.open_group(tmp_path / "run.zarr", mode="r+")
    for name, values in {**state(N - 2), "step": N - 2}.items():
        group[name].append(np.asarray(values)[None])
    assert_same(analyze(opened, **QUICK), before)


@pytest.mark.parametrize("kind", LOST)
def test_a_store_cut_by_dask_is_refused_once_it_is_written_again(kind, tmp_path):
    place = tmp_path / ("run.h5" if kind == "HDF5" else "run.zarr")
    store_of(kind, place)
    opened = open_trajectory(place).chunk({"step": 4, "weight": 100}).isel(step=slice(1, None))
    again = during(lambda: step_again(kind, place, 3), 0.4)
    with pytest.raises(ChangedError, match=r"was written again after the trajectory was opened"):
        analyze(opened, progress=again, **QUICK)


def test_what_dask_holds_already_may_be_written_again(tmp_path):
    store_of("zarr", tmp_path / "run.zarr")
    held = open_trajectory(tmp_path / "run.zarr").chunk({"weight": 100}).persist()
    before = analyze(held, **QUICK)
    store_of("zarr", tmp_path / "run.zarr", salt=1)
    assert_same(analyze(held, **QUICK), before)


@pytest.mark.parametrize("kind", ["zarr", "HDF5"])
def test_a_store_that_vanishes_is_told_of(kind, tmp_path):
    place = tmp_path / ("run.h5" if kind == "HDF5" else "run.zarr")
    store_of(kind, place)
    opened = open_trajectory(place)
    gone = during(lambda: place.rename(tmp_path / "elsewhere"), 0.4)
    with pytest.raises(TrajectoryError, match=r"12 of 12 checkpoints changed or vanished"):
        analyze(opened, progress=gone, **QUICK)
