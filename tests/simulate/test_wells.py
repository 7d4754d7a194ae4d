import numpy as np
import pytest

from tests.simulate.standard_errors import (
    assert_agrees,
    lagged_products,
    signed_area,
    squared_displacements,
)
from trajscope.errors import OptionError
from trajscope.simulate import ornstein_uhlenbeck, rotating_ornstein_uhlenbeck


@pytest.mark.parametrize("tau", [0.5, 3.0, 20.0])
def test_ornstein_uhlenbeck_motion_has_its_closed_forms(tau):
    rho = np.exp(-1 / tau)
    x = ornstein_uhlenbeck(60, taus=[tau] * 5000, seed=0).values
    y = np.diff(x, axis=0)
    assert_agrees(lagged_products(y, 0), 2 * (1 - rho), precision=0.02)
    for lag in (1, 2, 10):
        assert_agrees(lagged_products(x, lag), rho**lag, precision=0.03, of=1)
        increments = -((1 - rho) ** 2) * rho ** (lag - 1)
        assert_agrees(lagged_products(y, lag), increments, precision=0.03, of=1)
        assert_agrees(squared_displacements(x, lag), 2 * (1 - rho**lag), precision=0.02)


def test_every_mode_has_its_own_correlation_time_and_is_stationary_from_the_first_step():
    taus = np.array([1.0, 4.0, 30.0])
    x = np.array([ornstein_uhlenbeck(7, taus=taus, seed=seed).values for seed in range(3000)])
    for step in (0, 3):
        products = x[:, step] * x[:, step + 3]
        assert_agrees(products, np.exp(-3 / taus), precision=0.03)
        assert_agrees(x[:, step] ** 2, 1.0, precision=0.03)
    assert_agrees(x[:, 3, 0] * x[:, 3, 1], 0.0, precision=0.03)


def test_modes_of_different_correlation_times_sweep_no_area():
    x = [ornstein_uhlenbeck(30, taus=[3.0, 15.0], seed=seed).values for seed in range(1000)]
    assert_agrees([signed_area(each, 1) for each in x], 0.0, precision=0.01)


def test_a_correlation_time_of_a_million_steps_keeps_its_digits():
    x = ornstein_uhlenbeck(200, taus=[1e6] * 200, seed=1).values
    assert_agrees(squared_displacements(x, 1), -2 * np.expm1(-1e-6), precision=0.02)


def test_a_displaced_start_decays_and_leaves_the_covariance_alone():
    taus, start = np.array([2.0, 10.0, 10.0]), np.array([5.0, -5.0, 0.0])
    x = np.array(
        [ornstein_uhlenbeck(9, taus=taus, start=start, seed=seed).values for seed in range(2000)]
    )
    for step in (0, 1, 8):
        mean = start * np.exp(-step / taus)
        assert_agrees(x[:, step], mean, precision=0.03)
        assert_agrees((x[:, step] - mean) ** 2, 1.0, precision=0.05)


def test_one_start_serves_all_modes():
    options = {"taus": [2.0, 7.0], "seed": 2}
    one = ornstein_uhlenbeck(5, start=3.0, **options)
    assert one.identical(ornstein_uhlenbeck(5, start=[3.0, 3.0], **options))


ROTATIONS = [(0.1, 0.3), (0.5, -1.0), (0.02, 0.0), (0.2, 3.0)]


@pytest.mark.parametrize(("rate", "angular_velocity"), ROTATIONS)
def test_a_rotating_process_has_its_covariance_area_and_displacement(rate, angular_velocity):
    x = np.array(
        [
            rotating_ornstein_uhlenbeck(
                6, rate=rate, angular_velocity=angular_velocity, seed=seed
            ).values
            for seed in range(2500)
        ]
    )
    assert_agrees(np.einsum("si,sj->sij", x[:, 0], x[:, 0]), np.eye(2), precision=0.04)
    assert_agrees(np.einsum("si,sj->sij", x[:, 5], x[:, 5]), np.eye(2), precision=0.04)
    for lag in (1, 4):
        decayed, angle = np.exp(-rate * lag), angular_velocity * lag
        areas = [signed_area(each, lag) for each in x]
        assert_agrees(areas, 2 * decayed * np.sin(angle), precision=0.04, of=1)
        dots = np.sum(x[:, 0] * x[:, lag], axis=1)
        assert_agrees(dots, 2 * decayed * np.cos(angle), precision=0.04, of=1)
        squares = np.sum((x[:, lag] - x[:, 0]) ** 2, axis=1)
        assert_agrees(squares, 4 * (1 - decayed * np.cos(angle)), precision=0.04)


def test_entropy_production_at_checkpoints_is_the_relative_entropy_of_reversal():
    rate, w = 0.2, 0.5
    turn = np.exp(-rate) * np.array([[np.cos(w), -np.sin(w)], [np.sin(w), np.cos(w)]])
    pair = np.block([[np.eye(2), turn.T], [turn, np.eye(2)]])  # covariance of (x[t], x[t+1])
    reversed_pair = np.block([[np.eye(2), turn], [turn.T, np.eye(2)]])
    relative_entropy = (np.trace(np.linalg.solve(reversed_pair, pair)) - 4) / 2
    formula = 4 * np.exp(-2 * rate) * np.sin(w) ** 2 / (1 - np.exp(-2 * rate))
    assert formula == pytest.approx(relative_entropy)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"taus": []}, r"^taus=\[\]: a sequence of one or more positive numbers of steps expected"),
        ({"taus": [3, 0]}, r"^taus=\[3, 0\]: a sequence of one or more positive"),
        ({"taus": [np.inf]}, r"^taus=\[inf\]: a sequence of one or more positive"),
        ({"taus": 3}, r"^taus=3: a sequence of one or more positive"),
        ({"taus": [3, 4], "start": [1, 2, 3]},
         r"^start=\[1, 2, 3\]: one finite number, or one for each of 2 modes, expected\.$"),
        ({"taus": [3], "start": np.nan}, r"^start=nan: one finite number"),
    ],
)  # fmt: skip
def test_wells_that_cannot_be_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        ornstein_uhlenbeck(3, seed=0, **options)


@pytest.mark.parametrize(
    ("rate", "angular_velocity", "message"),
    [
        (0, 1, r"^rate=0: a positive decay per step expected\.$"),
        (np.nan, 1, r"^rate=nan: a positive decay per step expected\.$"),
        (1, np.inf, r"^angular_velocity=inf: a finite number of radians per step expected\.$"),
    ],
)
def test_rotations_that_cannot_be_are_refused(rate, angular_velocity, message):
    with pytest.raises(OptionError, match=message):
        rotating_ornstein_uhlenbeck(3, rate=rate, angular_velocity=angular_velocity, seed=0)
