import numpy as np
import pytest

from tests import naive
from tests.trajectories import brownian, late_training
from trajscope.kernels import directions
from trajscope.kernels.gram import displacement_gram, increment_gram


def of_gram(x):
    y = np.diff(x, axis=0)
    return directions.directions_of_gram(
        displacement_gram(increment_gram(y)),
        np.sum(x.astype(float) ** 2, axis=1),
        directions.first_products(y, x[0]),
    )


def of_weights(x):
    sums = directions.directions_of_weights(x)
    return directions.Directions(
        np.sum(x.astype(float) ** 2, axis=1),
        np.append(0, sums["first_products"].cumsum()),
        sums["last_products"],
        sums["forward_products"],
        sums["landmark_gram"],
    )


WAYS = pytest.mark.parametrize("directions_of", [of_gram, of_weights])


@WAYS
def test_every_inner_product_follows_to_twelve_digits(directions_of):
    x = brownian(30, 50) + 3
    found = directions_of(x)
    scale = np.max(np.abs(x @ x.T))
    expected = {
        "first": (x - x[0]) @ x[0],
        "last": x @ x[-1],
        "forward": np.sum(x[:-1] * np.diff(x, axis=0), axis=1),
        "landmarks": (x - x[0]) @ (x - x[0]).T,
    }
    for name, values in expected.items():
        np.testing.assert_allclose(getattr(found, name), values, rtol=0, atol=1e-12 * scale)


@WAYS
def test_long_runs_keep_evenly_chosen_checkpoints(directions_of):
    x = brownian(301, 20)
    rows = directions.landmarks(301)
    assert (rows[0], rows[-1], len(rows)) == (0, 300, 64)
    assert set(np.diff(rows)) <= {4, 5}
    found = directions.distances(directions_of(x).landmarks)
    np.testing.assert_allclose(found, naive.distances(x[rows]), atol=1e-6)


@WAYS
def test_small_angles_of_float32_weights_keep_their_digits(directions_of):
    x = late_training(50, 2000)
    found = directions_of(x)
    moved = np.sum(np.diff(x.astype(float), axis=0) ** 2, axis=1)
    actual = directions.angles(found.squared_positions, found.forward, moved)
    np.testing.assert_allclose(actual, naive.angles(x.astype(float)), rtol=1e-5)
    assert actual.max() < 1e-3


@pytest.mark.parametrize("turned", [0.0, 1e-9, 0.3, np.pi / 2, 2.0, np.pi])
def test_the_angle_of_a_turn_is_known_from_zero_to_half_a_turn(turned):
    x = np.array([[1.0, 0.0], [2 * np.cos(turned), 2 * np.sin(turned)]])
    y = x[1] - x[0]
    found = directions.angles(np.sum(x**2, axis=1), x[:1] @ y, np.array([y @ y]))
    np.testing.assert_allclose(found, turned, rtol=1e-6, atol=2e-8)


@pytest.mark.parametrize("squared", [[0.0, 4.0], [4.0, 0.0]])
def test_the_angle_with_a_position_of_zero_is_unknown(squared):
    forward = np.array([0.0 if squared[0] == 0 else -4.0])
    assert np.isnan(directions.angles(np.array(squared), forward, np.array([4.0]))).all()


@pytest.mark.parametrize("scale", [1e-25, 1e-12, 1.0, 1e12, 1e25])
def test_products_in_float32_neither_overflow_nor_vanish(scale):
    x = (scale * (5 + brownian(6, 300))).astype(np.float32)
    y = np.diff(x, axis=0)
    expected = y.astype(float) @ x[0].astype(float)
    found = directions.first_products(y, x[0])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


@WAYS
def test_products_too_large_for_a_number_stay_finite(directions_of):
    x = np.array([[1e200, -1e200], [1e200, 1e-3 - 1e200]]) * [[1, 1], [1, 1]]
    with np.errstate(over="ignore"):
        found = directions_of(x)
    assert np.isfinite(found.first).all()
    assert np.isfinite(found.forward).all()


@pytest.mark.parametrize("n_steps", [2, 3, 64, 65])
def test_every_checkpoint_of_a_short_run_is_a_landmark(n_steps):
    assert len(set(directions.landmarks(n_steps))) == min(n_steps, 64)


def test_the_norm_of_a_random_walk_is_out_of_balance_and_that_of_a_sphere_in_balance():
    walk = np.tri(100, 99, -1)  # one weight moves at each step
    on_sphere = brownian(50, 30)
    on_sphere /= np.linalg.norm(on_sphere, axis=1, keepdims=True)
    for x, expected in ((walk, 0), (on_sphere, 1)):
        total = np.sum(np.diff(x, axis=0) ** 2, axis=1)
        assert directions.norm_balance(of_gram(x), total) == pytest.approx(expected, abs=1e-12)


@WAYS
def test_a_scale_invariant_loss_with_decay_has_the_norm_and_rotation_of_its_equilibrium(
    directions_of,
):
    # Gradients at right angles to the weights, of length 1 / |x|: |x|^4 = eta / (2 decay), and
    # each step turns by sqrt(2 eta decay) (arXiv:2006.08419).
    eta, decay, n_steps = 0.1, 0.002, 400
    rng = np.random.default_rng(0)
    x = np.zeros((n_steps, 300))
    x[0, 0] = (eta / (2 * decay)) ** 0.25
    for t in range(n_steps - 1):
        gradient = rng.standard_normal(300)
        gradient -= x[t] * (gradient @ x[t]) / (x[t] @ x[t])
        gradient /= np.linalg.norm(gradient) * np.linalg.norm(x[t])
        x[t + 1] = (1 - eta * decay) * x[t] - eta * gradient
    found, moved = directions_of(x), np.sum(np.diff(x, axis=0) ** 2, axis=1)
    np.testing.assert_allclose(found.squared_positions, (eta / (2 * decay)) ** 0.5, rtol=2e-3)
    turned = directions.angles(found.squared_positions, found.forward, moved)
    np.testing.assert_allclose(turned, (2 * eta * decay) ** 0.5, rtol=2e-3)
    assert directions.norm_balance(found, moved) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("sizes", [(1e-25, 1.0, 1e-22), (1e-22, 1e25, 1e-25, 0.0)])
def test_products_with_the_first_position_are_right_for_steps_of_any_size_beside_each_other(sizes):
    random = np.random.default_rng(0)
    origin = 1e-20 * random.standard_normal(40_000)
    steps = np.outer(sizes, origin) * 1e20 + np.outer(sizes, random.standard_normal(40_000))
    origin, steps = origin.astype("f4"), steps.astype("f4")
    expected = steps.astype(np.float64) @ origin.astype(np.float64)
    found = directions.first_products(steps, origin)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
