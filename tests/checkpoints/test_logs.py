import json

import pytest

from trajscope.checkpoints.logs import recorded_log


def checkpoints(folder, n=2):
    paths = [folder / f"checkpoint-{k}" for k in range(1, n + 1)]
    for path in paths:
        path.mkdir(parents=True)
    return paths


def test_the_log_of_the_last_trainer_state_is_read(tmp_path):
    paths = checkpoints(tmp_path)
    history = [
        {"step": 1, "loss": 2.0, "learning_rate": 0.1, "epoch": 0.5},
        {"step": 1, "eval_loss": 1.5},
        {"step": 2, "loss": 1.0, "learning_rate": 0.05},
        {"step": 2, "train_loss": 1.4, "train_runtime": 9.0},  # the mean of the whole run
    ]
    for path, log in zip(paths, (history[:1], history), strict=True):
        (path / "trainer_state.json").write_text(json.dumps({"log_history": log}))
    found = recorded_log(paths, "step")
    assert found.series == {
        "loss": {1: 2.0, 2: 1.0},
        "validation_loss": {1: 1.5},
        "learning_rate": {1: 0.1, 2: 0.05},
    }
    assert found.source == "trainer_state.json (loss, eval_loss, learning_rate)"
    assert recorded_log(paths, "epoch").series["loss"] == {0.5: 2.0}


def test_lightnings_metrics_lie_above_its_folder_of_checkpoints(tmp_path):
    folder = tmp_path / "version_3" / "checkpoints"
    folder.mkdir(parents=True)
    paths = [folder / f"epoch=0-step={k}.ckpt" for k in (10, 20)]
    text = "epoch,lr-AdamW,step,train_loss_step\n0,0.1,9,2.5\n0,,19,nan\n,,x,1\n"
    (folder.parent / "metrics.csv").write_text(text)
    found = recorded_log(paths, "step")
    assert found.series == {"loss": {9: 2.5}, "learning_rate": {9: 0.1}}
    assert found.source == "metrics.csv (train_loss_step, lr-AdamW)"


def test_the_log_of_another_run_above_is_left_alone(tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    (tmp_path / "metrics.csv").write_text("step,loss\n1,2\n")
    assert recorded_log([folder / "a.npz", folder / "b.npz"], "step") is None


@pytest.mark.parametrize(
    "text",
    ["", "[" * 100_000, '{"log_history": {"step": 1}}', '{"log_history": [[1]]}', "\x00\xff"],
)
def test_what_is_no_log_says_nothing(text, tmp_path):
    paths = checkpoints(tmp_path)
    (paths[-1] / "trainer_state.json").write_text(text)
    (paths[-1] / "metrics.csv").write_text(text)
    assert recorded_log(paths, "step") is None


def test_numbered_checkpoints_have_no_log(tmp_path):
    paths = checkpoints(tmp_path)
    (paths[-1] / "metrics.csv").write_text("step,loss\n1,2\n")
    assert recorded_log(paths, "index") is None
