import numpy as np
import pytest

from trajscope import TrajscopeWarning, analyze
from trajscope.inference.statistics.portrait import (
    N_AXES,
    phase_areas,
    portrait,
    positions_of,
)
from trajscope.optimizer import Optimizer
from trajscope.simulate import (
    autoregressive_increments,
    brownian,
    ornstein_uhlenbeck,
    quadratic_loss,
    stochastic_gradient_descent,
)


def naive_area(x):
    """Twice the area of the polygon through position and increment, over their squares."""
    y = np.diff(x)
    total = 0.0
    for t in range(len(y) - 1):
        total += x[t] * y[t + 1] - y[t] * x[t + 1]
    return total / (y**2).sum()


def of(path, seed=0):
    return portrait(np.diff(np.asarray(path), axis=0), seed)


def test_areas_are_those_of_a_loop():
    x = brownian(60, 3, seed=0).values
    y = np.diff(x, axis=0)
    y -= y.mean(axis=0)
    found = phase_areas(y)
    straight = positions_of(y)
    for axis in range(3):
        assert found[axis] == pytest.approx(naive_area(straight[:, axis]))
    np.testing.assert_allclose(np.diff(straight, axis=0), y, atol=1e-12)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (lambda: brownian(4000, 4, seed=1).values, -1.0),
        (lambda: autoregressive_increments(4000, 4, phi=[0.5], seed=2).values, -1.5),
        (lambda: ornstein_uhlenbeck(4000, taus=[2.0] * 4, seed=3).values,
         -(1 + np.exp(-0.5)) / 2),  # r = -(1 - rho) / 2
    ],
)  # fmt: skip
def test_areas_are_the_closed_ones(path, expected):
    # Standard error of a correlation of 4,000: 1.6%.
    np.testing.assert_allclose(of(path()).area, expected, atol=0.06)


def test_momentum_is_seen_between_neighbouring_updates_and_forgotten_far_apart():
    loss = quadratic_loss(np.diag([0.02] * 3), np.eye(3), n_samples=200, seed=0)
    optimizer = Optimizer(learning_rate=0.05, batch_size=10, momentum=0.9, with_replacement=True)
    near, far = (
        [
            of(
                stochastic_gradient_descent(
                    1000, loss=loss, optimizer=optimizer, seed=seed, updates_per_checkpoint=every
                ).values
            )
            for seed in range(count)
        ]
        for every, count in ((1, 6), (100, 1))
    )
    # The ends of a path add up to 0.1 to the area of one axis: these are eighteen.
    assert np.mean([each.area for each in near]) == pytest.approx(-1.9, abs=0.05)
    assert all((each.p_values <= 0.01).all() for each in near)
    assert (far[0].area > -1.3).all()


def test_random_walks_are_rejected_as_often_as_the_level_says():
    found = [of(brownian(60, 20, seed=seed).values, seed) for seed in range(500, 700)]
    least = np.array([each.p_values.min() for each in found])
    # Of 200 at 5% more than 17 have a probability of 1%.
    assert (least <= 0.05).sum() <= 17
    # Increments about their mean are correlated by -1/n with each other, and the last has no next.
    assert np.mean([each.area.mean() for each in found]) == pytest.approx(-1 + 2 / 59, abs=0.02)


def test_no_axis_is_chosen_for_being_slow():
    # Principal components of a random walk are smooth: along them it would sweep nearly 2.
    x = brownian(400, 2000, seed=5).values
    centred = x - x.mean(axis=0)
    slow = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
    assert naive_area(slow) < -1.5
    assert of(x).p_values.min() > 0.01


def test_a_short_or_an_even_path_has_none():
    assert portrait(np.ones((10, 3)), 0) is None
    assert portrait(np.ones((40, 3)), 0) is None
    assert of(brownian(40, 2, seed=0).values).area.shape == (2,)


def test_a_result_holds_it_with_units_and_words():
    found = analyze(brownian(60, 30, seed=0).values, n_surrogates=199)["observables"]
    assert found["phase_area"].shape == (N_AXES,)
    assert found["phase_position"].dims == ("step", "phase_axis")
    for name in ("phase_area", "phase_area_p", "phase_area_low", "phase_position"):
        assert found[name].attrs["long_name"]
        assert found[name].attrs["units"]
    assert (found["phase_area_low"] < found["phase_area_high"]).all()
    with pytest.warns(TrajscopeWarning, match="unevenly"):
        uneven = analyze(
            brownian(60, 30, seed=0).assign_coords(step=np.arange(60) ** 2), n_surrogates=199
        )
    assert "phase_area" not in uneven["observables"]
