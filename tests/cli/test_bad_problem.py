"""A problem that cannot be used is one message, before anything is measured or written."""

import json
import sys

import numpy as np
import pytest

from tests.cli.problem_files import write_fitting_run, write_problem
from trajscope import open_results

pytestmark = pytest.mark.slow  # processes, problems, pages: seconds each

PROBLEMS = """
import math
import sys

import torch
from torch import nn

import trajscope
from problem import loss, make_problem as make_good

DATA = make_good().data


def with_loss(loss, data=DATA):
    return trajscope.Problem(make_good().model, data, loss)


def exits():
    sys.exit(0)


def exits_in_the_loss():
    return with_loss(lambda model, batch: sys.exit("enough"))


def raises():
    return 1 / 0


def raises_in_the_loss():
    return with_loss(lambda model, batch: {}["no such key"])


def recurses():
    return recurses()


def recurses_in_the_loss():
    def loss(model, batch):
        return loss(model, batch)

    return with_loss(loss)


def wrong_shape():
    return with_loss(lambda model, batch: model(batch[0]))


def a_number():
    return with_loss(lambda model, batch: loss(model, batch).item())


def nothing():
    return with_loss(lambda model, batch: None)


def detached():
    return with_loss(lambda model, batch: loss(model, batch).detach())


def without_gradient():
    def found(model, batch):
        with torch.no_grad():
            return loss(model, batch)

    return with_loss(found)


def count_of_errors():
    return with_loss(lambda model, batch: (model(batch[0]).argmax(1) != batch[1]).sum())


class Broken(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise ValueError("no way back")


def raises_on_the_way_back():
    return with_loss(lambda model, batch: Broken.apply(loss(model, batch)))


class Torn:
    def __len__(self):
        return 30

    def __getitem__(self, index):
        raise OSError("image 7 is damaged")


def damaged_data():
    return with_loss(loss, Torn())


class Augmented(Torn):
    def __getitem__(self, index):
        return DATA[0][index] + torch.randn(4), DATA[1][index]


def augmented():
    return with_loss(loss, Augmented())


def unlike_lengths():
    return with_loss(loss, (DATA[0], DATA[1][:7]))


def nowhere_finite():
    return with_loss(lambda model, batch: loss(model, batch) * math.nan)
"""

MESSAGES = {
    "exits": "exits ended the process: 0 (",
    "exits_in_the_loss": "The problem's loss ended the process: enough (",
    "raises": "raises raised ZeroDivisionError: division by zero (",
    "raises_in_the_loss": "The problem's loss raised KeyError: 'no such key' (",
    "recurses": "recurses raised RecursionError",
    "recurses_in_the_loss": "The problem's loss raised RecursionError",
    "wrong_shape": "returned a Tensor of shape (1, 3) for a batch of 1",
    "a_number": "returned a float",
    "nothing": "returned a NoneType",
    "detached": "does not depend on the weights",
    "without_gradient": "does not depend on the weights",
    "count_of_errors": "a tensor of torch.int64",
    "raises_on_the_way_back": "The backward pass of the problem's loss raised ValueError: no way",
    "damaged_data": "Sample 0 of the problem's data raised OSError: image 7 is damaged (",
    "augmented": "a different sample each time the same index is read",
    "unlike_lengths": "tensors have 7, 30 samples",
}


@pytest.fixture
def fitting(tmp_path, monkeypatch):
    # The file beside, not one of its name that another test has loaded in this process.
    monkeypatch.delitem(sys.modules, "problem", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    write_problem(tmp_path)
    (tmp_path / "bad.py").write_text(PROBLEMS)
    return write_fitting_run(tmp_path / "run")


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("command", ["diffusion", "analyze"])
def test_is_one_message_and_leaves_nothing(trajscope, fitting, tmp_path, out, command, name):
    problem, work = f"{tmp_path / 'bad.py'}:{name}", tmp_path / "work"
    done = trajscope(
        command, fitting, "--problem", problem, "-o", out, "--quiet", "--work-dir", work
    )
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Error: ")
    assert MESSAGES[name] in " ".join(done.err.split())
    assert "Traceback" not in done.err
    assert not out.exists()
    assert not work.exists()


@pytest.mark.slice
def test_a_loss_that_is_nowhere_a_number_is_said_once(trajscope, fitting, tmp_path, out):
    problem = f"{tmp_path / 'bad.py'}:nowhere_finite"
    done = trajscope("diffusion", fitting, "--problem", problem, "-o", out)
    assert (done.code, done.err) == (0, "")
    assert done.out.count("The loss is not finite at step 20, 40, 100") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--alpha", "2"], "--alpha is 2"),
        (["--surrogates", "3"], "--surrogates is 3"),
        (["--workers", "0"], "--workers is 0"),
        (["--momentum", "1"], "--momentum 1.0: from 0 to below 1"),
        (["--memory", "much"], "--memory much is invalid"),
        (["--seed", "-1"], "--seed -1"),
        (["--samples", "0"], "--samples 0: at least 1"),
        (["--samples", "31"], "--samples 31: from 1 to 30"),
        (["--chunk", "0"], "--chunk 0"),
        (["--chunk", "many"], "--chunk many"),
        (["--every", "-1"], "--every -1"),
        (["--at", "7"], "--at 7: no checkpoint"),
        (["--lr", "nan"], "--lr nan: a positive number"),
        (["--sketch", "1"], "--sketch 1"),
        (["--sketch", "500"], "--sketch 500"),
        (["--device", "tpu"], "--device tpu"),
        (["--mode", "train"], "--batch-size"),
        (["--mode", "train", "--batch-size", "30"], "--batch-size 30: from 1 to below 30"),
        (["--work-dir", "problem.py/work"], "--work-dir problem.py/work"),
        (["--memory", "1MiB"], "--memory"),
    ],
)
def test_options_are_refused_before_anything_is_measured(  # noqa: PLR0917
    trajscope, fitting, tmp_path, out, monkeypatch, options, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "counted.py").write_text(COUNTED)
    done = trajscope(
        "analyze", fitting, "--problem", "counted.py:make", "-o", out, "--quiet", *options
    )
    assert done.code == 2
    assert message in " ".join(done.err.split())
    assert not out.exists()
    # Nothing but the few samples that every start looks at.
    seen = tmp_path / "seen"
    assert not seen.exists() or seen.read_text().count("\n") < 60


COUNTED = """
from pathlib import Path

import trajscope
from problem import loss, make_problem


def make():
    good = make_problem()

    def counted(model, batch):
        with Path("seen").open("a") as file:
            file.write("once\\n")
        return loss(model, batch)

    return trajscope.Problem(good.model, good.data, counted)
"""

SPOILS = """
import sys
from pathlib import Path

import trajscope
from problem import loss, make_problem


class Data:
    def __init__(self, data, trap):
        self.data, self.trap, self.count = data, trap, 0

    def __len__(self):
        return len(self.data[0])

    def __getitem__(self, index):
        self.count += 1
        if self.count == 150:  # the start is over: samples are passed backward
            self.trap()
        return self.data[0][index], self.data[1][index]


def with_trap(trap):
    good = make_problem()
    return trajscope.Problem(good.model, Data(good.data, trap), loss)


def foreign_store():
    def trap():
        folder = Path("out") / "results.zarr"
        folder.mkdir(parents=True)
        (folder / "mine").write_text("not a result")

    return with_trap(trap)


def fails_late():
    def trap():
        raise OSError("the disk with the images is gone")

    return with_trap(trap)


def harmless():
    return with_trap(lambda: None)
"""


def test_what_was_measured_is_kept_until_it_is_written(trajscope, fitting, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spoils.py").write_text(SPOILS)
    options = ["diffusion", fitting, "--work-dir", "work", "-o", "out", "--problem"]
    done = trajscope(*options, "spoils.py:foreign_store")
    assert done.code == 2
    assert "exists and is not a result of trajscope" in done.err
    assert len(list((tmp_path / "work").glob("*-done.npz"))) == 3
    (tmp_path / "out" / "results.zarr" / "mine").unlink()
    done = trajscope(*options, "spoils.py:harmless")
    assert done.code == 0
    assert list((tmp_path / "work").iterdir()) == []


def test_an_analysis_outlives_a_problem_that_fails_late(trajscope, fitting, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spoils.py").write_text(SPOILS)
    done = trajscope(
        "analyze", fitting, "-o", "out", "--surrogates", "199", "--problem", "spoils.py:fails_late"
    )
    assert done.code == 2
    message = " ".join(done.err.split())
    assert "raised OSError: the disk with the images is gone (" in message
    assert "The analysis without gradient noise is finished: out/report.html" in message
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["verdict"]["code"]
    done = trajscope("diffusion", fitting, "-o", "out", "--problem", "spoils.py:harmless")
    assert done.code == 0
    stored = open_results(tmp_path / "out" / "results.zarr")
    assert np.isfinite(stored["diffusion"]["trace"]).all()
    assert stored["observables"].data_vars


def test_of_a_run_that_was_trained_again_no_analysis_is_kept(trajscope, fitting, tmp_path, out):
    problem = f"{tmp_path / 'problem.py'}:make_problem"
    trajscope("analyze", fitting, "-o", out, "--quiet", "--surrogates", "199")
    before = (out / "summary.json").read_text()
    for path in fitting.iterdir():
        path.write_bytes(path.read_bytes())
    done = trajscope("diffusion", fitting, "--problem", problem, "-o", out)
    assert done.code == 2
    assert "its checkpoints have changed since" in " ".join(done.err.split())
    assert (out / "summary.json").read_text() == before
    done = trajscope(
        "analyze", fitting, "--problem", problem, "-o", out, "--quiet", "--surrogates", "199"
    )
    assert done.code == 0
    assert json.loads((out / "summary.json").read_text())["diffusion"]["steps"] == [20, 40, 100]


def test_beside_an_analysis_it_reaches_the_store_and_outlives_a_report(
    trajscope, fitting, tmp_path, out
):
    problem = f"{tmp_path / 'problem.py'}:make_problem"
    trajscope("analyze", fitting, "-o", out, "--quiet", "--surrogates", "199")
    assert trajscope("diffusion", fitting, "--problem", problem, "-o", out, "--quiet").code == 0
    found = open_results(out / "results.zarr")["diffusion"]
    assert found["eigenvalue"].shape[0] == 3
    page, summary = (out / name for name in ("report.html", "summary.json"))
    before = page.read_text(), json.loads(summary.read_text())
    assert "Eigenvalues of D" in before[0]
    assert before[1]["diffusion"]["steps"] == [20, 40, 100]
    assert trajscope("report", out / "results.zarr", "--quiet").code == 0
    assert (page.read_text(), json.loads(summary.read_text())) == before


def test_epochs_take_a_momentum_in_both_commands(trajscope, tmp_path, out):
    import torch
    from safetensors.torch import save_file
    from torch import nn

    write_problem(tmp_path)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    for epoch in range(40):
        save_file(network.state_dict(), tmp_path / f"epoch-{epoch}.safetensors")
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(1e-3 * torch.randn_like(parameter))
    settings = [
        "--lr",
        "0.1",
        "--batch-size",
        "5",
        "--momentum",
        "0.5",
        "--sampling",
        "replacement",
    ]
    for command, more in (("diffusion", []), ("analyze", ["--surrogates", "199"])):
        place = out / command
        done = trajscope(
            command, tmp_path, "--problem", f"{tmp_path / 'problem.py'}:make_problem", *settings,
            "-o", place, *more,
        )  # fmt: skip
        assert done.code == 0, done.err
        told = json.loads((place / "summary.json").read_text())
        assert told["trajectory"]["step_unit"] == "epoch"
        found = told["diffusion"]["budget"]
        assert (found["momentum"], found["updates"]) == (0.5, 6)
        assert found["predicted_trace"]["with"] > 0
    # The batch size that the budget is given says as much to the tests.
    config = open_results(out / "analyze" / "results.zarr").attrs["config"]
    assert config["updates_per_epoch"] == 6
