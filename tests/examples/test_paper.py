"""The paper's networks, how they are trained, and the figures made from their runs."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
import torch
import zarr
from safetensors.numpy import load_file, save_file
from torch import nn

import trajscope
from tests.examples.idx import EXAMPLES

PAPER = EXAMPLES / "paper"
sys.path.append(str(PAPER))

import fast  # noqa: E402
import loops  # noqa: E402
import networks  # noqa: E402
import reproduce  # noqa: E402
import train  # noqa: E402
import well  # noqa: E402

TINY = networks.named("tiny-fc")


@pytest.fixture(autouse=True)
def no_data(monkeypatch):
    """The small digits of trajscope, and one thread."""
    monkeypatch.delenv("MNIST_DIR", raising=False)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("network", networks.NETWORKS, ids=lambda each: each.name)
def test_the_networks_have_the_papers_sizes(network):
    model = network.build()
    assert sum(weights.numel() for weights in model.parameters()) == network.n_weights
    if network.folder == "MNIST_DIR":
        images, labels = networks.tensors(network, "t10k")
        answers = model(images[:3])
    else:
        answers, labels = model(torch.zeros(3, 3, 32, 32)), torch.arange(10)
    assert answers.shape == (3, int(labels.max()) + 1)


def test_the_written_out_gradient_is_that_of_torch():
    chance = np.random.default_rng(0)
    images = chance.standard_normal((80, 49)).astype(np.float32)
    labels = chance.integers(5, size=80)
    torch.manual_seed(0)
    model = networks.tiny_fc()
    trainer = fast.Trainer(images, labels, 80)
    trainer.picked[:] = trainer.data
    running = np.stack([np.zeros(16), np.ones(16)]).astype(np.float32)
    weights = nn.utils.parameters_to_vector(model.parameters()).detach().numpy()
    trainer.differentiate(fast.views(weights), fast.views(trainer.gradient), running)
    loss = nn.functional.cross_entropy(model(torch.from_numpy(images)), torch.from_numpy(labels))
    loss.backward()
    expected = nn.utils.parameters_to_vector([each.grad for each in model.parameters()]).numpy()
    np.testing.assert_allclose(trainer.gradient, expected, atol=1e-6 * np.abs(expected).max())
    np.testing.assert_allclose(running[0], model[1].running_mean.numpy(), atol=1e-7)
    np.testing.assert_allclose(running[1], model[1].running_var.numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    "how", [{"momentum": 0.0, "replace": True}, {"momentum": 0.9}, {"heavy_ball": True}], ids=str
)
def test_the_fast_loop_trains_as_torch_does(tmp_path, how):
    recipe = networks.Recipe(3, 2, 100, decay=1e-3, every=4, **how)
    for name, loop in (("fast", loops.train_fast), ("torch", loops.train_module)):
        (tmp_path / name).mkdir()
        loop(TINY, recipe, tmp_path / name, seed=3)
    fast_run = trajscope.open_trajectory(tmp_path / "fast" / loops.STORE)
    torch_run = trajscope.open_trajectory(tmp_path / "torch" / loops.CHECKPOINTS)
    assert fast_run["step"].values.tolist() == torch_run["step"].values.tolist()
    found, expected = fast_run["weights"].to_numpy(), torch_run["weights"].to_numpy()
    assert len(found) > 4
    np.testing.assert_allclose(found, expected, atol=2e-5)  # float32, over 21 steps


@pytest.mark.parametrize(("network", "files"), [("tiny-fc", "npz"), ("small-fc", "pt")])
def test_a_run_that_was_stopped_goes_on_with_the_same_numbers(network, files, tmp_path):
    told = ["--anneal", "2", "--batch", "300", "--seed", "1"]
    for name, epochs in (("whole", "4"), ("parts", "2"), ("parts", "4")):
        train.main([network, "--out", str(tmp_path / name), "--epochs", epochs, *told])
    place = loops.STORE if files == "npz" else loops.CHECKPOINTS
    whole, parts = (
        trajscope.open_trajectory(tmp_path / name / place) for name in ("whole", "parts")
    )
    assert whole["step"].values.tolist() == parts["step"].values.tolist()
    np.testing.assert_array_equal(whole["weights"].to_numpy(), parts["weights"].to_numpy())
    assert json.loads((tmp_path / "whole" / "recipe.json").read_text())["done"]


def test_a_run_that_was_killed_while_it_wrote_goes_on_with_the_same_numbers(tmp_path):
    run, recipe = tmp_path / "run", replace(TINY.recipe, epochs=3, anneal=2, batch=300)
    train.train(TINY, recipe, run, seed=0)
    shutil.copytree(run, tmp_path / "whole")
    # As if the last rows were on the disk and the state was not.
    train.train(TINY, replace(recipe, epochs=2), tmp_path / "short", seed=0)
    shutil.copy(tmp_path / "short" / "state.npz", run / "state.npz")
    (run / "recipe.json").write_text(
        json.dumps(json.loads((run / "recipe.json").read_text()) | {"done": False})
    )
    train.train(TINY, recipe, run, seed=0)
    found, expected = (zarr.open_group(path / loops.STORE) for path in (run, tmp_path / "whole"))
    for name in expected.array_keys():
        np.testing.assert_array_equal(found[name][:], expected[name][:])


def test_a_finished_run_is_not_trained_again(tmp_path):
    recipe = replace(TINY.recipe, epochs=1, batch=300)
    train.train(TINY, recipe, tmp_path / "run", seed=0)
    before = (tmp_path / "run" / loops.LOG).read_text()
    train.train(TINY, recipe, tmp_path / "run", seed=0)
    assert (tmp_path / "run" / loops.LOG).read_text() == before


def test_a_folder_of_another_run_is_refused(tmp_path):
    told = ["tiny-fc", "--out", str(tmp_path / "run"), "--epochs", "1", "--batch", "300"]
    train.main(told)
    with pytest.raises(SystemExit, match=r"trained otherwise .*recipe\.json\)\. Name another with"):
        train.main([*told, "--heavy-ball"])
    train.main([*told[:2], str(tmp_path / "another"), *told[3:], "--decay", "0.1"])


def test_a_branch_begins_at_the_last_weights_of_its_start(tmp_path):
    told = ["--epochs", "1", "--batch", "300"]
    train.main(["tiny-fc", "--out", str(tmp_path / "trunk"), *told])
    start = ["--start", str(tmp_path / "trunk")]
    train.main(["tiny-fc", "--out", str(tmp_path / "branch"), "--seed", "1", *start, *told])
    trunk, branch = (
        trajscope.open_trajectory(tmp_path / name / loops.STORE) for name in ("trunk", "branch")
    )
    np.testing.assert_array_equal(branch["weights"][0].to_numpy(), trunk["weights"][-1].to_numpy())
    assert json.loads((tmp_path / "branch" / "recipe.json").read_text())["start"] == "trunk"
    with pytest.raises(SystemExit, match=r"goes on with a run of tiny-fc, not of small-fc\. Leave"):
        train.main(["small-fc", "--out", str(tmp_path / "other"), *start, *told])


def test_batches_of_more_images_than_there_are_are_refused(tmp_path):
    with pytest.raises(
        SystemExit, match=r"--batch 5000 is more than the \d+ images\. Choose fewer\."
    ):
        train.main(["tiny-fc", "--out", str(tmp_path / "run"), "--epochs", "1", "--batch", "5000"])
    train.main(["tiny-fc", "--out", str(tmp_path / "other"), "--epochs", "1", "--batch", "500"])


def test_the_rate_falls_by_the_same_factor_in_every_epoch_that_anneals_it():
    recipe = networks.Recipe(epochs=5, anneal=2, batch=1, first_rate=1.0, last_rate=0.01)
    assert [recipe.rate(epoch) for epoch in (1, 2, 3, 5)] == pytest.approx([0.1, 0.01, 0.01, 0.01])
    assert replace(recipe, anneal=0).rate(1) == pytest.approx(0.01)


def test_the_problem_measures_a_dense_run_with_the_running_statistics_of_each_checkpoint(tmp_path):
    train.main(["tiny-fc", "--out", str(tmp_path), "--epochs", "3", "--batch", "300"])
    found = trajscope.diffusion(
        tmp_path / loops.STORE, networks.tiny_fc_problem(), at=["100%"], by="none", every=1
    )
    log = [json.loads(line) for line in (tmp_path / loops.LOG).read_text().splitlines()]
    assert found["loss"].item() == pytest.approx(log[-1]["train_loss"], rel=1e-5)
    assert found["checkpoint_loss"].size == 4


@pytest.mark.parametrize("strength", well.STRENGTHS)
def test_the_force_of_the_well_is_that_of_its_potential_and_has_no_divergence(strength):
    points = np.random.default_rng(0).uniform(-1.5, 1.5, (2, 20))
    first, second = points
    potential = (first**2 - 1) ** 2 / 4 + second**2 / 2
    slope = np.stack([first**3 - first, second])
    force = well.descent(points, strength) + slope
    current = force * np.exp(-potential)  # lambda J
    np.testing.assert_allclose((current * points).sum(axis=0), 0, atol=1e-12)  # along circles
    length = np.hypot(*current)
    expected = strength * np.exp(-((points**2).sum(axis=0) ** 2) / 4) * np.hypot(*points)
    np.testing.assert_allclose(length, expected, atol=1e-12)


def test_the_critical_points_of_the_well_move_away_and_become_a_cycle():
    assert sorted(map(tuple, well.critical_points(0.0).round(6) + 0.0)) == [(-1, 0), (0, 0), (1, 0)]
    moved = well.critical_points(0.5)
    assert len(moved) == 3
    assert np.linalg.norm(moved, axis=1).max() < 1
    assert well.critical_points(1.5).shape == (1, 2)
    radius = np.hypot(*well.cycle(1.5))
    assert radius.min() > 0.05
    assert np.ptp(np.hypot(*well.cycle(0.0))) < 1e-6


@pytest.mark.slow
def test_the_audit_finds_what_is_planted_in_a_run(tmp_path):
    recipe = networks.Recipe(epochs=80, anneal=0, batch=300)
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        loops.train_module(TINY, recipe, tmp_path / str(seed), seed)
    run, other = (tmp_path / seed / loops.CHECKPOINTS for seed in ("0", "1"))
    assert trajscope.audit(run) == []

    def at(folder, epoch):
        return folder / f"step-{2 * epoch}.safetensors"

    whole = {epoch: load_file(at(run, epoch)) for epoch in (10, 20, 30, 40, 70)}
    first = next(name for name, values in whole[10].items() if values.ndim == 2)
    narrow = {
        name: values.astype(ml_dtypes.bfloat16).astype(values.dtype) if values.ndim else values
        for name, values in whole[40].items()
    }
    save_file(whole[70], at(run, 10), {"step": "20"})
    save_file(whole[30] | {first: whole[20][first]}, at(run, 30), {"step": "60"})
    save_file(narrow, at(run, 40), {"step": "80"})
    save_file(load_file(at(other, 60)), at(run, 60), {"step": "120"})
    found = {each["kind"]: each["steps"] for each in trajscope.audit(run)}
    assert found == {
        "identical": [20, 140], "identical_tensors": [40, 60], "cast": [80], "detour": [120]
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "figure",
    [
        pytest.param(each.name, marks=[pytest.mark.slice] if each.name == "fig1b" else [])
        for each in reproduce.FIGURES
    ],
)
def test_every_figure_is_made_from_short_runs(figure, tmp_path):
    command = [sys.executable, PAPER / "reproduce.py", figure, "--short", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / f"{figure}.json").read_text()
    assert json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    picture = tmp_path / f"{figure}.png"
    assert figure == "table" or 5_000 < picture.stat().st_size < 200_000
