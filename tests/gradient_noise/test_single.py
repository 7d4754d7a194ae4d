"""Inner products in float32: never where they could change a number that counts."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from tests.gradient_noise.oracle import classify, truth, write_run
from trajscope import Problem, diffusion
from trajscope.gradient_noise.spectrum import from_gram
from trajscope.gradient_noise.spectrum.products import add_products, symmetrise
from trajscope.gradient_noise.spectrum.single import bound, is_certain, is_worth_trying
from trajscope.gradient_noise.spectrum.statistics import EPS32, EPS64

KINDS = {
    "normal": lambda r: r,
    "large mean": lambda r: 0.01 * r + r[:1],
    "positive": lambda r: r.abs(),
    "lognormal": lambda r: torch.exp(2 * r),
    "one direction": lambda r: r[:, :1] * r[:1],
    "few large weights": lambda r: r * torch.exp(3 * r[:1]),
}


def gram(rows, **options):
    found = torch.zeros((len(rows), len(rows)), dtype=torch.float64)
    add_products(found, rows, **options)
    symmetrise(found)
    return found


@pytest.mark.parametrize("width", [7, 2048, 5000])
@pytest.mark.parametrize("kind", KINDS)
def test_products_in_float32_are_off_by_less_than_the_bound(kind, width):
    torch.manual_seed(0)
    rows = KINDS[kind](torch.randn(60, width))
    exact = gram(rows)
    plain = rows.double() @ rows.double().T
    np.testing.assert_allclose(exact, plain, atol=1e-13 * float(plain.trace()))
    error = np.linalg.norm((gram(rows, single=True) - exact).numpy(), 2)
    assert error < bound(float(exact.trace())) / 3


def wide(n=100, hidden=800):
    """Convolutions, whose gradients are made; far more weights than samples."""
    torch.manual_seed(0)
    layers = nn.Conv1d(4, hidden, 5), nn.Tanh(), nn.Conv1d(hidden, 8, 5)
    model = nn.Sequential(*layers, nn.Conv1d(8, 3, 32, bias=False), nn.Flatten()).eval()
    return Problem(model, (torch.randn(n, 4, 40), torch.randint(3, (n,))), classify)


def measured(folder, problem, **options):
    return diffusion(folder, problem, **{"at": [1], "every": 0, "by": None} | options).isel(step=0)


@pytest.mark.parametrize("by", ["none", "layer"])
def test_where_they_are_certain_every_number_is_that_of_float64(by, tmp_path, monkeypatch):
    from trajscope import open_trajectory

    problem = wide()
    folder = open_trajectory(write_run(tmp_path, problem.model), by=by)
    single = measured(folder, problem)
    monkeypatch.setattr(from_gram, "is_worth_trying", lambda rows: False)
    double = measured(folder, problem)
    assert (single.attrs["products"], double.attrs["products"]) == ("float32", "float64")
    assert (single.attrs["products_bound"], double.attrs["products_bound"]) == (8 * EPS32, 0)
    expected = truth(copy.deepcopy(problem))
    off = bound(float((expected.gradients**2).sum())) / 100
    assert np.abs(single["eigenvalue"] - double["eigenvalue"]).max() < off
    assert not (single["eigenvalue"] == double["eigenvalue"]).all()
    for name in ("rank_eps32", "rank_eps64", "directions_90", "directions_99"):
        assert single[name] == double[name]
        np.testing.assert_array_equal(single[f"group_{name}"], double[f"group_{name}"])
    np.testing.assert_allclose(single["trace"], np.trace(expected.gram), rtol=1e-5)


@pytest.mark.parametrize("kind", ["twice", "nearly twice", "of few directions"])
def test_where_they_are_not_float64_is_taken(kind, tmp_path, monkeypatch):
    problem = wide()
    inputs, labels = problem.data
    if kind == "of few directions":  # seen by the few that are tried first
        inputs = inputs[:4].repeat(25, 1, 1)
        labels = labels[:4].repeat(25)
    else:  # seen by the whole only
        inputs = inputs.clone()
        inputs[7] = inputs[8] * (1 if kind == "twice" else 1 + 1e-7)
        labels = labels.clone()
        labels[7] = labels[8]
    problem = Problem(problem.model, (inputs, labels), problem.loss)
    folder = write_run(tmp_path, problem.model)
    found = measured(folder, problem)
    assert found.attrs["products"] == "float64"
    monkeypatch.setattr(from_gram, "is_worth_trying", lambda rows: False)
    again = measured(folder, problem)
    for name in ("eigenvalue", "group_eigenvalue"):
        # Blocks of weights are summed in another order.
        np.testing.assert_allclose(found[name], again[name], atol=1e-12, rtol=0)


def test_they_are_not_tried_where_nothing_is_to_be_gained():
    torch.manual_seed(0)
    rows = torch.randn(100, 100 * 64)
    assert is_worth_trying(rows)
    assert not is_worth_trying(rows[:, :-1])
    assert not is_worth_trying(rows[:50])
    assert not is_worth_trying(rows.double())
    assert not is_worth_trying(rows * torch.linspace(0, 1, 100)[:, None] ** 8)


def test_an_eigenvalue_near_a_threshold_is_not_certain():
    n, d = 50, 10_000
    values = np.linspace(1, 0.5, n - 1)
    trace = n * values.sum()
    assert is_certain(values, n, d, trace)
    off = bound(trace) / n
    for eps in (EPS32, EPS64):
        near = values.copy()
        near[20] = near[0] * d * eps + off / 2
        assert not is_certain(near, n, d, trace)
    assert not is_certain(np.append(values, 2 * off), n, d, trace)
    assert not is_certain(values * np.nan, n, d, trace)


def test_networks_in_float64_have_products_in_float64(tmp_path):
    problem = wide()
    found = measured(write_run(tmp_path, problem.model), problem, dtype="float64")
    assert found.attrs["products"] == "float64"
