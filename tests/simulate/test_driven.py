import numpy as np
import pytest

from tests.simulate.standard_errors import (
    assert_agrees,
    lagged_products,
    signed_area,
)
from trajscope.errors import OptionError
from trajscope.simulate import (
    clustered,
    driven_walk,
    driven_well,
    exponential,
    frozen,
    gaussian,
    linear,
    logarithmic,
    ornstein_uhlenbeck,
    orthonormal_map,
    rotating_ornstein_uhlenbeck,
    stable,
    student_t,
    warm_up,
)

HEAVY = student_t(6)
WILD = clustered(persistence=5.0, spread=0.8)


@pytest.mark.parametrize("noise", [gaussian, HEAVY, WILD], ids=["normal", "t", "clustered"])
def test_a_scheduled_walk_has_the_squared_rates_as_its_variance(noise):
    walks = np.array(
        [
            driven_walk(
                9, n_modes=40, seed=seed, noise=noise, learning_rate=exponential(0.1)
            ).values
            for seed in range(400)
        ]
    )
    rates = 0.1 ** (np.arange(8) / 8)
    y = np.diff(walks, axis=1)
    assert_agrees((y**2).mean(axis=2), rates**2, precision=0.05)
    assert_agrees((y[:, 1:] * y[:, :-1]).mean(axis=2), 0.0, precision=0.02)


def test_the_plain_driven_well_is_the_ornstein_uhlenbeck_process_to_rounding():
    taus = [0.5, 3.0, 1e6]
    driven = driven_well(50, 7, taus=taus, seed=3)
    plain = ornstein_uhlenbeck(50, 7, taus=taus, seed=3)
    np.testing.assert_allclose(driven, plain, rtol=0, atol=1e-12)
    turning = driven_well(50, 7, taus=[4.0], angular_velocity=0.6, seed=3)
    rotating = rotating_ornstein_uhlenbeck(50, 7, rate=0.25, angular_velocity=0.6, seed=3)
    np.testing.assert_allclose(turning, rotating, rtol=0, atol=1e-12)


@pytest.mark.parametrize("noise", [HEAVY, WILD], ids=["t", "clustered"])
def test_wells_keep_their_autocovariance_under_any_noise_of_unit_variance(noise):
    x = [driven_well(20, taus=[3.0] * 20, noise=noise, seed=seed).values for seed in range(1000)]
    for lag in (0, 1, 4):
        products = [lagged_products(each, lag).mean() for each in x]
        assert_agrees(products, np.exp(-lag / 3), precision=0.03, of=1)
    first = [np.mean(each[0] ** 2) for each in x]
    assert_agrees(first, 1.0, precision=0.03)


@pytest.mark.parametrize("alpha", [1.0, 1.5])
def test_a_well_under_levy_noise_has_the_characteristic_function_of_its_closed_form(alpha):
    x = driven_well(20, taus=[3.0] * 4000, noise=stable(alpha), seed=0).values
    r = np.exp(-1 / 3)
    c = (1 - r**2) ** (alpha / 2) / (1 - r**alpha)
    for k in (0.5, 1.0, 2.0):
        assert_agrees(np.cos(k * x).mean(axis=0), np.exp(-(k**alpha) * c / 2), precision=0.02, of=1)


def test_rates_and_noise_scales_give_the_variances_of_the_recursion():
    rate = np.array([1.0, 2.0, 0.5, 0.0, 0.1, 3.0, 1.0])
    size = np.array([1.0, 0.5, 2.0, 1.0, 3.0, 0.0, 1.0])
    x = driven_well(7, taus=[2.0] * 8000, learning_rate=rate, scale=size, seed=1).values
    decay = np.exp(-rate / 2)
    variance = [1.0]
    for r, s, b in zip(decay[:-1], rate, size, strict=False):
        variance.append(r**2 * variance[-1] + b**2 * s * (1 - r**2))
    assert_agrees(x.T**2, np.array(variance), precision=0.03)
    assert_agrees(x[1] * x[4], variance[1] * decay[1:4].prod(), precision=0.03, of=1)
    assert np.array_equal(x[3], x[4])  # at rate 0 nothing moves


def test_the_well_may_move_and_the_position_lags_behind_by_d_over_one_minus_r():
    x = driven_well(201, taus=[4.0] * 3000, centre=linear(100.0), seed=2).values
    r, d = np.exp(-1 / 4), 0.5
    t = np.arange(201)
    mean = d * t - d * (1 - r**t) / (1 - r)
    steps = [0, 1, 3, 100, 200]
    assert_agrees(x[steps].T, mean[steps], precision=0.03, of=1)
    residue = x - mean[:, np.newaxis]
    assert_agrees(lagged_products(residue, 3), r**3, precision=0.03, of=1)


def test_a_well_on_a_logarithmic_course_and_a_well_that_turns_keep_their_rest():
    centre = np.zeros((120, 2))
    centre[:, 0] = logarithmic(30.0, 50.0)(np.linspace(0, 1, 120))
    options = {"taus": [5.0], "angular_velocity": 0.4}
    moved = [driven_well(120, centre=centre, seed=s, **options).values for s in range(200)]
    still = [driven_well(120, seed=s, **options).values for s in range(200)]
    shift = np.array(moved) - np.array(still)
    np.testing.assert_allclose(shift, np.broadcast_to(shift[0], shift.shape), atol=1e-10)
    z, kept = 0j, []
    for m in centre @ [1, 1j]:
        kept.append(z)
        z = m + np.exp(-1 / 5 + 0.4j) * (z - m)
    np.testing.assert_allclose(shift[0] @ [1, 1j], kept, atol=1e-10)
    area = [signed_area(each - shift[0], 1) for each in moved]
    assert_agrees(area, 2 * np.exp(-1 / 5) * np.sin(0.4), precision=0.05)


def test_frozen_parts_keep_every_bit_and_warm_up_begins_with_stillness():
    course = warm_up(0.2, then=frozen(0.5, 0.7))
    options = {"learning_rate": course, "seed": 0}
    for run in (
        driven_walk(101, 9, n_modes=3, **options),
        driven_well(101, taus=[3.0, 8.0], centre=linear(9.0), noise=WILD, **options),
    ):
        still = np.flatnonzero((np.diff(run, axis=0) == 0).all(axis=1))
        assert still.tolist() == [0, *range(50, 70)]
        assert run["learning_rate"].dims == ("step",)


def test_modes_of_a_walk_become_weights_by_the_map_of_the_seed():
    mixed = driven_walk(6, 9, n_modes=2, seed=5, noise=WILD)
    modes = driven_walk(6, n_modes=2, seed=5, noise=WILD)
    np.testing.assert_allclose(mixed.values @ orthonormal_map(2, 9, seed=5).T, modes, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"taus": []}, r"^taus=\[\]: a sequence of one or more positive numbers of steps"),
        ({"angular_velocity": np.nan}, r"^angular_velocity=nan: finite radians per step expected"),
        ({"scale": -1.0}, r"^scale=course down to -1: at least 0 expected\.$"),
        ({"centre": np.zeros((9, 3))},
         r"^centre=array of shape \(9, 3\): shape \(step, mode\) with 2 modes expected\.$"),
    ],
)  # fmt: skip
def test_wells_that_cannot_be_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        driven_well(9, seed=0, **{"taus": [1.0, 2.0], **options})


def test_a_walk_needs_a_mode():
    with pytest.raises(OptionError, match=r"^n_modes=0: at least 1 mode expected\.$"):
        driven_walk(9, n_modes=0, seed=0)
