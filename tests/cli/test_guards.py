"""Every refusal of the theory, met once through the command, and no number beside it.

The report is not written here: `test_dynamics` looks at pages.
"""

import ctypes
import gc
import json
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
import xarray as xr
from click.testing import CliRunner

import trajscope.report
from tests.theory.problems import ETA, SETTINGS, quadratic, run_of
from trajscope import save_checkpoint, simulate
from trajscope.cli import main
from trajscope.measure.resources import resident_bytes
from trajscope.theory.guards import GUARDS

PROBLEMS = """
import numpy as np
import torch
from torch import nn
from torch.autograd.function import once_differentiable

from tests.theory.problems import Weights, problem_of, quadratic
from trajscope import Problem


def plain():
    return problem_of(quadratic())


def six():
    return problem_of(quadratic(curvatures=np.geomspace(3, 0.5, 6)))


def isotropic():
    return problem_of(quadratic(curvatures=np.geomspace(3, 0.5, 6), isotropic=True))


def steep():
    bulk = np.linspace(3, 1, 97)
    return problem_of(quadratic(curvatures=np.r_[[1500] * 3, bulk], n_samples=105))


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x**3

    @staticmethod
    @once_differentiable
    def backward(context, gradient):
        (x,) = context.saved_tensors
        return 3 * x**2 * gradient


def once():
    problem = plain()
    return Problem(
        problem.model, problem.data,
        lambda model, batch: (Cube.apply(1 + model(batch[0])) + batch[0] * model(batch[0])).sum(1),
    )


class Dropping(Weights):
    def __init__(self):
        super().__init__(4)
        self.drop = nn.Dropout(0.5)

    def forward(self, batch):
        return self.drop(super().forward(batch))


def dropping():
    problem = plain()
    return Problem(Dropping(), problem.data, problem.loss)


def large():
    return Problem(
        Weights(1_500_000), (torch.randn(20),),
        lambda model, batch: model.x.square().sum() * batch[0].mean(),
    )
"""
GIVEN = {"lr": ETA, "batch-size": 5, "momentum": 0, "sampling": "replacement"}
PLAIN, HEAVY, SHUFFLED = SETTINGS.values()


@dataclass(frozen=True)
class Case:
    """A command, and which guards have to speak: those of `codes`, and whatever else does.

    Attributes
    ----------
    run :
        Name of the folder of checkpoints.
    problem :
        `None`: without one.
    options :
        What differs from `GIVEN`; `None` for what is left out.
    """

    codes: str
    run: str = "plain"
    problem: str | None = "plain"
    options: dict[str, object] = field(default_factory=dict)


MEMORY = object()
"""400 MiB more than this process holds."""
CASES = (
    Case("problem_missing subspace_selected_here", "walk", None),
    Case("problem_missing non_gaussian", "wells", None),
    Case("problem_missing lag_too_coarse sampling_unknown", "fast", None, {"sampling": None}),
    Case("settings_missing no_noise", options={"lr": None, "batch-size": 60}),
    Case("momentum_unknown", options={"momentum": None}),
    Case("adaptive_optimizer", "adam"),
    Case("groups_differ momentum_changes rate_changes", "groups"),
    Case("files_disagree momentum_memory single_run_free_energy", "heavy",
         options={"lr": ETA / 4, "momentum": 0.8}),
    Case("step_unit_unknown", "unnumbered", options={"order": "name"}),
    Case("no_second_derivative", problem="once"),
    Case("memory", "large", "large", {"memory": MEMORY, "samples": 2}),
    Case("indefinite_hessian directions_dropped", options={"lr": 5}),
    Case("mixed_phases", options={"sampling": "shuffle"}),
    Case("shuffled", "epochs", options={"sampling": "shuffle"}),
    Case("sampling_unknown", options={"sampling": "unknown"}),
    Case("directions_dropped", "six", "six", {"lr": 0.8}),
    Case("not_converged", "steep", "steep", {"lr": 0.001}),
    Case("wrong_mode", problem="dropping", options={"mode": "eval"}),
    Case("no_current_predicted", "isotropic", "isotropic", {"seed": 1}),
    Case("spoilt problem_missing", "jump", None),
    Case("weak_currents too_short", options={"steps": "0:300"}),
)  # fmt: skip


def numbered(run):
    """Steps and weights of every checkpoint."""
    steps = run["step"].values if "step" in run.coords else np.arange(len(run)) * 5
    return zip(steps.tolist(), run.values.astype(np.float32), strict=True)


def save(folder, run):
    for step, row in numbered(run):
        save_checkpoint(folder, {"x": row}, step=step)


def save_trained(folder, run, optimizer_of):
    """Files of torch.save, with the optimizer's state."""
    folder.mkdir()
    for step, row in numbered(run):
        weights = {"x": torch.nn.Parameter(torch.as_tensor(row))}
        optimizer = optimizer_of(step, weights["x"]).state_dict()
        torch.save({"model": weights, "optimizer": optimizer, "step": step},
                   folder / f"step-{step}.pt")  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of checkpoints and of problems, made when they are first asked for."""
    root = tmp_path_factory.mktemp("runs")
    (root / "problems.py").write_text(PROBLEMS)
    loss = quadratic()
    sgd, adam = torch.optim.SGD, torch.optim.Adam

    def groups(step, x):
        two = [{"params": [x]}, {"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.02}]
        late = step > 250
        return sgd(two, lr=0.01 if late else 0.1, momentum=0.9 if late else 0.5)

    def unnumbered(folder):
        for number, (_, row) in enumerate(numbered(run_of(loss, PLAIN, n_steps=60))):
            name = f"{chr(97 + number // 26)}{chr(97 + number % 26)}.safetensors"
            save_checkpoint(folder / name, {"x": row}, step=0)

    def short(optimizer):
        return lambda folder: save_trained(folder, run_of(loss, PLAIN, n_steps=60), optimizer)

    def wells(seed=0):
        rng = np.random.default_rng(seed)
        jumps = np.repeat(rng.choice([-1.0, 1.0], (50, 2)), 4, axis=0)
        return xr.DataArray(jumps + 0.1 * rng.standard_normal(jumps.shape), dims=("step", "weight"))

    def jump():
        run = run_of(loss, PLAIN, n_steps=60)
        return run.copy(data=run.values + 1e4 * (np.arange(60) >= 30)[:, None])

    six = np.geomspace(3, 0.5, 6)
    makers = {
        "plain": lambda folder: save(folder, run_of(loss, PLAIN, n_steps=120)),
        "walk": lambda folder: save(folder, simulate.brownian(100, 50, seed=0)),
        "jump": lambda folder: save(folder, jump()),
        "wells": lambda folder: save(folder, wells()),
        "fast": lambda folder: save(
            folder, simulate.ornstein_uhlenbeck(200, taus=[0.2, 2.0, 2.0], seed=0)
        ),
        "adam": short(lambda _, x: adam([x], lr=0.1)),
        "groups": short(groups),
        "heavy": lambda folder: save_trained(
            folder, run_of(loss, HEAVY, n_steps=200), lambda _, x: sgd([x], lr=0.2, momentum=0.8)
        ),
        "unnumbered": unnumbered,
        "large": lambda folder: save(folder, simulate.brownian(4, 1_500_000, seed=0)),
        "epochs": lambda folder: save(folder, run_of(loss, SHUFFLED, n_steps=120, updates=12)),
        "six": lambda folder: save(folder, run_of(quadratic(curvatures=six), PLAIN, n_steps=120)),
        "steep": lambda folder: save(folder, simulate.brownian(60, 100, seed=0)),
        "isotropic": lambda folder: save(
            folder, run_of(quadratic(curvatures=six, isotropic=True), PLAIN, n_steps=120)
        ),
    }

    def of(name):
        if not (root / name).exists():
            makers[name](root / name)
        return root / name

    return of


@pytest.fixture
def analyzed(runs, tmp_path, monkeypatch):
    """What `analyze` says of the theory."""
    monkeypatch.setattr(trajscope.report, "write_report", lambda results, out: out / "report.html")

    def run(case):
        given = GIVEN | case.options
        if case.problem is not None:
            given |= {"problem": f"{runs('problems.py')}:{case.problem}", "at": "100%", "every": 0}
        if given.get("memory") is MEMORY:
            # What earlier tests have left is given back before it is counted, not afterwards.
            gc.collect()
            getattr(ctypes.CDLL(None), "malloc_trim", int)(0)
            given["memory"] = f"{(resident_bytes() >> 20) + 400}MiB"
        options = [p for n, v in given.items() if v is not None for p in (f"--{n}", str(v))]
        done = CliRunner().invoke(
            main,
            ["analyze", str(runs(case.run)), "-o", str(tmp_path / "out"), "--json",
             "--surrogates", "99", "--alpha", "0.05", "--phases", "none", *options],
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)["dynamics"]

    return run


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.codes.replace(" ", ","))
def test_it_speaks_and_what_it_prevents_is_not_there(analyzed, case):
    told = analyzed(case)
    guards = {each["code"]: each for each in told["guards"]}
    assert set(case.codes.split()) <= guards.keys()
    for each in guards.values():
        assert each["reason"].endswith((".", "?"))
        assert "{" not in each["reason"]
    prevented = {each["prevents"] for each in guards.values()}
    if "prediction" in prevented:
        assert told["volume_ratio"] is told["budget_ratio"] is told["current_slope"] is None
    if prevented & {"prediction", "potential"}:
        assert told["p_phi_is_f"] is told["angle"] is None
    if guards.keys() & {"weak_currents", "no_current_predicted"}:
        assert told["current_slope"] is None


def test_every_guard_is_met():
    met = {code for case in CASES for code in case.codes.split()}
    assert met == {guard.code for guard in GUARDS}
