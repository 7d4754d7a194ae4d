"""Learning rates that trainers wrote, held against the schedulers that made them."""

import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from trajscope import OptionError, analyze, open_trajectory
from trajscope.checkpoints.given import given_pairs
from trajscope.checkpoints.schedule import counted_epoch, held, recorded_schedule
from trajscope.inference.decision import run as decision
from trajscope.report import write_report

STEPS = np.arange(10, 130, 10)


def trained(n_groups=1):
    """A real model under a real cosine schedule, at every tenth step."""
    model = torch.nn.Linear(3, 2)
    groups = [{"params": [model.weight]}, {"params": [model.bias], "lr": 0.01}]
    optimizer = torch.optim.AdamW(groups if n_groups == 2 else model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=120)
    for step in range(1, 121):
        optimizer.zero_grad()
        model(torch.ones(4, 3)).square().sum().backward()
        optimizer.step()
        scheduler.step()
        if step % 10 == 0:
            yield step, model, optimizer, scheduler


def cosine(steps, top=0.1):
    return top * (1 + np.cos(np.pi * np.asarray(steps) / 120)) / 2


def recorded(paths, unit="step"):
    return recorded_schedule(paths, STEPS, unit)


@pytest.mark.parametrize("form", ["inside", "legacy", "lightning", "optimizer", "scheduler"])
def test_the_rate_is_the_one_the_scheduler_set(tmp_path, form):
    paths = []
    for step, model, optimizer, scheduler in trained(n_groups=2 if form == "inside" else 1):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        paths.append(folder)
        states = model.state_dict(), optimizer.state_dict(), scheduler.state_dict()
        if form in ("optimizer", "scheduler"):
            save_file(states[0], folder / "model.safetensors")
            torch.save(states[1 if form == "optimizer" else 2], folder / f"{form}.pt")
            continue
        paths[-1] = folder / "step.ckpt"
        content = {"model": states[0], "optimizer_state_dict": states[1]}
        if form == "lightning":
            content = {
                "state_dict": states[0],
                "optimizer_states": [states[1]],
                "lr_schedulers": [states[2]],
            }
        torch.save(content, paths[-1], _use_new_zipfile_serialization=form != "legacy")
    found = recorded(paths)
    np.testing.assert_allclose(found.rates, cosine(STEPS), atol=1e-12)
    assert not found.skipped
    assert ("first of several groups" in found.source) == (form == "inside")


def test_a_rate_kept_as_a_tensor_is_taken_from_the_scheduler(tmp_path):
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(2))], lr=torch.tensor(0.1))
    content = {"optimizer": optimizer.state_dict(), "scheduler": {"_last_lr": [0.05]}}
    paths = [tmp_path / f"{step}.pt" for step in STEPS]
    for path in paths:
        torch.save(content, path)
    np.testing.assert_array_equal(recorded(paths).rates, np.full(len(STEPS), 0.05))


def test_the_log_of_transformers_holds_until_its_next_line(tmp_path):
    log = [{"loss": 1.0, "learning_rate": 1 / step, "epoch": step / 40, "step": step}
           for step in range(25, 121, 25)]  # fmt: skip
    state = {"global_step": 120, "epoch": 3.0, "max_steps": 120, "num_train_epochs": 3}
    log.insert(2, {"eval_loss": 1.0, "epoch": 1.25, "step": 50})
    paths = [tmp_path / f"checkpoint-{step}" for step in STEPS]
    for path in paths:
        path.mkdir()
    (paths[-1] / "trainer_state.json").write_text(json.dumps(state | {"log_history": log}))
    found = recorded(paths)
    logged = {each["step"]: each["learning_rate"] for each in log if "learning_rate" in each}
    expected = [
        logged[max(known)] if (known := [s for s in logged if s <= step]) else np.nan
        for step in STEPS
    ]
    np.testing.assert_array_equal(found.rates, expected)
    assert (found.epoch_steps, found.source) == (40, "trainer_state.json")


def test_epochs_are_counted_where_a_number_of_steps_was_asked_for(tmp_path):
    paths = [tmp_path / f"{step}.pt" for step in STEPS]
    state = {"global_step": 120, "epoch": 2.4, "max_steps": 120, "num_train_epochs": 3}
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    assert recorded(paths).epoch_steps == pytest.approx(50)


class Evil:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize(
    "raw",
    [b"PK\x03\x04 cut", b"\x80\x02}q\x00(", pickle.dumps({"param_groups": Evil()}, 2)],
)
def test_hostile_files_are_named_and_not_run(tmp_path, raw, capsys):
    paths = [tmp_path / f"checkpoint-{step}" for step in STEPS]
    for path in paths:
        path.mkdir()
        (path / "optimizer.pt").write_bytes(raw)
    (paths[-1] / "trainer_state.json").write_text('{"log_history": ' + "[" * 100_000)
    found = recorded(paths)
    assert np.isnan(found.rates).all()
    assert "trainer_state.json" in found.skipped[0]
    assert any("optimizer.pt" in each for each in found.skipped[1:])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("log", [3, [1, {"step": "a", "learning_rate": 1}, {"step": 10}],
                                 [{"step": 10**400, "learning_rate": float("nan")}]])  # fmt: skip
def test_a_log_of_something_else_says_nothing(tmp_path, log):
    state = {"log_history": log, "max_steps": 10**400, "num_train_epochs": True, "epoch": "x"}
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    found = recorded([tmp_path / f"{step}.pt" for step in STEPS])
    assert np.isnan(found.rates).all()
    assert found.epoch_steps is None


@pytest.mark.parametrize(
    "text",
    ["step,loss,lr\n0,2,0.1\n5,2,\n100,1,0.01\n", "0,0.1\n100,0.01\n", '{"0": 0.1, "100": 0.01}',
     '[[100, 0.01], [0, 0.1]]', '{"step": 0, "lr": 0.1}\n{"step": 5}\n{"step": 100, "lr": 0.01}']
)  # fmt: skip
def test_a_file_of_rates_says_the_same_in_every_form(tmp_path, text):
    file = tmp_path / "rates"
    file.write_text(text)
    assert given_pairs(file) == given_pairs("0:0.1,100:0.01") == [(0, 0.1), (100, 0.01)]


def lengths_that_fit(steps, epochs):
    """Every length with some step at which epochs begin, by trying all."""
    return [
        length
        for length in range(1, 40)
        if any(len(set(epochs - (steps + shift) // length)) == 1 for shift in range(length))
    ]


@pytest.mark.parametrize("seed", range(40))
def test_an_epoch_is_as_long_as_the_counts_leave_it(seed):
    rng = np.random.default_rng(seed)
    every, length = rng.choice([1, 2, 5, 12]), rng.integers(2, 30)
    steps = rng.integers(0, 40) + every * np.arange(rng.integers(3, 90))
    epochs = (steps + rng.integers(0, length)) // length + rng.integers(0, 2)
    fits = lengths_that_fit(steps, epochs)
    assert length in fits
    found = counted_epoch(steps, epochs)
    assert found == length or (found is None and (every > 1 or epochs[-1] - epochs[0] < 2))


@pytest.mark.parametrize("length", [500, 938, 1024, 5004])
@pytest.mark.parametrize("every", [40, 250])
def test_a_long_epoch_is_known_to_one_hundredth(length, every):
    steps = np.arange(0, 60 * length, every)
    assert counted_epoch(steps, steps // length) == pytest.approx(length, rel=0.01)
    assert counted_epoch(steps[: len(steps) // 40], steps[: len(steps) // 40] // length) is None


@pytest.mark.parametrize(
    "epochs",
    [[0, 1, 0, 1, 2, 3], [0, 0, 0, 0, 0, 0], [0, 0.5, 1, 1.5, 2, 2.5], [0, 9, 9, 9, 9, 10]],
)
def test_counts_that_are_no_epochs_of_one_length_say_nothing(epochs):
    assert counted_epoch(10 * np.arange(6), np.array(epochs)) is None


def test_epochs_that_checkpoints_count_beside_their_steps_reach_the_result(tmp_path):
    for step in range(0, 6000, 40):
        content = {"model": torch.nn.Linear(2, 2).state_dict(), "step": step, "epoch": step // 120}
        torch.save(content, tmp_path / f"{step}.pt")
    trajectory = open_trajectory(tmp_path)
    assert trajectory["epoch"].values.tolist() == [step // 120 for step in range(0, 6000, 40)]
    assert analyze(trajectory, n_surrogates=199)["trajectory"].attrs["epoch_steps"] == 120


def test_a_rate_holds_from_its_step_on():
    np.testing.assert_array_equal(
        held([(100, 0.01), (10, 0.1)], np.array([0, 10, 99, 100, 1e9])),
        [np.nan, 0.1, 0.1, 0.01, 0.01],
    )


@pytest.mark.parametrize("given", ["", "1", "0:x", "0:-1", "0:nan", "0:1:2", "no/such/file", [3]])
def test_what_is_no_schedule_is_refused(given):
    with pytest.raises(OptionError, match=r"lr-schedule.*was expected"):
        given_pairs(given)


def test_it_reaches_the_result_and_the_summary(tmp_path, monkeypatch):
    for number, step in enumerate(STEPS):
        metadata = {"lr": str(1 / step)}
        weights = torch.randn(50, generator=torch.Generator().manual_seed(number))
        save_file({"w": weights}, tmp_path / f"step-{step}.safetensors", metadata)
    results = analyze(tmp_path, n_surrogates=199, windows="10:90", epoch_steps=40)
    rate = results["trajectory"]["learning_rate"]
    assert rate.dims == ("step",)
    assert (rate.attrs["units"], rate.attrs["long_name"]) == ("1", "learning rate")
    np.testing.assert_allclose(rate, 1 / STEPS)
    assert results["cases/1/trajectory"].sizes["step"] == 8
    np.testing.assert_allclose(results["cases/1/trajectory"]["learning_rate"], 1 / STEPS[:8])
    write_report(results, tmp_path / "out")
    told = json.loads((tmp_path / "out" / "summary.json").read_text())["trajectory"]
    assert told["epoch_steps"] == 40
    assert told["learning_rate"] == {
        "source": "the files of 12 checkpoints", "first": 1 / 10, "last": 1 / 120
    }  # fmt: skip
    runs = []
    decide = decision.decide_run
    monkeypatch.setattr(
        decision,
        "decide_run",
        lambda run, *rest, **more: runs.append(run) or decide(run, *rest, **more),
    )
    given = analyze(tmp_path, epoch_steps=40, n_surrogates=199, lr_schedule="0:0.5,50:0.1")
    np.testing.assert_array_equal(
        given["trajectory"]["learning_rate"], np.where(STEPS < 50, 0.5, 0.1)
    )
    np.testing.assert_array_equal(runs[0].learning_rate, given["trajectory"]["learning_rate"])
    assert runs[0].epoch_steps == 40


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_checkpoints_of_lightning_say_their_rate(tmp_path):
    lightning = pytest.importorskip("lightning")

    class Model(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(3, 2)

        def training_step(self, batch, _):
            return self.layer(batch).square().sum()

        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
            cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=120)
            return [optimizer], [{"scheduler": cosine, "interval": "step"}]

    saving = lightning.pytorch.callbacks.ModelCheckpoint(
        tmp_path, "{step}", every_n_train_steps=10, save_top_k=-1
    )
    trainer = lightning.Trainer(
        max_steps=120, callbacks=[saving], logger=False, accelerator="cpu", num_nodes=1,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(Model(), torch.utils.data.DataLoader(torch.ones(160, 3), batch_size=4))
    found = recorded([tmp_path / f"step={step}.ckpt" for step in STEPS])
    np.testing.assert_allclose(found.rates, cosine(STEPS), atol=1e-12)


def test_the_log_of_another_run_above_a_folder_of_files_is_not_taken(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    log = {"log_history": [{"step": 0, "learning_rate": 0.5}], "max_steps": 9}
    (tmp_path / "trainer_state.json").write_text(json.dumps(log))
    paths = [run / f"step-{step}.bin" for step in range(3)]
    found = recorded_schedule(paths, np.arange(3.0), "step")
    assert np.isnan(found.rates).all()
    assert found.epoch_steps is None
    # Above one folder for each checkpoint it is the run's own.
    folders = [tmp_path / f"checkpoint-{step}" for step in range(3)]
    for folder in folders:
        folder.mkdir()
    assert (recorded_schedule(folders, np.arange(3.0), "step").rates == 0.5).all()


@pytest.mark.parametrize("kind", ["sgd", "adamw", "none"])
def test_weight_decay_gives_the_rotation_of_its_equilibrium(tmp_path, kind):
    model = torch.nn.Linear(3, 2)
    groups = [
        {"params": [model.weight], "weight_decay": 0.0 if kind == "none" else 0.02},
        {"params": [model.bias], "weight_decay": 0.0},
    ]
    sgd = torch.optim.SGD(groups, lr=0.05, momentum=0.9)
    optimizer = torch.optim.AdamW(groups, lr=0.05) if kind == "adamw" else sgd
    for step in range(12):
        model(torch.ones(4, 3)).square().sum().backward()
        optimizer.step()
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(state, tmp_path / f"step_{10 * step}.pt")
    results = analyze(tmp_path, n_surrogates=199)
    page = write_report(results, tmp_path / "out").read_text()
    told = json.loads((tmp_path / "out/summary.json").read_text())
    if kind == "none":
        assert told["observables"]["rotation_angle_equilibrium"] is None
        assert "weight_decay" not in told["trajectory"]
        return
    decay = 0.05 * 0.02 * 10 * (10 if kind == "sgd" else 1)
    expected = np.arccos(np.exp(-decay))
    assert told["observables"]["rotation_angle_equilibrium"] == pytest.approx(expected)
    assert told["trajectory"]["weight_decay"]["value"] == 0.02
    assert "At the equilibrium of weight decay 0.02" in page
