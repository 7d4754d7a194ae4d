import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from safetensors.numpy import save

from tests.checkpoints.hub_cache import HubCache
from tests.cli.formats import FORMATS, STEPS
from trajscope import (
    TrajectoryError,
    TrajscopeError,
    analyze,
    open_results,
    open_trajectory,
    pack,
    write_report,
)

huggingface_hub = pytest.importorskip("huggingface_hub")


def weights(seed, size=6):
    return {"w": np.random.default_rng(seed).standard_normal(size).astype(np.float32)}


def steps(opened):
    return opened["step"].values.tolist()


def skipped(opened):
    return {each["path"]: each["reason"] for each in opened.attrs["skipped"]}


@pytest.fixture
def cache(tmp_path):
    return HubCache(tmp_path)


def fill(cache, names):
    for name in names:
        cache.revision(name, weights(sum(name.encode())))


def is_read_right(opened, names):
    expected = [weights(sum(name.encode()))["w"] for name in names]
    np.testing.assert_array_equal(opened["weights"].values, expected)
    return True


NAMES = ["step0", "step1", "step512", "step143000"]


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("inside", ["", "snapshots"])
def test_the_refs_of_a_cache_are_the_steps(tmp_path, links, inside):
    cache = HubCache(tmp_path, links=links)
    fill(cache, NAMES)
    opened = open_trajectory(cache.folder / inside)
    assert steps(opened) == [0, 1, 512, 143000]
    assert is_read_right(opened, NAMES)
    assert opened.attrs["step_source"] == "number after 'step' in the name"
    assert skipped(opened) == {}
    assert opened.attrs["decisions"] == [
        "The folder is a cache of the Hugging Face Hub; its refs name 4 revisions of the model, "
        "which are read as checkpoints."
    ]
    assert "equal_files" not in opened.attrs
    assert Path(str(opened["path"].values[0])).exists()


def test_the_library_finds_the_same_revisions_and_files(cache):
    fill(cache, [*NAMES, "runs/step7"])
    (known,) = huggingface_hub.scan_cache_dir(cache.folder.parent).repos
    assert set(known.refs) == {*NAMES, "runs/step7"}
    opened = open_trajectory(cache.folder, run=cache.folder.name)
    for name, path in zip(NAMES, opened["path"].values, strict=True):
        assert path == huggingface_hub.try_to_load_from_cache(
            "org/net", "model.safetensors", cache_dir=cache.folder.parent, revision=name
        )


def test_a_moved_cache_is_read_too(cache, tmp_path):
    fill(cache, NAMES)
    moved = tmp_path / "elsewhere" / "pythia"
    shutil.copytree(cache.folder, moved, symlinks=True)
    shutil.rmtree(cache.folder)
    assert is_read_right(open_trajectory(moved), NAMES)


def test_a_cache_of_one_model_in_the_cache_of_all(tmp_path):
    fill(HubCache(tmp_path), NAMES)
    for name in ("datasets--org--data", "spaces--org--app"):
        HubCache(tmp_path, name=name).revision("main", weights(1), "step-1.safetensors")
    for name in (".locks/models--org--net", "models--org--net/.no_exist"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "step-3.safetensors").write_bytes(save(weights(1)))
    (tmp_path / "version.txt").write_text("1")
    opened = open_trajectory(tmp_path)
    assert is_read_right(opened, NAMES)
    assert skipped(opened) == dict.fromkeys(
        ("datasets--org--data", "spaces--org--app"), "a cache of data or of an app, not of a model"
    )


def test_the_caches_of_several_models_are_runs(tmp_path):
    for name in ("models--org--a", "models--org--b"):
        fill(HubCache(tmp_path, name=name), NAMES)
    with pytest.raises(TrajectoryError, match=r"(?s)2 runs.*models--org--a  \(4.*models--org--b "):
        open_trajectory(tmp_path)
    opened = open_trajectory(tmp_path, run="models--org--b")
    assert is_read_right(opened, NAMES)
    assert len(opened.attrs["decisions"]) == 1
    assert is_read_right(open_trajectory(tmp_path / "models--org--a"), NAMES)


def test_revisions_may_have_slashes_and_pull_requests_are_none(cache):
    names = ["runs/a/step10", "runs/a/step20", "runs/a/step30"]
    fill(cache, [*names, "refs/pr/1", "refs/pr/22", "refs/convert/parquet"])
    opened = open_trajectory(cache.folder)
    assert (steps(opened), opened.attrs["run"]) == ([10, 20, 30], "runs/a")
    assert is_read_right(opened, names)
    assert skipped(opened) == {
        f"refs/refs/{name}": "a pull request or a conversion, not a revision of the model"
        for name in ("pr/1", "pr/22", "convert/parquet")
    }


def test_main_is_an_alias_where_a_step_has_its_commit(cache):
    fill(cache, NAMES)
    cache.ref("main", cache.commit("step143000"))
    cache.ref("final", cache.commit("step143000"))
    opened = open_trajectory(cache.folder)
    assert is_read_right(opened, NAMES)
    assert skipped(opened) == {
        f"refs/{name}": "an alias: it is the same commit as step143000"
        for name in ("main", "final")
    }


def test_main_is_an_alias_where_only_its_weights_are_those_of_a_step(cache):
    fill(cache, NAMES)
    commit = cache.ref("main")
    cache.add(commit, "README.md", b"another commit")
    cache.add(commit, "model.safetensors", save(weights(sum(b"step143000"))))
    opened = open_trajectory(cache.folder)
    assert is_read_right(opened, NAMES)
    assert skipped(opened) == {
        "main/model.safetensors": "the same file as step143000/model.safetensors"
    }


def test_one_commit_or_blob_at_several_steps_is_kept_and_told(cache):
    fill(cache, ["step0", "step10", "step20"])
    cache.ref("step30", cache.commit("step20"))
    cache.revision("step40", weights(sum(b"step10")))
    opened = open_trajectory(cache.folder)
    assert is_read_right(opened, ["step0", "step10", "step20", "step20", "step10"])
    assert opened.attrs["equal_files"] == [
        {"steps": [10, 40], "files": ["model.safetensors"], "whole": True},
        {"steps": [20, 30], "files": ["model.safetensors"], "whole": True},
    ]
    part = open_trajectory(cache.folder, steps="0:40")
    assert [each["steps"] for each in part.attrs["equal_files"]] == [[20, 30]]


def test_a_commit_at_two_steps_is_found_by_the_audit_of_an_analysis(cache, tmp_path):
    fill(cache, [f"step{step}" for step in range(12)])
    cache.ref("step12", cache.commit("step11"))
    with pytest.warns(UserWarning, match="all weights of steps 11 and 12 are equal"):
        results = analyze(cache.folder)
    write_report(results, tmp_path / "out")
    assert steps(open_results(tmp_path / "out" / "results.zarr")["trajectory"]) == [*range(12)]


def test_a_packed_cache_is_the_same_trajectory(cache, tmp_path):
    fill(cache, NAMES)
    opened = open_trajectory(pack(cache.folder, tmp_path / "run.zarr"))
    assert steps(opened) == [0, 1, 512, 143000]
    assert is_read_right(opened, NAMES)


def test_xarray_opens_a_cache_without_being_told_how(cache):
    fill(cache, NAMES)
    with xr.open_dataset(cache.folder) as opened:
        assert is_read_right(opened, NAMES)


def add_shards(cache, step, seeds, *, present=2):
    commit = cache.ref(f"step{step}")
    names = [f"model-{number:05}-of-00002.safetensors" for number in (1, 2)]
    index = {"weight_map": {"a": names[0], "b": names[1]}}
    cache.add(commit, "model.safetensors.index.json", json.dumps(index).encode())
    for tensor, name, seed in list(zip("ab", names, seeds, strict=True))[:present]:
        cache.add(commit, name, save({tensor: weights(seed)["w"]}))
    return names


def test_equal_shards_are_told_one_by_one(cache):
    for step, seeds in enumerate([(0, 100), (1, 101), (1, 101), (1, 102), (4, 102), (5, 103)]):
        names = add_shards(cache, step, seeds)
    opened = open_trajectory(cache.folder)
    assert steps(opened) == [0, 1, 2, 3, 4, 5]
    assert opened.attrs["equal_files"] == [
        {"steps": [1, 2], "files": names, "whole": True},
        {"steps": [1, 2, 3], "files": names[:1], "whole": False},
        {"steps": [3, 4], "files": names[1:], "whole": False},
    ]
    np.testing.assert_array_equal(opened["weights"][3, 6:], weights(102)["w"])


def test_what_was_not_downloaded_is_told(cache):
    fill(cache, NAMES)
    shutil.rmtree(cache.folder / "snapshots" / cache.commit("step1"))
    cache.ref("step2")
    (cache.folder / "refs" / "step512").unlink()
    cache.add(cache.ref("step7"), "config.json", b"{}")
    (cache.folder / "blobs" / f"{'a' * 64}.12ab.incomplete").write_bytes(b"half")
    opened = open_trajectory(cache.folder)
    assert is_read_right(opened, ["step0", "step143000"])
    found = skipped(opened)
    for name in ("step1", "step2"):
        reason = found.pop(f"refs/{name}")
        assert reason.endswith("is not in the cache: it was not downloaded")
    assert found == {
        f"snapshots/{cache.commit('step512')}": "no ref has its commit id, so its step is unknown",
        "step7": "its snapshot holds no weights: were they downloaded?",
        f"blobs/{'a' * 64}.12ab.incomplete": "an unfinished download",
    }


def test_a_snapshot_without_all_shards_is_left_with_the_missing_one(cache):
    for step in range(4):
        add_shards(cache, step, (step, 10 + step), present=1 if step == 2 else 2)
    with pytest.warns(UserWarning, match="1 of 4 checkpoints cannot be read"):
        opened = open_trajectory(cache.folder)
    assert steps(opened) == [0, 1, 3]
    assert "step2/model-00002-of-00002" in skipped(opened)["step2/model.safetensors.index.json"]


def test_a_blob_that_is_gone_is_told(cache):
    fill(cache, NAMES)
    (cache.folder / "snapshots" / cache.commit("step1") / "model.safetensors").resolve().unlink()
    opened = open_trajectory(cache.folder)
    assert steps(opened) == [0, 512, 143000]
    assert "cannot be reached" in skipped(opened)["step1/model.safetensors"]


def without_names(cache):
    for path in (cache.folder / "refs").iterdir():
        path.unlink()


def test_without_named_revisions_it_is_said_what_to_do(cache):
    fill(cache, ["step1", "step2"])
    without_names(cache)
    with pytest.raises(TrajectoryError, match=r"(?s)name no revision, so the step of no snapshot"):
        open_trajectory(cache.folder)
    for name in ("step1", "step2"):  # what the message says
        (cache.folder / "refs" / name).write_text(cache.commit(name))
    assert is_read_right(open_trajectory(cache.folder), ["step1", "step2"])


def test_one_snapshot_that_holds_all_checkpoints_is_a_folder_of_its_own(cache):
    commit = cache.ref("main")
    for step in (100, 200, 300):
        cache.add(commit, f"checkpoint-{step}/model.safetensors", save(weights(step)))
        state = json.dumps({"global_step": step}).encode()
        cache.add(commit, f"checkpoint-{step}/trainer_state.json", state)
    for place in (cache.folder, cache.folder / "snapshots" / commit):
        opened = open_trajectory(place)
        assert steps(opened) == [100, 200, 300]
        assert opened.attrs["step_source"] == "trainer_state.json"
        np.testing.assert_array_equal(opened["weights"][1], weights(200)["w"])
    without_names(cache)
    with pytest.raises(TrajectoryError, match="give the folder of that snapshot"):
        open_trajectory(cache.folder)


def test_the_trainer_state_beside_the_weights_is_read(cache):
    for step in (10, 20, 30):
        commit = cache.revision(f"rev-{step}", weights(step))
        cache.add(commit, "trainer_state.json", json.dumps({"global_step": step * 2}).encode())
    with pytest.warns(UserWarning, match="trainer_state"):
        opened = open_trajectory(cache.folder)
    assert (steps(opened), opened.attrs["step_source"]) == ([20, 40, 60], "trainer_state.json")


def test_one_revision_is_too_few(cache):
    fill(cache, ["main"])
    with pytest.raises(TrajectoryError, match="Download more revisions by their names"):
        open_trajectory(cache.folder)


def test_revisions_can_be_excluded(cache):
    fill(cache, NAMES)
    opened = open_trajectory(cache.folder, exclude=["step51?"])
    assert is_read_right(opened, ["step0", "step1", "step143000"])
    assert skipped(opened) == {"step512": "excluded by the pattern 'step51?'"}


def test_links_stay_in_the_cache_of_their_model(tmp_path):
    cache, other = HubCache(tmp_path), HubCache(tmp_path, name="models--org--other")
    fill(cache, NAMES)
    fill(other, NAMES)
    (tmp_path / "secret.safetensors").write_bytes(save(weights(9)))
    elsewhere = (other.folder / "snapshots" / other.commit("step0") / "model.safetensors").resolve()
    targets = {"step2": elsewhere, "step3": tmp_path / "secret.safetensors"}
    for name, target in targets.items():
        pointer = cache.folder / "snapshots" / cache.ref(name) / "model.safetensors"
        pointer.parent.mkdir()
        pointer.symlink_to(target)
    (cache.folder / "refs" / "step4").symlink_to(cache.folder / "refs" / "step1")
    (cache.folder / "snapshots" / cache.ref("step5")).symlink_to(tmp_path)
    for place, options in ((cache.folder, {}), (tmp_path, {"run": "models--org--net"})):
        opened = open_trajectory(place, **options)
        assert is_read_right(opened, NAMES)
        reasons = {path.rpartition("step")[2]: why for path, why in skipped(opened).items()}
        outside = "a link to a place outside the folder (not followed)"
        assert reasons["2/model.safetensors"] == reasons["3/model.safetensors"] == outside
        assert reasons["4"] == "a link (not followed)"
        assert reasons["5"].endswith("is not in the cache: it was not downloaded")


HOSTILE = {
    "../../..": b"../../../..",
    "absolute": b"/etc",
    "empty": b"",
    "huge": b"a" * (64 << 20),
    "binary": bytes(range(256)),
    "upper": b"A" * 40,
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_ref_that_is_no_commit_id_is_left(cache, content):
    fill(cache, NAMES)
    (cache.folder / "refs" / "step9").write_bytes(content)
    opened = open_trajectory(cache.folder)
    assert is_read_right(opened, NAMES)
    assert skipped(opened) == {"refs/step9": "its content is not a commit id"}


@pytest.mark.timeout(30)
def test_pipes_loops_and_names_with_control_characters_do_no_harm(cache):
    fill(cache, NAMES)
    refs, snapshots, blobs = (cache.folder / each for each in ("refs", "snapshots", "blobs"))
    os.mkfifo(refs / "step5")
    os.mkfifo(blobs / "pipe")
    for name, target in (("step6", blobs / "pipe"), ("step7", "model.safetensors")):
        pointer = snapshots / cache.ref(name) / "model.safetensors"
        pointer.parent.mkdir()
        pointer.symlink_to(target)
    (refs / "loop").symlink_to(refs)
    (refs / "step8\x1b[2J\u202e").write_text("nothing")
    deep = refs.joinpath(*["d"] * 40)
    deep.mkdir(parents=True)
    (deep / "step9").write_text(cache.commit("step1"))
    opened = open_trajectory(cache.folder)
    assert is_read_right(opened, NAMES)
    found = skipped(opened)
    assert "is not a regular file" in found["refs/step5"]
    assert found["step6/model.safetensors"] == "not a regular file, so it is not opened"
    assert "cannot be reached" in found["step7/model.safetensors"]
    assert found["refs/loop"] == "a link (not followed)"
    assert found["refs/step8\\u001b[2J\\u202e"] == "its content is not a commit id"
    assert any(reason == "more than 8 folders deep" for reason in found.values())
    assert all(each.isprintable() for pair in found.items() for each in pair)


def test_names_with_control_characters_reach_no_message(cache):
    fill(cache, ["step1", "step2\x1b[2J"])
    cache.ref("main\x1b[2J", cache.commit("step1"))
    try:
        told = str(open_trajectory(cache.folder).attrs)
    except TrajscopeError as error:
        told = str(error).replace("\n", "")
    assert "\x1b" not in told


def test_more_names_than_any_run_has_are_refused(cache, monkeypatch):
    monkeypatch.setattr("trajscope.checkpoints.cache.MAX_REVISIONS", 3)
    fill(cache, NAMES)
    with pytest.raises(TrajectoryError, match=r"more than 3 revisions.* Delete those in refs"):
        open_trajectory(cache.folder)
    (cache.folder / "refs" / "step1").unlink()
    assert is_read_right(open_trajectory(cache.folder), ["step0", "step512", "step143000"])


def test_a_training_folder_with_snapshots_is_no_cache(tmp_path):
    for name in ("snapshots", "refs", "logs"):
        (tmp_path / name).mkdir()
    for step in (1, 2, 3):
        (tmp_path / "snapshots" / f"step_{step}.safetensors").write_bytes(save(weights(step)))
    for place in (tmp_path, tmp_path / "snapshots"):
        assert steps(open_trajectory(place)) == [1, 2, 3]


@pytest.mark.parametrize("how", [os.link, lambda target, path: path.symlink_to(target.name)])
def test_links_between_numbered_files_are_kept_and_told(tmp_path, how):
    for step in (10, 20, 40):
        (tmp_path / f"step-{step}.safetensors").write_bytes(save(weights(step)))
    how(tmp_path / "step-20.safetensors", tmp_path / "step-30.safetensors")
    how(tmp_path / "step-40.safetensors", tmp_path / "last.safetensors")
    how(tmp_path / "step-40.safetensors", tmp_path / "copy_of_step-40.safetensors")
    opened = open_trajectory(tmp_path)
    assert steps(opened) == [10, 20, 30, 40]
    assert opened.attrs["equal_files"] == [
        {"steps": [20, 30], "files": ["step-20.safetensors"], "whole": True}
    ]
    assert skipped(opened) == {
        "last.safetensors": "the same file as step-40.safetensors",
        "copy_of_step-40.safetensors": "the same file as step-40.safetensors",
    }
    np.testing.assert_array_equal(opened["weights"][2], weights(20)["w"])


PER_STEP = {
    "torch archive": "pytorch_model.bin",
    "torch legacy": "pytorch_model.bin",
    "torch distributed": "",
    "npz": "weights.npz",
    "npy": "",
    "HDF5": "weights.h5",
    "Keras weights": "model.weights.h5",
    "Keras archive": "model.keras",
    "zarr groups": "weights.zarr",
    "Orbax zarr": "",
}


@pytest.mark.parametrize("name", PER_STEP)
def test_every_format_of_one_step_is_read_from_a_cache(tmp_path, name):
    folder = FORMATS[name](tmp_path / "run")
    cache = HubCache(tmp_path)
    for step in STEPS:
        (place,) = (p for p in folder.iterdir() if re.search(rf"(?<!\d){step}(?!\d)", p.name))
        commit = cache.ref(f"step{step}")
        for path in sorted(place.rglob("*") if place.is_dir() else [place]):
            if path.is_file():
                below = path.relative_to(place).as_posix() if place.is_dir() else ""
                target = "/".join(filter(None, (PER_STEP[name], below)))
                cache.add(commit, target, path.read_bytes())
    opened = open_trajectory(cache.folder)
    assert steps(opened) == list(STEPS)
    np.testing.assert_array_equal(opened["weights"].values, open_trajectory(folder)["weights"])


def test_runs_that_share_the_file_of_their_start_both_keep_it(tmp_path):
    for run in ("seed1", "seed2"):
        (tmp_path / run).mkdir()
        for step in (0, 10, 20):
            content = save(weights(step))
            (tmp_path / run / f"step-{step}.safetensors").write_bytes(content)
    start = tmp_path / "seed2" / "step-0.safetensors"
    start.unlink()
    os.link(tmp_path / "seed1" / "step-0.safetensors", start)
    for run in ("seed1", "seed2"):
        assert steps(open_trajectory(tmp_path, run=run)) == [0, 10, 20]


def test_a_cache_behind_an_address_is_read_alike(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    fill(HubCache(tmp_path, links=False), NAMES)
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "models--org--net"), "/hub/models--org--net", recursive=True)
    try:
        for address in ("memory://hub", "memory://hub/models--org--net"):
            opened = open_trajectory(address)
            assert steps(opened) == [0, 1, 512, 143000]
            assert is_read_right(opened, NAMES)
    finally:
        memory.store.clear()
