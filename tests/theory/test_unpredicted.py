"""What the trajectory alone says, along directions that another half of it chose."""

import numpy as np
import pytest
import xarray as xr

from tests.theory.problems import SETTINGS, problem_of, quadratic, run_of
from trajscope import dynamics, simulate
from trajscope.kernels.gram import increment_gram
from trajscope.optimizer import Optimizer
from trajscope.theory.unpredicted import positions_of, second_half, unpredicted


def reductions_of(run):
    gram = increment_gram(np.diff(run.values.astype(np.float64), axis=0))
    held = {"increment_gram": (("group", "interval", "interval_other"), gram[None])}
    return xr.Dataset(held, {"step": run["step"].values})


def test_positions_have_the_distances_of_the_weights():
    run = simulate.brownian(20, 30, seed=0)
    positions = positions_of(reductions_of(run))
    moved = run.values - run.values[0]
    np.testing.assert_allclose(positions @ positions.T, moved @ moved.T, atol=1e-8)


def test_the_second_half_is_measured_along_directions_of_the_first():
    rng = np.random.default_rng(0)
    positions = rng.standard_normal((400, 5)) * [5, 3, 1, 1, 1]
    path, ratios = second_half(positions, 2)
    np.testing.assert_allclose(path.std(axis=0), [5, 3], rtol=0.2)
    np.testing.assert_allclose(ratios, 1, atol=0.5)


def test_rotation_is_seen_and_a_well_at_rest_has_none():
    turning, resting = (
        simulate.rotating_ornstein_uhlenbeck(1200, 20, rate=0.25, angular_velocity=w, seed=0)
        for w in (0.3, 0.0)
    )
    spoken = {}
    found = unpredicted(reductions_of(turning), Optimizer(), spoken, np.random.default_rng(0))
    assert found["p_reversible"][1] <= 0.01
    assert found["angular_velocity"][1] == pytest.approx(0.3, abs=0.06)
    still = unpredicted(reductions_of(resting), Optimizer(), {}, np.random.default_rng(0))
    assert still["p_reversible"][1] > 0.01


def test_directions_that_noise_has_chosen_are_refused():
    walk = simulate.brownian(100, 50, seed=0)
    spoken = {}
    assert unpredicted(reductions_of(walk), Optimizer(), spoken, np.random.default_rng(0)) == {}
    assert {"subspace_selected_here", "too_short"} & spoken.keys()


def test_of_uneven_steps_only_an_even_part_is_used():
    run = simulate.brownian(50, 30, seed=0)
    steps = np.arange(50)
    steps[20:] += 3
    uneven = run.assign_coords(step=steps)
    whole, part = positions_of(reductions_of(run)), positions_of(reductions_of(uneven))
    np.testing.assert_array_equal(part, whole[20:])


def test_a_short_run_is_refused():
    spoken = {}
    run = simulate.brownian(10, 50, seed=0)
    assert unpredicted(reductions_of(run), Optimizer(), spoken, np.random.default_rng(0)) == {}
    assert spoken == {"too_short": "The window holds 10 evenly spaced checkpoints"}


def test_without_settings_there_is_what_needs_none():
    loss = quadratic()
    run = run_of(loss, SETTINGS["plain"], n_steps=800)
    found = dynamics(run, problem_of(loss), Optimizer(0.1, 5, with_replacement=True))
    assert found.attrs["guards"][0]["code"] == "momentum_unknown"
    assert "p_reversible" in found
    assert "volume_ratio" not in found
    assert "hessian_eigenvalue" not in found


def test_the_temperature_makes_a_potential_of_the_covariance():
    optimizer = SETTINGS["plain"]
    loss, inside = quadratic(isotropic=True), []
    covariance = simulate.stationary_covariance(loss, optimizer)
    for seed in range(5):
        run = run_of(loss, optimizer, n_steps=600, seed=seed)
        found = unpredicted(reductions_of(run), optimizer, {}, np.random.default_rng(seed))
        if "potential_curvature" not in found:  # not normal, by chance
            continue
        kept = second_half(positions_of(reductions_of(run)), 4)[1] >= 0.5
        first = run.values[:300] - run.values[:300].mean(axis=0)
        along = np.linalg.svd(first, full_matrices=False)[2][kept]
        truth = np.diag(np.linalg.inv(along @ covariance @ along.T)) * optimizer.temperature
        low, high = (found[f"potential_curvature{end}"][1] for end in ("_low", "_high"))
        inside += ((low < truth) & (truth < high)).tolist()
    assert len(inside) > 8
    assert np.mean(inside) > 0.85


@pytest.mark.parametrize("with_replacement", [None, False])
def test_without_replacement_there_is_no_temperature(with_replacement):
    optimizer = Optimizer(0.1, 5, 0.0, with_replacement=with_replacement)
    run, spoken = run_of(quadratic(), SETTINGS["plain"], n_steps=400), {"problem_missing": ""}
    found = unpredicted(reductions_of(run), optimizer, spoken, np.random.default_rng(0))
    assert "p_reversible" in found
    assert "potential_curvature" not in found
    assert {"shuffled", "sampling_unknown"} & spoken.keys()
