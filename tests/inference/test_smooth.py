"""Paths without noise: training on all samples at once, and what only looks like it."""

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.signal import lfilter

from trajscope import analyze
from trajscope.inference.course.smooth import noise_if_negligible

T = 200
TIME = np.linspace(0, 1, T)[:, np.newaxis]


def white(seed=0, d=60):
    return np.random.default_rng(seed).standard_normal((T, d))


def descending(d=60):
    """Three exponentials of different directions."""
    one, two, three = np.random.default_rng(9).standard_normal((3, d))
    return np.exp(-3 * TIME) * one + np.exp(-TIME) * two + 0.3 * np.exp(-8 * TIME) * three


NOISY = {
    "white increments": white(),
    "a well": np.diff(lfilter([1.0], [1.0, -0.8], white(1), axis=0), axis=0),
    "momentum": lfilter([1.0], [1.0, -0.99], white(2), axis=0),
    "momentum, averaged": lfilter(
        [0.01], [1.0, -0.99], lfilter([1.0], [1.0, -0.9], white(3), axis=0), axis=0
    ),
    "a course with a hundredth of noise": np.diff(descending(), axis=0) * (1 + 0.01 * white(4)[1:]),
    "one direction of sixty": np.diff(descending(), axis=0)
    + 0.1 * np.abs(np.diff(descending(), axis=0)).mean() * white(5)[1:] * (np.arange(60) == 7),
}


@pytest.mark.parametrize("name", NOISY)
@pytest.mark.parametrize("scale", [1e-30, 1.0])
def test_noise_is_not_negligible(name, scale):
    assert noise_if_negligible(scale * NOISY[name], 0.0) is None


def test_a_noisy_end_does_not_hide_behind_what_moved_before():
    increments = np.diff(1e4 * descending(), axis=0)
    assert noise_if_negligible(increments, 0.0) < 1e-12
    increments[-40:] += np.abs(increments[-40:]).mean() * white(6)[:40]
    assert noise_if_negligible(increments, 0.0) is None


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_what_rounding_leaves_is_what_is_told(dtype):
    path = 0.05 * white(7)[0] + 0.01 * descending()
    stored = path.astype(dtype).astype(float)
    increments = np.diff(stored, axis=0)
    added = ((np.diff(stored - path, axis=0)) ** 2).mean() / (increments**2).mean()
    found = noise_if_negligible(increments, added)
    # Errors of neighbours are opposed, which differences of high order make more of.
    assert found <= 1e-12 if dtype == "f8" else added < found < 4 * added


def test_weights_that_never_move_have_no_share_of_noise():
    assert noise_if_negligible(np.zeros((T, 3)), 0.0) is None


def descent(n_samples=200, batch=None, seed=0):
    """A small network at every step of plain gradient descent."""
    torch.manual_seed(seed)
    x = torch.randn(n_samples, 10)
    y = torch.randn(n_samples, 1)
    model = torch.nn.Sequential(torch.nn.Linear(10, 20), torch.nn.Tanh(), torch.nn.Linear(20, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    path = []
    for _ in range(T):
        path.append(torch.nn.utils.parameters_to_vector(model.parameters()).detach().numpy().copy())
        rows = slice(None) if batch is None else torch.randint(n_samples, (batch,))
        optimizer.zero_grad()
        (model(x[rows]) - y[rows]).square().mean().backward()
        optimizer.step()
    return xr.DataArray(np.array(path), dims=("step", "weight"))


def test_training_on_all_samples_has_no_noise_and_on_most_of_them_has():
    said = analyze(descent(), n_surrogates=199)["verdict"].attrs
    assert said["code"] == "course"
    assert (said["rest"]["code"], said["rest"]["reason"]) == ("unknown", "smooth")
    assert said["sentence"].startswith("Follows a slow course, smoothly: no noise is to be seen.")
    assert not said["noise"]["changes"]
    assert "kind" not in said["noise"]
    assert said["noise"]["largest_share"] < 1e-5
    assert (said["phases"], said["proposal"]) == ([], "")
    gates = {each["test"]: each["answer"] for each in said["gates"]}
    assert gates["noise_scale"] == "not used"
    other = analyze(descent(batch=180), n_surrogates=199)["verdict"].attrs
    assert other["rest"]["reason"] != "smooth"
    assert "largest_share" not in other["noise"]


def test_layers_of_a_path_without_noise_follow_a_course_too():
    path = 0.05 * white(8)[0] + 0.01 * descending()
    layers = {"a.weight": path[:, :40], "b.weight": path[:, 40:]}
    trajectory = xr.Dataset(
        {"weights": (("step", "weight"), np.concatenate(list(layers.values()), axis=1))},
        {
            "step": np.arange(T),
            "tensor": list(layers),
            "row_size": ("tensor", [40, 20]),
            "group": ("tensor", ["a", "b"]),
            "stored_dtype": ("tensor", ["float64", "float64"]),
        },
    )
    verdict = analyze(trajectory, n_surrogates=199)["verdict"]
    assert verdict["code"].values.tolist() == ["course"] * 3
    assert all("no noise is to be seen" in each for each in verdict["sentence"].values.tolist())


def test_a_straight_line_drifts():
    path = np.outer(np.arange(100.0), white(10)[0])
    said = analyze(xr.DataArray(path, dims=("step", "weight")), n_surrogates=199)["verdict"].attrs
    assert (said["code"], said["rest"]["reason"]) == ("drifting", "smooth")
    assert said["sentence"].startswith("Drifts in one direction, smoothly")
