"""What trainers write in the course of a run: what a budget takes of it, and where it has none."""

import json
import re

import pytest
import torch
from torch import nn

from tests.gradient_noise.test_optimizer import (
    BATCH,
    KINDS,
    OPTIMIZERS,
    N,
    budget,
    squared,
    train,
    wide,
)
from trajscope.checkpoints.training import batch_on_a_process, recorded
from trajscope.errors import OptionError
from trajscope.gradient_noise.budget.guards import GUARDS
from trajscope.optimizer import ADAPTIVE

# Of a rate that was given and is not that of training, the temperature warns too.
warns_of_temperature = pytest.mark.filterwarnings("ignore:.*temperature and noise_scale")


@warns_of_temperature
@pytest.mark.parametrize("given", [{}, {"lr": 0.003}, {"momentum": 0.0}])
def test_of_an_adaptive_run_no_setting_is_asked_for(given, tmp_path):
    found = budget(train(tmp_path / "run", OPTIMIZERS["adam"], steps=100), **given)
    assert found.attrs["budget_guard"] == ["adaptive_optimizer"]
    assert "--momentum" not in found.attrs["budget_words"][0]


@warns_of_temperature
def test_a_rate_that_comes_back_at_every_fifth_of_the_run_is_seen(tmp_path):
    # First, last and every quarter of the run are at the full rate.
    def restarts(step):
        return 1.0 if min(step % 160, 160 - step % 160) < 20 else 0.3

    folder = train(tmp_path / "run", OPTIMIZERS["plain"], steps=640, every=4, rate=restarts)
    found = budget(folder, lr=0.01, momentum=0.0)
    assert found.attrs["budget_guard"] == ["schedule"]
    found = budget(folder, lr=0.02, momentum=0.0)
    assert found.attrs["budget_guard"] == ["schedule"]  # not one of the files' rates is denied


@warns_of_temperature
def test_two_rates_that_hold_for_a_part_each_are_taken_where_no_first_look_sees_them(tmp_path):
    # A dip within the second quarter, three of the eight places long.
    folder = train(
        tmp_path / "run", OPTIMIZERS["plain"], steps=960, every=4,
        rate=lambda step: 0.3 if 245 < step < 475 else 1.0,
    )  # fmt: skip
    found = budget(folder, lr=0.01, momentum=0.0)
    assert found.attrs["budget_guard"] == ["rate_from_files"]
    assert "(0.003 to 0.01)" in found.attrs["budget_words"][0]
    assert "learning rate 0.003 to 0.01" in found.attrs["budget_optimizer"]
    assert found["budget_ratio_low"] < 1.1 and found["budget_ratio_high"] > 0.9  # noqa: PT018


@pytest.mark.parametrize("given", [{}, {"momentum": 0.9}])
def test_a_momentum_that_changes_has_no_budget(given, tmp_path):
    folder = train(tmp_path / "run", lambda p: torch.optim.SGD(p, lr=0.003, momentum=0.9), steps=80)
    for path in folder.iterdir():
        content = torch.load(path)
        if content["step"] < 40:
            content["optimizer"]["param_groups"][0]["momentum"] = 0.92  # noise is 1.6 times as much
            torch.save(content, path)
    found = budget(folder, **given)
    assert found.attrs["budget_guard"] == ["momentum_changes"]
    assert "momentum changes during the run (0.9 to 0.92)" in found.attrs["budget_words"][0]


def test_a_momentum_near_one_is_held_against_the_files_by_what_it_does(tmp_path):
    folder = train(tmp_path / "run", lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.8), steps=400)
    assert budget(folder, momentum=0.8).attrs["budget_guard"] == []
    found = budget(folder, momentum=0.82)
    assert found.attrs["budget_guard"] == ["files_disagree"]
    assert "--momentum 0.82 was given and step-400.pt has 0.8" in found.attrs["budget_words"][0]


def test_a_run_that_began_with_adam_has_no_budget(tmp_path):
    folder = train(tmp_path / "run", OPTIMIZERS["plain"], steps=100)
    model, _ = wide()
    first = torch.load(folder / "step-0.pt")
    first["optimizer"] = OPTIMIZERS["adam"](model.parameters()).state_dict()
    torch.save(first, folder / "step-0.pt")
    assert budget(folder).attrs["budget_guard"] == ["adaptive_optimizer"]


@pytest.mark.parametrize(
    ("kinds", "found_kind", "one_rate"),
    [
        (("sgd", "adam"), "adam", True),
        (("adam", "adam"), "adam", True),
        (("sgd", "sgd"), "sgd", True),
        (("sgd", "other rate"), "sgd", False),
        (("sgd", "unknown"), "", True),
    ],
)
def test_of_several_optimizers_in_a_file_an_adaptive_one_counts(
    kinds, found_kind, one_rate, tmp_path
):
    model = nn.Linear(3, 2)
    make = KINDS | {"other rate": lambda p: torch.optim.SGD(p, lr=0.2)}
    states = [
        {"state": {}, "param_groups": [{"lr": 0.1, "mystery": 1}]}
        if kind == "unknown"
        else make[kind](model.parameters()).state_dict()
        for kind in kinds
    ]
    torch.save({"optimizer_states": states}, tmp_path / "a.pt")
    found = recorded(tmp_path / "a.pt", own_folder=False)
    assert (found.kind, found.one_rate) == (found_kind, one_rate)


SGD_GROUP = {"lr": 0.1, "momentum": 0.9, "dampening": 0, "nesterov": False, "weight_decay": 0}
OTHERS = {
    "lbfgs": lambda p: torch.optim.LBFGS(p, lr=0.1).state_dict()["param_groups"][0],
    "asgd": lambda p: torch.optim.ASGD(p, lr=0.1).state_dict()["param_groups"][0],
    "sam": lambda _: SGD_GROUP | {"rho": 0.05, "adaptive": False},
    "lars": lambda _: SGD_GROUP | {"trust_coefficient": 0.001, "eps": 1e-8},
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_looks_like_sgd_and_is_not_is_told_apart(kind, tmp_path):
    group = OTHERS[kind](nn.Linear(3, 2).parameters())
    torch.save({"optimizer": {"state": {}, "param_groups": [group]}}, tmp_path / "a.pt")
    assert recorded(tmp_path / "a.pt", own_folder=False).kind == kind
    assert kind in ADAPTIVE


@pytest.mark.parametrize(
    "senseless",
    [{"momentum": 1.5}, {"dampening": 1.0}, {"momentum": 2**59}, {"lr": 2**2000}, {"lr": 1e-300}],
)
def test_settings_that_nobody_can_mean_end_no_command(senseless, tmp_path):
    folder = train(tmp_path / "run", OPTIMIZERS["plain"], steps=100)
    for path in folder.iterdir():
        content = torch.load(path)
        content["optimizer"]["param_groups"] = [SGD_GROUP | senseless]
        torch.save(content, path)
    found = budget(folder, lr=0.01, momentum=0.0)
    assert set(found.attrs["budget_guard"]) <= {"optimizer_unknown", "files_disagree"}
    assert found["budget_ratio"].item() > 0


@pytest.mark.parametrize("lr", [1e200, 1e-200, 0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_without_a_square_is_refused_like_none(lr, tmp_path):
    folder = train(tmp_path / "run", OPTIMIZERS["plain"], steps=100)
    with pytest.raises(OptionError, match=re.escape(f"--lr {lr}: a positive number, from 1e-100")):
        budget(folder, lr=lr, momentum=0.0)


@pytest.mark.parametrize("digits", [250, 400, 5000])
def test_a_logged_rate_of_hundreds_of_digits_says_nothing(digits, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    log = f'{{"train_batch_size": 1{"0" * digits}, "log_history": [{{"learning_rate": 1'
    (tmp_path / "trainer_state.json").write_text(f"{log}{'0' * digits}}}]}}")
    assert recorded(tmp_path / "model.safetensors", own_folder=True) is None
    assert batch_on_a_process(tmp_path / "model.safetensors") is None


@pytest.mark.parametrize("size", [0, -4, 4.5, "4", None, True, [4]])
def test_a_batch_that_is_no_number_of_samples_says_nothing(size, tmp_path):
    (tmp_path / "trainer_state.json").write_text(json.dumps({"train_batch_size": size}))
    assert batch_on_a_process(tmp_path) is None


def in_folders(folder, batch):
    """The same run as the trainer of transformers keeps it, a folder for each checkpoint."""
    for path in list(folder.glob("*.pt")):
        content = torch.load(path)
        below = folder / f"checkpoint-{content['step']}"
        below.mkdir()
        torch.save(content["model"], below / "pytorch_model.bin")
        torch.save(content["optimizer"], below / "optimizer.pt")
        (below / "trainer_state.json").write_text(json.dumps({"train_batch_size": batch}))
        path.unlink()
    return folder


def test_a_batch_size_that_is_no_multiple_of_a_process_s_own_is_said(tmp_path):
    folder = in_folders(train(tmp_path / "run", OPTIMIZERS["plain"], steps=100), 3)
    found = budget(folder)
    assert found.attrs["budget_guard"] == ["files_disagree"]
    assert (
        f"--batch-size {BATCH} was given and trainer_state.json has 3 per process and pass, and "
        "it is not a multiple of this"
    ) in found.attrs["budget_words"][0]
    assert "files_disagree" not in budget(folder, batch_size=6).attrs["budget_guard"]
    found = budget(folder, batch_size=None, lr=0.01)
    assert (
        "Give --batch-size (trainer_state.json: 3 per process and pass), and --momentum where"
    ) in found.attrs["budget_words"][0]


def test_every_option_that_a_guard_names_exists_in_both_commands():
    from trajscope.cli.commands import analyze, diffusion

    named = {option for guard in GUARDS for option in re.findall(r"--[a-z-]+", guard.words)}
    assert named >= {"--steps", "--momentum", "--burn-in", "--mode", "--sampling"}
    for command in (analyze, diffusion):
        assert named <= {option for each in command.params for option in each.opts}


@pytest.mark.filterwarnings("ignore")  # of lightning itself
def test_lightning_trained_by_sgd_has_its_budget_from_its_own_checkpoints(tmp_path):
    lightning = pytest.importorskip("lightning")
    from lightning.pytorch.callbacks import ModelCheckpoint

    network, (inputs, targets) = wide()

    class Net(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = network

        def training_step(self, batch, _):
            return squared(self.model, batch)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.003, momentum=0.8)

    lightning.seed_everything(0, verbose=False)
    data = torch.utils.data.TensorDataset(inputs, targets)
    order = torch.utils.data.RandomSampler(data, replacement=True, num_samples=600 * BATCH)
    keep = ModelCheckpoint(tmp_path / "run", save_top_k=-1, every_n_train_steps=5)
    trainer = lightning.Trainer(
        max_epochs=1, callbacks=[keep], logger=False, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Net(), torch.utils.data.DataLoader(data, BATCH, sampler=order))
    found = budget(tmp_path / "run", batch_size=BATCH)
    assert "optimizer sgd, learning rate 0.003, momentum 0.8" in found.attrs["budget_optimizer"]
    assert found.attrs["budget_updates"] == 5
    assert found["budget_ratio"].item() == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("name", ["sgd", "adamw_torch"])
def test_the_trainer_of_transformers_has_its_budget_by_sgd_and_none_by_adamw(name, tmp_path):
    transformers = pytest.importorskip("transformers")
    network, (inputs, targets) = wide()

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = network

        def forward(self, x, labels):
            return {"loss": squared(self.layer, (x, labels))}

    settings = {
        "sgd": {"lr_scheduler_type": "constant", "learning_rate": 0.01},
        "adamw_torch": {"lr_scheduler_type": "cosine", "learning_rate": 0.001},
    }[name]
    arguments = transformers.TrainingArguments(
        str(tmp_path / "run"), optim=name, max_steps=240, save_steps=5, logging_steps=50,
        per_device_train_batch_size=BATCH // 2, gradient_accumulation_steps=2, max_grad_norm=0,
        report_to=[], use_cpu=True, disable_tqdm=True, seed=3, **settings,
    )  # fmt: skip
    rows = [{"x": x, "labels": y} for x, y in zip(inputs, targets, strict=True)]
    trainer = transformers.Trainer(model=Net(), args=arguments, train_dataset=rows)
    trainer.train()

    from trajscope import Problem, diffusion

    found = diffusion(
        tmp_path / "run",
        Problem(Net(), rows, lambda model, batch: model(**batch)["loss"]),
        batch_size=BATCH, sampling="shuffle", every=0, at="100%", by="none",
    )  # fmt: skip
    assert found.attrs["n_data"] == N
    if name == "sgd":
        assert found.attrs["budget_guard"] == []
        assert "optimizer.pt of the checkpoints: optimizer sgd" in found.attrs["budget_optimizer"]
        assert found["budget_ratio"].item() == pytest.approx(1, abs=0.35)
    else:
        assert found.attrs["budget_guard"] == ["adaptive_optimizer"]
