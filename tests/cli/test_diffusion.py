"""Gradient noise on the command line: alone, beside an analysis, and within one."""

import json
import re

import numpy as np
import pytest
import torch

from tests.cli.problem_files import SHAPES, write_fitting_run, write_problem
from tests.cli.running import in_process, on_terminal, shown
from trajscope import diffusion, open_results, save_checkpoint
from trajscope.model.problem import load_problem

pytestmark = pytest.mark.slow  # processes, problems, pages: seconds each


@pytest.fixture
def problem(tmp_path):
    return f"{write_problem(tmp_path)}:make_problem"


@pytest.fixture
def fitting(tmp_path):
    return write_fitting_run(tmp_path / "run")


def summary(out):
    return json.loads((out / "summary.json").read_text())["diffusion"]


def by_hand(folder, problem, step):
    """Eigenvalues of D by single backward passes in float64."""
    from safetensors.torch import load_file

    given = load_problem(problem)
    model = given.model.double()
    model.load_state_dict(load_file(folder / f"step-{step}.safetensors"))
    rows = []
    for inputs, label in zip(*given.data, strict=True):
        loss = given.loss(model, (inputs[None].double(), label[None]))
        found = torch.autograd.grad(loss, list(model.parameters()))
        rows.append(torch.cat([gradient.flatten() for gradient in found]).numpy())
    return np.sort(np.linalg.eigvalsh(np.cov(np.array(rows).T, bias=True)))[::-1]


@pytest.mark.slice
def test_alone_it_prints_a_column_for_each_checkpoint_and_writes_all_three_files(
    trajscope, fitting, problem, out
):
    done = trajscope(
        "diffusion", fitting, "--problem", problem, "--at", "20%,40%,100%",
        "--lr", "0.1", "--batch-size", "5", "-o", out,
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    assert re.search(r"^step +20 +40 +100$", done.out, re.MULTILINE)
    assert "30 samples, network in eval mode" in done.out
    assert "Temperature 1/beta = eta/(2b) = 0.0100 " in done.out
    told = summary(out)
    assert told["steps"] == [20, 40, 100]
    expected = by_hand(fitting, problem, 100)
    last = told["checkpoints"][2]
    assert last["eigenvalue_mean"] == pytest.approx(expected.mean(), rel=1e-5)
    assert last["eigenvalue_std"] == pytest.approx(expected.std(), rel=1e-5)
    assert last["lambda_max"] == pytest.approx(expected[0], rel=1e-5)
    assert sum(group["n_weights"] for group in told["groups"].values()) == 2 * 43
    stored = open_results(out / "results.zarr")["diffusion"]
    np.testing.assert_allclose(stored["eigenvalue"][2], expected[:29], atol=1e-6 * expected[0])
    assert "Eigenvalues of D" in (out / "report.html").read_text()


def test_the_page_of_gradient_noise_alone_is_made_again_from_the_store(
    trajscope, fitting, problem, out
):
    trajscope("diffusion", fitting, "--problem", problem, "-o", out)
    page = (out / "report.html").read_text()
    done = trajscope("report", out / "results.zarr")
    assert "rank / d, float32" in done.out
    assert (out / "report.html").read_text() == page


def test_beside_an_analysis_of_the_same_run_everything_else_is_kept(
    trajscope, fitting, problem, out
):
    trajscope("analyze", fitting, "-o", out, "--quiet", "--surrogates", "199")
    before = json.loads((out / "summary.json").read_text())
    assert before["diffusion"] is None
    done = trajscope("diffusion", fitting, "--problem", problem, "-o", out, "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")
    after = json.loads((out / "summary.json").read_text())
    assert after.pop("diffusion")["steps"] == [20, 40, 100]
    del before["diffusion"], before["result"], after["result"]
    assert after == before


@pytest.mark.slice
def test_within_an_analysis_it_is_what_python_gives(trajscope, fitting, problem, out):
    done = trajscope(
        "analyze", fitting, "--problem", problem, "--at", "0,50", "--samples", "20",
        "--dtype", "float64", "--every", "0", "--chunk", "7", "--surrogates", "199", "-o", out,
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    stored = open_results(out / "results.zarr")["diffusion"]
    expected = diffusion(fitting, problem, at=[0, 50], samples=20, dtype="float64", every=0)
    np.testing.assert_allclose(stored["eigenvalue"], expected["eigenvalue"], atol=1e-12)
    assert "checkpoint_loss" not in stored
    assert summary(out)["n_samples"] == 20


def test_batches_of_training_are_said_to_be_that(trajscope, fitting, problem, out):
    done = trajscope(
        "diffusion", fitting, "--problem", problem, "--mode", "train", "--batch-size", "6",
        "--samples", "40", "-o", out,
    )  # fmt: skip
    assert "40 batches of 6 out of 30 samples, network in train mode" in done.out
    assert summary(out)["mode"] == "train"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("make_another", "in the module but not in the checkpoint 2: 3.weight, 3.bias"),
        ("make_nothing", "returned a NoneType"),
        ("make_prblem", "lacks a function make_prblem. It contains loss, make_problem"),
    ],
)
def test_what_does_not_fit_is_one_message_and_leaves_nothing(
    trajscope, fitting, problem, out, function, message
):
    other = problem.replace("make_problem", function)
    for command in ("diffusion", "analyze"):
        done = trajscope(command, fitting, "--problem", other, "-o", out, "--quiet")
        assert done.code == 2
        assert message in " ".join(done.err.split())
        assert not out.exists()


def test_weights_that_the_model_lacks_are_listed(trajscope, tmp_path, problem, out):
    folder = write_fitting_run(tmp_path / "more", shapes=SHAPES | {"extra.weight": (2,)})
    done = trajscope("diffusion", folder, "--problem", problem, "-o", out)
    assert done.code == 2
    assert "in the checkpoint but not in the module 1: extra.weight" in done.err


def test_an_analysis_of_another_run_is_not_touched(trajscope, fitting, problem, out, tmp_path):
    other = write_fitting_run(tmp_path / "other")
    trajscope("analyze", other, "-o", out, "--quiet", "--surrogates", "199")
    before = (out / "summary.json").read_text()
    done = trajscope("diffusion", fitting, "--problem", problem, "-o", out)
    assert done.code == 2
    assert "holds the analysis of" in done.err
    assert (out / "summary.json").read_text() == before


def test_options_of_gradient_noise_without_a_problem_are_refused(trajscope, fitting, out):
    done = trajscope("analyze", fitting, "--at", "50%", "-o", out)
    assert done.code == 2
    assert "--at concerns gradient noise" in done.err
    done = trajscope("diffusion", fitting, "-o", out)
    assert (done.code, "--problem is missing" in done.err) == (2, True)


def test_a_terminal_is_told_how_far_it_is_and_a_module_is_found_by_name(fitting, problem, tmp_path):
    sent = on_terminal(
        "diffusion", fitting, "--problem", problem, "--every", "1", "-o", tmp_path / "a"
    )
    assert "gradients per sample" in sent
    assert not any("gradients per sample" in line for line in shown(sent))
    done = in_process(
        "diffusion", "run", "--problem", "problem:make_problem", "-o", "b", cwd=tmp_path
    )
    assert (done.code, done.err) == (0, "")
    assert (tmp_path / "b" / "report.html").exists()


def test_unfinished_work_is_taken_up_and_cleared(trajscope, fitting, problem, out, tmp_path):
    work = tmp_path / "work"
    done = trajscope("diffusion", fitting, "--problem", problem, "--work-dir", work, "-o", out)
    assert done.code == 0
    assert list(work.iterdir()) == []


def test_a_packed_run_gives_the_same_numbers(trajscope, fitting, problem, tmp_path):
    store = tmp_path / "run.zarr"
    assert trajscope("pack", fitting, store).code == 0
    for source, out in ((fitting, "files"), (store, "packed")):
        done = trajscope("diffusion", source, "--problem", problem, "-o", tmp_path / out)
        assert (done.code, done.err) == (0, "")
    files, packed = (open_results(tmp_path / out / "results.zarr") for out in ("files", "packed"))
    for name in ("eigenvalue", "loss", "gradient_norm"):
        one, other = (each["diffusion"][name].to_numpy() for each in (files, packed))
        np.testing.assert_array_equal(one, other)


NORMALISED = """
from torch import nn, randn, randint
import trajscope


def make_problem():
    network = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    loss = lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1])
    return trajscope.Problem(network, (randn(9, 4), randint(3, (9,))), loss)
"""


def test_a_packed_run_without_statistics_says_how_to_pack_them(trajscope, tmp_path):
    (tmp_path / "normalised.py").write_text(NORMALISED)
    problem = f"{tmp_path / 'normalised.py'}:make_problem"
    network = load_problem(problem).model
    for step in (0, 1):
        save_checkpoint(tmp_path / "run" / f"step-{step}.safetensors", network, step=step)
    for name, options in (("bare", []), ("whole", ["--include", "*"])):
        store = tmp_path / f"{name}.zarr"
        assert trajscope("pack", tmp_path / "run", store, *options).code == 0
        done = trajscope("diffusion", store, "--problem", problem, "-o", tmp_path / name)
        assert done.code == (2 if name == "bare" else 0)
        assert ("contains statistics only with --include '*'" in done.err) == (name == "bare")
