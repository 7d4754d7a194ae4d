"""The whole way from a run and a problem to numbers, where the numbers are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from tests.theory.problems import (
    CURVATURES,
    SAMPLES,
    SETTINGS,
    UPDATES,
    Weights,
    problem_of,
    quadratic,
    run_of,
)
from trajscope import OptionError, Problem, dynamics, simulate
from trajscope.model.compute import Compute
from trajscope.model.settings import settle
from trajscope.optimizer import Optimizer
from trajscope.theory.prepare import prepare
from trajscope.theory.subject import hessian_of


def codes(found):
    return [each["code"] for each in found.attrs["guards"]]


@pytest.mark.parametrize("name", ["plain", "heavy ball"])
def test_descent_on_a_quadratic_loss_is_as_predicted(name):
    loss, optimizer = quadratic(), SETTINGS[name]
    found = dynamics(run_of(loss, optimizer), problem_of(loss), optimizer, dtype="float64")
    np.testing.assert_allclose(found["hessian_eigenvalue"], CURVATURES[:2], rtol=1e-6)
    assert found.attrs["updates"] == UPDATES
    expected = simulate.stationary_covariance(loss, optimizer)
    assert found["variance_predicted"].sum() < 1.2 * np.trace(expected)
    assert found["volume_ratio_low"] < 1 < found["volume_ratio_high"]
    assert found["budget_ratio_low"] < 1 < found["budget_ratio_high"]
    assert codes(found)[-1] == "single_run_free_energy"


def test_the_prediction_is_the_law_along_the_eigenvectors():
    loss, optimizer = quadratic(), SETTINGS["plain"]
    found = dynamics(run_of(loss, optimizer), problem_of(loss), optimizer, dtype="float64")
    _, vectors = np.linalg.eigh(loss.hessian)
    along = vectors[:, ::-1][:, :2]
    expected = along.T @ simulate.stationary_covariance(loss, optimizer) @ along
    # D is from some hundreds of batches.
    np.testing.assert_allclose(found["variance_predicted"], np.diag(expected), rtol=0.15)
    path = run_of(loss, optimizer).values @ along
    np.testing.assert_allclose(found["variance"], np.var(path, axis=0), rtol=1e-4)


def test_a_run_that_does_not_move_has_no_number():
    run = run_of(quadratic(), SETTINGS["plain"], n_steps=60)
    still = run.copy(data=np.tile(run.values[0], (60, 1)))
    for problem in (problem_of(quadratic()), None):
        found = dynamics(still, problem, SETTINGS["plain"])
        assert "directions_dropped" in codes(found)
        assert not {"volume_ratio", "p_reversible"} & set(found)


@pytest.mark.filterwarnings("ignore::trajscope.errors.TrajscopeWarning")
def test_a_run_that_the_audit_gives_up_has_no_number():
    run = run_of(quadratic(), SETTINGS["plain"], n_steps=60)
    run.values[25:] = run.values[25]
    found = dynamics(run, problem_of(quadratic()), SETTINGS["plain"])
    assert codes(found)[0] == "spoilt"
    assert not {"volume_ratio", "p_reversible"} & set(found)


NOT_FINITE = {
    "everywhere": lambda x: x * np.nan,
    "at some checkpoints": lambda x: torch.where(x > 0.1, x * np.inf, x),
}


@pytest.mark.parametrize("name", NOT_FINITE)
def test_a_loss_that_is_not_finite_is_refused(name):
    loss = quadratic()
    problem = problem_of(loss)
    spoilt = Problem(
        problem.model, problem.data,
        lambda model, batch: problem.loss(model, batch) * (1 + NOT_FINITE[name](model.x).sum()),
    )  # fmt: skip
    found = dynamics(run_of(loss, SETTINGS["plain"], n_steps=60), spoilt, SETTINGS["plain"])
    assert [each for each in codes(found) if each.startswith("no_")] == ["no_noise"]
    assert "volume_ratio" not in found


def test_a_loss_without_a_gradient_is_an_error():
    problem = Problem(Weights(4), (torch.randn(60, 4),), lambda _, batch: batch[0].sum())
    with pytest.raises(OptionError, match="does not depend on the weights"):
        dynamics(run_of(quadratic(), SETTINGS["plain"], n_steps=60), problem, SETTINGS["plain"])


def test_a_loss_that_holds_samples_against_each_other_is_one_of_whole_batches():
    """Of so few samples a batch is that of training, and not as many as fit."""
    problem, run = problem_of(quadratic()), run_of(quadratic(), SETTINGS["plain"], n_steps=60)

    def contrastive(model, batch):
        seen = model(batch[0]) * batch[0]
        return (seen @ seen.T).logsumexp(1)

    for loss, mixes in ((problem.loss, False), (contrastive, True)):
        given = Problem(problem.model, problem.data, loss)
        subject = prepare(run, given, SETTINGS["plain"], Compute()).subject
        assert subject.mixes == mixes
        rows = hessian_of(subject, stream=0).places[0].rows
        assert (rows.shape[1] == SETTINGS["plain"].b) == mixes


REFUSED = {
    "settings_missing": replace(SETTINGS["plain"], learning_rate=None),
    "momentum_unknown": replace(SETTINGS["plain"], momentum=None),
    "no_noise": replace(SETTINGS["plain"], batch_size=SAMPLES),
    "mixed_phases": SETTINGS["shuffled"],
    "indefinite_hessian": replace(SETTINGS["plain"], learning_rate=5.0),
}


@pytest.mark.parametrize("code", REFUSED)
def test_without_what_the_law_needs_there_is_no_number(code):
    loss = quadratic()
    found = dynamics(run_of(loss, SETTINGS["plain"]), problem_of(loss), REFUSED[code])
    assert code in codes(found)
    assert "volume_ratio" not in found
    assert "current_slope" not in found


def test_an_adaptive_optimizer_has_no_prediction():
    loss = quadratic()
    told = replace(SETTINGS["plain"], kind="adam")
    found = dynamics(run_of(loss, SETTINGS["plain"]), problem_of(loss), told)
    assert "adaptive_optimizer" in codes(found)
    assert "volume_ratio" not in found


def test_flat_directions_of_shuffled_epochs_are_refused():
    loss, optimizer = quadratic(), SETTINGS["shuffled"]
    epoch = SAMPLES // optimizer.b
    run = run_of(loss, optimizer, updates=epoch)
    found = dynamics(run, problem_of(loss), optimizer)
    assert "shuffled" in codes(found)  # relaxation takes a third of an epoch
    assert "volume_ratio" not in found


def test_a_slope_that_tells_nothing_is_not_there():
    loss, optimizer = quadratic(), SETTINGS["plain"]
    found = dynamics(run_of(loss, optimizer, n_steps=60), problem_of(loss), optimizer)
    assert "weak_currents" in codes(found)
    assert np.isnan(found["current_slope"])


def test_rotation_is_refused_where_momentum_is_not_forgotten():
    loss, optimizer = quadratic(), SETTINGS["heavy ball"]
    found = dynamics(run_of(loss, optimizer), problem_of(loss), optimizer, dtype="float64")
    assert "momentum_memory" in codes(found)
    assert "entropy_production" not in found


class Dropping(nn.Module):
    """The same weights, behind a layer that differs between the modes."""

    def __init__(self):
        super().__init__()
        self.x = nn.Parameter(torch.zeros(4))
        self.drop = nn.Dropout(0.5)

    def forward(self, batch):
        return self.x * self.drop(batch)


def test_noise_of_eval_mode_is_not_used_where_training_had_another():
    loss, optimizer = quadratic(), SETTINGS["plain"]
    data = (torch.as_tensor(loss.gradients_at_minimum, dtype=torch.float32),)
    problem = Problem(Dropping(), data, lambda model, batch: (model(batch[0]) ** 2).sum(1))
    found = dynamics(run_of(loss, optimizer) + 1.0, problem, optimizer, mode="eval")
    assert "wrong_mode" in codes(found)
    assert "volume_ratio" not in found


def test_a_window_of_few_relaxations_is_refused():
    loss, optimizer = quadratic(), SETTINGS["plain"]
    found = dynamics(run_of(loss, optimizer, n_steps=10, updates=1), problem_of(loss), optimizer)
    assert "too_short" in codes(found)
    assert "volume_ratio" not in found


def test_positions_in_place_of_steps_are_refused():
    loss, optimizer = quadratic(), SETTINGS["plain"]
    run = run_of(loss, optimizer).drop_vars("step")
    assert "step_unit_unknown" in codes(dynamics(run, problem_of(loss), optimizer))


def test_an_unknown_sampling_matters_where_relaxation_is_slower_than_an_epoch():
    loss = quadratic()
    optimizer = replace(SETTINGS["plain"], with_replacement=None)
    found = dynamics(run_of(loss, SETTINGS["plain"]), problem_of(loss), optimizer)
    assert "sampling_unknown" in codes(found)
    assert "volume_ratio" not in found


def test_every_refusal_says_why_and_what_would_lift_it():
    loss = quadratic()
    found = dynamics(run_of(loss, SETTINGS["plain"]), problem_of(loss), Optimizer())
    for each in found.attrs["guards"]:
        assert set(each) == {"code", "prevents", "reason", "remedy"}
        assert each["reason"].endswith((".", "?"))
        assert each["remedy"].endswith(".")
        assert "{" not in each["reason"]


def test_settings_are_those_of_the_user_where_no_file_says_any():
    run = xr.Dataset({"weights": (("step", "weight"), np.zeros((3, 2)))}, {"step": [0, 1, 2]})
    said = Optimizer(0.1, 5, 0.9, nesterov=True, weight_decay=0.01)
    assert settle(run, said, {}).optimizer == said
