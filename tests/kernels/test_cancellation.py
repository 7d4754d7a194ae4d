"""Bounds on distances that are sums of products, held against extended precision."""

import warnings

import numpy as np
import pytest

from tests.test_analysis import dataset_of
from trajscope import TrajscopeWarning, analyze
from trajscope.kernels.cancellation import (
    component_error,
    displacement_error,
    mean_squared_displacement_error,
    product_error,
)
from trajscope.kernels.gram import (
    displacement_gram,
    double_centre,
    increment_gram,
    lagged_products,
    mean_squared_displacement,
)

KINDS = {
    "a walk": lambda t, walk, rng: walk,
    "stationary": lambda t, walk, rng: rng.normal(size=walk.shape),
    "straight": lambda t, walk, rng: 1e4 * t + walk,
    "growing by e a step": lambda t, walk, rng: walk * np.exp(t) * 1e-8,
    "growing by e^60": lambda t, walk, rng: walk[0] * np.exp(60 * (t / t.max() - 1)),
    "shrinking": lambda t, walk, rng: walk * np.exp(-1.5 * t),
    "there and back": lambda t, walk, rng: walk + 1e3 * (t == 10),
    "far there and back": lambda t, walk, rng: walk + 1e7 * (t == 10),
    "alternating": lambda t, walk, rng: 0.01 * walk + 5 * (-1.0) ** t,
    "alternating and growing": lambda t, walk, rng: walk[0] * (-1.01) ** t,
    "swinging": lambda t, walk, rng: 1e-3 * walk + 50 * np.sin(t),
    "late in training": lambda t, walk, rng: 0.05 + 1e-5 * walk,
    "of 1e30": lambda t, walk, rng: 1e30 * walk,
    "of 1e30 at some place": lambda t, walk, rng: 1e30 + 1e25 * walk,
    "of 1e-30": lambda t, walk, rng: 1e-30 * walk,
}


def trajectory(kind, n_steps, n_weights, seed, dtype):
    rng = np.random.default_rng(seed)
    walk = rng.normal(size=(n_steps, n_weights)).cumsum(axis=0)
    return KINDS[kind](np.arange(n_steps)[:, np.newaxis], walk, rng).astype(dtype)


def computed(x):
    """Squared increments, displacement and mean squared displacement from the Gram matrix."""
    gram = increment_gram(np.diff(x, axis=0))
    displaced = displacement_gram(gram)
    centred = double_centre(displaced)
    pooled = mean_squared_displacement(centred.diagonal(), lagged_products(centred))
    return gram.diagonal(), np.sqrt(np.maximum(displaced.diagonal(), 0)), pooled


def exact(x):
    x = x.astype(np.longdouble)
    displacement = np.sqrt(np.square(x - x[0]).sum(axis=1))
    pooled = [np.square(x[q:] - x[: len(x) - q]).sum(axis=1).mean() for q in range(len(x))]
    return displacement, np.array(pooled)


def is_within(found, expected, bound):
    return np.abs(found - expected) <= bound * np.maximum(found, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n_steps", "n_weights"), [(12, 1), (40, 400), (25, 40_000)])
def test_no_distance_is_farther_off_than_its_bound(kind, dtype, n_steps, n_weights):
    for seed in range(3 if n_weights < 1000 else 1):
        x = trajectory(kind, n_steps, n_weights, seed, dtype)
        squares, displacement, pooled = computed(x)
        true_displacement, true_pooled = exact(x)
        error = product_error(np.dtype(dtype))
        bound = displacement_error(squares, displacement, error)
        assert is_within(displacement, true_displacement, bound).all()
        bound = mean_squared_displacement_error(squares, displacement, pooled, error)
        assert is_within(np.sqrt(pooled), np.sqrt(true_pooled), bound).all()


@pytest.mark.parametrize(("kind", "order"), [("stationary", 40), ("a walk", 1), ("straight", 1)])
def test_ordinary_paths_have_small_bounds(kind, order):
    x = trajectory(kind, 160, 300, 0, "float32")
    squares, displacement, pooled = computed(x)
    error = product_error(np.dtype("float32"))
    bounds = [
        displacement_error(squares, displacement, error),
        mean_squared_displacement_error(squares, displacement, pooled, error),
    ]
    assert max(bound.max() for bound in bounds) < 3 * order * error
    assert all(bound[0] == 0 for bound in bounds)


def leading(x):
    """Scores and variance along the leading component, from the Gram matrix as `computed`."""
    gram = increment_gram(np.diff(x, axis=0))
    values, vectors = np.linalg.eigh(double_centre(displacement_gram(gram)))
    return gram.diagonal(), vectors[:, -1] * np.sqrt(max(values[-1], 0)), values[-1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n_steps", "n_weights"), [(12, 1), (40, 400), (100, 4000)])
def test_no_leading_variance_is_farther_off_than_its_bound(kind, dtype, n_steps, n_weights):
    x = trajectory(kind, n_steps, n_weights, 7, dtype)
    squares, scores, variance = leading(x)
    scale = np.abs(x).max().astype(float)
    centred = x.astype(np.longdouble) / scale
    expected = np.linalg.norm((centred - centred.mean(axis=0)).astype(float), ord=2) ** 2
    bound = component_error(squares / scale**2, scores / scale, product_error(np.dtype(dtype)))
    assert abs(variance / scale**2 - expected) <= bound * max(variance / scale**2, expected)


@pytest.mark.parametrize("kind", ["a walk", "stationary", "straight"])
def test_the_leading_variance_of_ordinary_paths_has_a_small_bound(kind):
    squares, scores, _ = leading(trajectory(kind, 160, 300, 0, "float32"))
    error = product_error(np.dtype("float32"))
    assert component_error(squares, scores, error) < 160 * error


def test_the_bound_of_the_mean_is_the_mean_over_all_pairs():
    rng = np.random.default_rng(0)
    squares, displacement, pooled = rng.uniform(1, 2, (3, 6))
    squares, error = squares[:5], 1e-3
    for lag in range(1, 6):
        moved = np.mean([squares[t : t + lag].sum() for t in range(6 - lag)])
        expected = (error * (moved + pooled[lag]) + 6 * 2**-53 * displacement.max() ** 2) / 2
        found = mean_squared_displacement_error(squares, displacement, pooled, error)[lag]
        np.testing.assert_allclose(found, expected / pooled[lag])


def test_early_increments_keep_their_digits_where_late_ones_are_huge():
    """Scaled together, the first forty orders of magnitude would be lost."""
    x = trajectory("growing by e^60", 60, 50, 0, "float32") * np.float32(1e20)
    found = np.sqrt(increment_gram(np.diff(x, axis=0)).diagonal())
    expected = np.sqrt(np.square(np.diff(x.astype(np.longdouble), axis=0)).sum(axis=1))
    np.testing.assert_allclose(found, expected.astype(float), rtol=1e-6)


def told(x, stored="float32"):
    n_weights = x.shape[1]
    data = dataset_of(x, [n_weights // 2, n_weights - n_weights // 2], dtypes=[stored] * 2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TrajscopeWarning)
        found = analyze(data, n_surrogates=19, alpha=0.1)
    assert found.attrs["components"] == "gram"
    messages = [str(each.message) for each in caught]
    return [message for message in messages if message.startswith("Distances in ")], found


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("alternating", "displacement and mean_squared_displacement"),
        ("swinging", "displacement"),
    ],
)
def test_an_analysis_says_when_distances_cancel(kind, what):
    x = trajectory(kind, 40, 400, 0, "float32")
    (message,), found = told(x)
    assert message == (
        "Distances in all and 2 more groups are small differences of large movements: in float32, "
        f"{what} may be wrong by more than 1% where the path comes back close to an earlier point. "
        "Pass the weights as float64."
    )
    assert message in found["trajectory"].attrs["warnings"]
    assert told(x.astype(float), "float64")[0] == []


@pytest.mark.parametrize("kind", ["a walk", "stationary", "straight", "late in training"])
def test_an_analysis_says_nothing_of_ordinary_paths(kind):
    assert told(trajectory(kind, 60, 400, 0, "float32"))[0] == []
