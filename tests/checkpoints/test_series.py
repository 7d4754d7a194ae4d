import json
import os
import re
import socket

import numpy as np
import pytest
import torch
import zarr
from safetensors.numpy import save_file

from trajscope.checkpoints.scan import store_reader
from trajscope.checkpoints.series import find_series
from trajscope.errors import CheckpointError, OptionError, TrajectoryError


def steps(series):
    return [checkpoint.step for checkpoint in series.checkpoints]


def reasons(series):
    return {each.path: each.reason for each in series.skipped}


LAYOUTS = {
    "flat": "step-{:06d}.safetensors",
    "bare number": "{}.safetensors",
    "epoch and step": "epoch=0-step={}.safetensors",
    "folder per step": "checkpoint-{}/model.safetensors",
    "nested folders": "epoch_00/step_{}/weights.safetensors",
    "number after another word": "net_{}.safetensors",
    "folder of another word": "net_{}/model.safetensors",
    "metric beside": "resnet18_step={}_loss=2.34.safetensors",
    "one level down": "run/ckpts/model_{}.safetensors",
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_one_series_is_found_without_options_and_ordered_by_step(layout, save, tmp_path):
    for step in (100, 15, 7):
        save(layout.format(step))
    series = find_series(tmp_path)
    assert steps(series) == [7, 15, 100]
    assert series.step_unit == "step"
    assert len(series.runs) == 1
    assert not series.skipped
    assert not series.warnings


def test_a_run_is_called_by_its_folder(save, tmp_path):
    for step in (1, 5):
        save(f"run/ckpts/model_{step}.safetensors")
    assert find_series(tmp_path).run == "run/ckpts"
    assert find_series(tmp_path / "run/ckpts").run == "ckpts"


@pytest.mark.parametrize(
    ("layout", "names"),
    [
        ("{run}/step_{step}.safetensors", ("a", "b")),
        (
            "version_{number}/checkpoints/epoch=0-step={step}.safetensors",
            ("version_0/checkpoints", "version_1/checkpoints"),
        ),
        ("seed_{number}/step_{step}/w.safetensors", ("seed_0", "seed_1")),
        ("gen{run}_{step}.safetensors", ("gena_*.safetensors", "genb_*.safetensors")),
        ("resnet{number}_{step}.safetensors", ("resnet0_*.safetensors", "resnet1_*.safetensors")),
        (
            "step_{step}/model_{number}.safetensors",
            ("step_*/model_0.safetensors", "step_*/model_1.safetensors"),
        ),
        ("{number}/step_{step}.safetensors", ("0/step_*.safetensors", "1/step_*.safetensors")),
    ],
)
def test_runs_are_listed_and_never_mixed(layout, names, save, tmp_path):
    for number, run in enumerate("ab"):
        for step in (10, 20, 30)[number:]:
            save(layout.format(number=number, run=run, step=step))
    with pytest.raises(TrajectoryError, match=r"holds 2 runs(.|\n)*--run NAME") as error:
        find_series(tmp_path)
    for name, count in zip(names, (3, 2), strict=True):
        assert f"{name}  ({count} checkpoints)" in str(error.value)
        series = find_series(tmp_path, run=name)
        assert len(series.checkpoints) == count
        assert series.run == name
        assert series.runs == names


def test_an_unknown_run_is_refused_with_the_known_ones(save, tmp_path):
    for step in (1, 2):
        save(f"a/step_{step}.safetensors")
    with pytest.raises(OptionError, match=r"No run named 'b' exists in .*\n  a  \(2 checkpoints"):
        find_series(tmp_path, run="b")


def test_an_alias_and_a_root_copy_are_left_with_a_reason(save, tmp_path):
    for step in (10, 20):
        save(f"checkpoint-{step}/model.safetensors", seed=step)
    save("model.safetensors", seed=20)
    save("checkpoint-last/model.safetensors", seed=20)
    series = find_series(tmp_path)
    assert steps(series) == [10, 20]
    assert set(reasons(series)) == {"model.safetensors", "checkpoint-last/model.safetensors"}


def test_links_to_a_checkpoint_are_left_with_a_reason(save, tmp_path):
    for step in (10, 20):
        save(f"model_{step}.safetensors")
    os.link(tmp_path / "model_20.safetensors", tmp_path / "model_latest.safetensors")
    (tmp_path / "best.safetensors").symlink_to("model_10.safetensors")
    series = find_series(tmp_path)
    assert steps(series) == [10, 20]
    assert reasons(series) == {
        "model_latest.safetensors": "the same file as model_20.safetensors",
        "best.safetensors": "the same file as model_10.safetensors",
    }


def test_links_are_followed_only_inside_the_folder(save, tmp_path):
    for step in (10, 20):
        save(f"run/step_{step}.safetensors")
    save("elsewhere/step_30.safetensors")
    root = tmp_path / "run"
    (root / "step_30.safetensors").symlink_to(tmp_path / "elsewhere/step_30.safetensors")
    (root / "step_40.safetensors").symlink_to("nowhere")
    (root / "again").symlink_to(root)
    (root / "more").symlink_to(tmp_path / "elsewhere")
    series = find_series(root)
    assert steps(series) == [10, 20]
    assert "outside the folder" in reasons(series)["step_30.safetensors"]
    assert "cannot be reached" in reasons(series)["step_40.safetensors"]
    assert "link to a folder" in reasons(series)["again"]
    assert "link to a folder" in reasons(series)["more"]


def test_a_link_that_leads_to_itself_is_left_with_a_reason(save, tmp_path):
    for step in (10, 20):
        save(f"step_{step}.safetensors")
    (tmp_path / "step_30.safetensors").symlink_to("step_30.safetensors")
    assert "cannot be reached" in reasons(find_series(tmp_path))["step_30.safetensors"]


def test_a_folder_reached_through_a_link_is_scanned(save, tmp_path):
    for step in (1, 5):
        save(f"run/step_{step}.safetensors")
    (tmp_path / "current").symlink_to("run")
    assert find_series(tmp_path / "current").root == tmp_path / "run"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("optimizer.pt", "the trainer's own state"),
        ("scheduler.bin", "the trainer's own state"),
        ("rng_state_0.pth", "the trainer's own state"),
        ("random_states_0.pkl", "the trainer's own state"),
        ("scaler.pt", "the trainer's own state"),
        ("training_args.bin", "the trainer's own state"),
        ("data.pkl", "a pickle of any objects"),
        ("step-30.safetensors.tmp", "a temporary name"),
        (".tmp-step-30.safetensors", "a temporary name"),
        ("tmp-step-30.safetensors", "a temporary name"),
        (".step-30.safetensors", "a hidden file"),
        ("model_30.msgpack", r"an unsupported format \(\*\.msgpack\)"),
    ],
)
def test_files_beside_the_weights_are_left_unopened_with_a_reason(name, reason, save, tmp_path):
    for step in (10, 20):
        save(f"step-{step}.safetensors")
    (tmp_path / name).write_bytes(b"not a checkpoint")
    (tmp_path / name).chmod(0)
    series = find_series(tmp_path)
    (skipped,) = series.skipped
    assert skipped.path == name
    assert re.match(reason, skipped.reason)


def test_unfinished_folders_are_left_with_a_reason(save, tmp_path):
    for folder in ("step_10", "step_20", "tmp-step_30", "step_40.tmp", "5.orbax-checkpoint-tmp-7"):
        save(f"{folder}/w.safetensors")
    series = find_series(tmp_path)
    assert steps(series) == [10, 20]
    assert set(reasons(series)) == {"tmp-step_30", "step_40.tmp", "5.orbax-checkpoint-tmp-7"}


def test_what_has_nothing_to_do_with_checkpoints_is_passed_over(save, tmp_path):
    for step in (10, 20):
        save(f"step-{step}.safetensors")
    for name in ("log.txt", "config.json", "train.py", "events.out.tfevents.123", ".DS_Store"):
        (tmp_path / name).write_text("hello")
    (tmp_path / ".git").mkdir()
    assert not find_series(tmp_path).skipped


@pytest.mark.timeout(20)
def test_pipes_and_sockets_are_never_opened(save, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket may have 107 characters
    for step in (10, 20):
        save(f"step-{step}.safetensors")
    os.mkfifo(tmp_path / "step-30.safetensors")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("step-40.safetensors")
        series = find_series(tmp_path)
    assert steps(series) == [10, 20]
    for name in ("step-30.safetensors", "step-40.safetensors"):
        assert "not a regular file" in reasons(series)[name]


def test_a_truncated_file_is_skipped_counted_and_refused_when_strict(save, tmp_path):
    for step in (10, 20, 30):
        path = save(f"step-{step}.safetensors")
    path.write_bytes(path.read_bytes()[:-5])
    series = find_series(tmp_path)
    assert steps(series) == [10, 20]
    assert "step-30.safetensors" in reasons(series)["step-30.safetensors"]
    assert series.warnings[0].startswith("1 of 3 checkpoints cannot be read and were skipped")
    with pytest.raises(CheckpointError, match=r"step-30\.safetensors"):
        find_series(tmp_path, strict=True)


def test_an_empty_file_and_a_lying_header_are_skipped(save, tmp_path):
    for step in (10, 20):
        save(f"step-{step}.safetensors")
    (tmp_path / "step-30.safetensors").write_bytes(b"")
    (tmp_path / "step-40.safetensors").write_bytes((2**60).to_bytes(8, "little") + b"{}")
    series = find_series(tmp_path)
    assert steps(series) == [10, 20]
    assert set(reasons(series)) == {"step-30.safetensors", "step-40.safetensors"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_skipped(save, tmp_path):
    for step in (10, 20, 30):
        path = save(f"step-{step}.safetensors")
    path.chmod(0)
    assert "cannot be opened" in reasons(find_series(tmp_path))["step-30.safetensors"]


def test_globs_leave_out_files_and_folders(save, tmp_path):
    for step in (10, 20, 30):
        save(f"a/step-{step}.safetensors")
        save(f"b/step-{step}.safetensors")
    series = find_series(tmp_path, exclude=("b", "*30*", "nothing"))
    assert steps(series) == [10, 20]
    assert series.unmatched == ("nothing",)
    assert reasons(series)["b"] == "excluded by the pattern 'b'"


def test_of_two_files_at_one_step_the_newer_is_taken_with_a_warning(save, tmp_path):
    for number, name in enumerate(("epoch=0-step=1", "epoch=1-step=2-v1", "epoch=1-step=2")):
        os.utime(save(f"{name}.safetensors", seed=number), ns=(number, 10**9 - number))
    series = find_series(tmp_path)
    assert [c.relative for c in series.checkpoints] == [
        "epoch=0-step=1.safetensors",
        "epoch=1-step=2-v1.safetensors",
    ]
    assert "1 checkpoint repeats a step with other weights, first step 2" in series.warnings[0]
    with pytest.raises(TrajectoryError, match="expected one checkpoint per step"):
        find_series(tmp_path, strict=True)


def test_an_equal_file_at_the_same_step_is_a_copy_without_a_warning(save, tmp_path):
    for name in ("epoch=0-step=1", "epoch=1-step=2-v1", "epoch=1-step=2"):
        save(f"{name}.safetensors", seed=1)
    series = find_series(tmp_path, strict=True)
    assert steps(series) == [1, 2]
    assert not series.warnings
    assert next(iter(reasons(series).values())).startswith("a copy of")


@pytest.mark.parametrize("index", [None, False], ids=["with index", "without index"])
def test_shards_beside_the_same_model_in_one_file_are_copies(index, tmp_path):
    for step in (100, 200):
        shard(tmp_path / f"checkpoint-{step}", step, index)
        weights = {f"layer{i}.weight": np.full((2, 3), step + i, "f4") for i in (1, 0)}
        save_file(weights, tmp_path / f"checkpoint-{step}" / "model.safetensors")
    series = find_series(tmp_path, strict=True)
    assert steps(series) == [100, 200]
    assert [c.relative for c in series.checkpoints] == [
        f"checkpoint-{step}/model.safetensors" for step in (100, 200)
    ]
    assert not series.warnings
    (reason, _) = [each.reason for each in series.skipped]
    assert reason == "a copy of checkpoint-100/model.safetensors"


@pytest.mark.parametrize("index", [None, False], ids=["with index", "without index"])
def test_shards_beside_another_model_in_one_file_are_told_by_their_own_name(index, tmp_path):
    for step in (100, 200):
        shard(tmp_path / f"checkpoint-{step}", step, index)
        weights = {f"layer{i}.weight": np.full((2, 3), step - i, "f4") for i in (1, 0)}
        save_file(weights, tmp_path / f"checkpoint-{step}" / "model.safetensors")
    series = find_series(tmp_path)
    first = "model.safetensors.index.json" if index is None else "model-00001-of-00002.safetensors"
    (warning,) = series.warnings
    assert "2 checkpoints repeat a step with other weights" in warning
    assert f"in checkpoint-100/{first} and checkpoint-100/model.safetensors;" in warning
    assert {each.path for each in series.skipped} == {
        f"checkpoint-{step}/{first}" for step in (100, 200)
    }


def test_files_whose_values_cannot_be_compared_are_no_copies(tmp_path):
    for name, note in (("epoch=0-step=1", ""), ("epoch=1-step=2", ""), ("epoch=1-step=2-v1", "a")):
        odd = {"w": torch.ones(9), "note": note, "sparse": torch.eye(2).to_sparse()}
        torch.save(odd, tmp_path / f"{name}.pt")
    assert "1 checkpoint repeats a step" in find_series(tmp_path).warnings[0]


def test_a_stray_file_does_not_hide_the_one_series(save, tmp_path):
    for step in (10, 20):
        save(f"step-{step}.safetensors")
    save("pretrained/other_5.safetensors")
    series = find_series(tmp_path)
    assert steps(series) == [10, 20]
    assert (
        "the only file with this naming pattern"
        in reasons(series)["pretrained/other_5.safetensors"]
    )


# --- sharded checkpoints


def shard(folder, step, index=None, shards=2):
    folder.mkdir(parents=True)
    names = [f"model-{i + 1:05d}-of-{shards:05d}.safetensors" for i in range(shards)]
    for i, name in enumerate(names):
        save_file({f"layer{i}.weight": np.full((2, 3), step + i, "f4")}, folder / name)
    weight_map = {f"layer{i}.weight": name for i, name in enumerate(names)}
    if index is not False:
        content = {"metadata": {}, "weight_map": {**weight_map, **(index or {})}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(content))


@pytest.mark.parametrize("index", [None, False], ids=["with index", "without index"])
def test_shards_are_one_checkpoint(index, tmp_path):
    for step in (100, 200):
        shard(tmp_path / f"checkpoint-{step}", step, index)
    series = find_series(tmp_path)
    assert steps(series) == [100, 200]
    assert [len(c.parts) for c in series.checkpoints] == [2, 2]
    assert series.checkpoints[0].path == tmp_path / "checkpoint-100"
    assert not series.skipped


@pytest.mark.parametrize("index", [None, False], ids=["with index", "without index"])
def test_a_checkpoint_without_all_its_shards_is_skipped(index, tmp_path):
    for step in (100, 200, 300):
        shard(tmp_path / f"checkpoint-{step}", step, index)
    (tmp_path / "checkpoint-300/model-00002-of-00002.safetensors").unlink()
    series = find_series(tmp_path)
    assert steps(series) == [100, 200]
    assert any("00002" in why or "of 2 shards" in why for why in reasons(series).values())


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"x": "../secret.safetensors"}, "is not followed"),
        ({"x": "/etc/passwd"}, "is not followed"),
        ({"x": "a/../../b.safetensors"}, "is not followed"),
        ({"x": 3}, "is not an index of shards"),
        (
            {"y.weight": "model-00001-of-00002.safetensors"},
            "is expected to contain the tensor 'y.weight'",
        ),
    ],
)
def test_an_index_that_lies_is_refused(index, message, tmp_path):
    for step in (100, 200):
        shard(tmp_path / f"checkpoint-{step}", step)
    shard(tmp_path / "checkpoint-300", 300, index)
    series = find_series(tmp_path)
    assert steps(series) == [100, 200]
    assert message in reasons(series)["checkpoint-300/model.safetensors.index.json"]


# --- nothing to analyse


@pytest.mark.parametrize("name", ["nowhere", "x" * 300, "a\0b", "loop"])
def test_a_folder_that_cannot_be_reached_is_named(name, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(TrajectoryError, match=r"cannot be reached: .*A folder of checkpoints") as e:
        find_series(tmp_path / name)
    assert str(e.value).isprintable()


def test_where_one_may_not_look_is_no_store(tmp_path):
    assert store_reader(tmp_path / ("x" * 300)) is None


def test_a_single_file_is_refused_with_its_folder(save):
    path = save("step-10.safetensors")
    with pytest.raises(TrajectoryError, match="is a file; a folder of checkpoints was expected"):
        find_series(path)


def test_an_empty_folder_is_refused_with_what_was_expected(tmp_path):
    with pytest.raises(
        TrajectoryError, match=r"\.safetensors.*but none were found\. Give the folder"
    ):
        find_series(tmp_path)


def test_a_folder_of_other_files_is_refused_with_their_ending(tmp_path):
    for step in (1, 2):
        (tmp_path / f"model_{step}_steps.zip").write_bytes(b"PK")
    with pytest.raises(TrajectoryError, match=r"\(there are 2 files ending in \.zip\)"):
        find_series(tmp_path)


def test_one_reason_is_said_once_for_all_folders(tmp_path):
    for step in (1, 2, 3):
        for rank in (0, 1):
            where = tmp_path / f"iter_{step}" / f"mp_rank_0{rank}"
            where.mkdir(parents=True)
            torch.save({"model": {"w": torch.ones(3)}}, where / "model.pt")
    with pytest.raises(TrajectoryError, match="iter_1 and 2 more: it holds slices"):
        find_series(tmp_path)


def test_files_without_weights_are_no_run(save, tmp_path):
    state = {0: {"exp_avg": torch.ones(2, 3), "exp_avg_sq": torch.ones(2, 3)}}
    for step in (10, 20):
        torch.save({"a.weight": torch.ones(2, 3)}, tmp_path / f"model{step}.pt")
        torch.save({"state": state, "param_groups": []}, tmp_path / f"opt{step}.pt")
    series = find_series(tmp_path)
    assert [each.step for each in series.checkpoints] == [10, 20]
    assert reasons(series)["opt*.pt"] == "no weights are in its files"


def test_a_folder_of_unreadable_files_is_refused_with_the_reasons(tmp_path):
    for step in (1, 2):
        (tmp_path / f"step-{step}.safetensors").write_bytes(b"junk")
    with pytest.raises(
        TrajectoryError, match=r"none can be read(.|\n)*step-1\.safetensors and 1 more: it "
    ):
        find_series(tmp_path)


def test_one_checkpoint_is_too_few(save, tmp_path):
    save("step-10.safetensors")
    with pytest.raises(TrajectoryError, match=r"holds one checkpoint, step-10\.safetensors"):
        find_series(tmp_path)


# --- names made to do harm

HOSTILE = [
    "\x1b[31mred-{}.safetensors",
    "a\nb-{}.safetensors",
    "\u202egpj-{}.safetensors",
    "<img src=x onerror=alert(1)>-{}.safetensors",
    "x" * 200 + "-{}.safetensors",
    "-rf {}.safetensors",
    "%s{{}}-{}.safetensors",
    "\udcff-{}.safetensors",
]


@pytest.mark.parametrize("pattern", HOSTILE)
def test_hostile_file_names_are_read_and_shown_harmlessly(pattern, save, tmp_path):
    for step in (10, 20):
        save("plain.safetensors").rename(tmp_path / pattern.replace("{}", str(step)))
    (tmp_path / pattern.replace("{}", "30")).write_bytes(b"junk")
    series = find_series(tmp_path)
    assert steps(series) == [10, 20]
    shown = "".join(each.path + each.reason for each in series.skipped) + "".join(series.warnings)
    assert shown.isprintable()


# --- folders without end


def test_folders_are_entered_to_a_depth(save, tmp_path):
    for step in (10, 20):
        save(f"step_{step}.safetensors")
    save("/".join("abcdefghij") + "/step_30.safetensors")
    series = find_series(tmp_path)
    assert steps(series) == [10, 20]
    assert reasons(series) == {"a/b/c/d/e/f/g/h/i": "more than 8 folders deep"}


def test_a_folder_of_too_many_files_is_refused(save, tmp_path, monkeypatch):
    monkeypatch.setattr("trajscope.checkpoints.scan.MAX_ENTRIES", 3)
    for step in range(4):
        save(f"step_{step}.safetensors")
    with pytest.raises(TrajectoryError, match="more than 3 files, too many for one run"):
        find_series(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list everything")
def test_a_folder_that_cannot_be_listed_is_skipped(save, tmp_path):
    for step in (10, 20):
        save(f"step_{step}.safetensors")
    (tmp_path / "closed").mkdir(mode=0)
    assert "cannot be listed" in reasons(find_series(tmp_path))["closed"]


def test_an_index_without_end_is_refused_unread(tmp_path):
    for step in (100, 200, 300):
        shard(tmp_path / f"checkpoint-{step}", step)
    index = tmp_path / "checkpoint-300/model.safetensors.index.json"
    os.truncate(index, 10**12)
    why = reasons(find_series(tmp_path))["checkpoint-300/model.safetensors.index.json"]
    assert "has 1,000,000,000,000 bytes; an index of shards has at most" in why


def test_a_shard_that_is_something_else_is_refused(tmp_path):
    for step in (100, 200, 300):
        shard(tmp_path / f"checkpoint-{step}", step)
    folder = tmp_path / "checkpoint-300"
    (folder / "other.bin").write_bytes(b"hello" * 9)
    index = {"weight_map": {"x": "other.bin"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    why = reasons(find_series(tmp_path))["checkpoint-300/model.safetensors.index.json"]
    assert "is expected to be a shard of a checkpoint, but its contents are not a checkpoint" in why


@pytest.mark.parametrize(
    "names",
    [
        ("step=1-val_loss=0.50", "step=2-val_loss=0.10", "step=3-val_loss=-0.30"),
        ("step=1-lr=0.001", "step=2-lr=0.0001", "step=3-lr=1e-05"),
        ("step=1-loss=0.5", "step=2-loss=0.4", "step=3-loss=nan"),
    ],
)
def test_a_metric_of_any_value_keeps_a_checkpoint_in_its_run(names, save, tmp_path):
    for name in names:
        save(f"{name}.safetensors")
    series = find_series(tmp_path)
    assert [c.step for c in series.checkpoints] == [1, 2, 3]
    assert not series.skipped


def test_stores_of_one_step_each_are_checkpoints_and_no_trajectories(save, tmp_path):
    for step in (10, 20):
        zarr.create_array(tmp_path / f"step_{step}.zarr", data=np.ones((3, 2), np.float32))
    assert steps(find_series(tmp_path)) == [10, 20]
