import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import naive
from tests.trajectories import ORDINARY, brownian, late_training, trajectories
from trajscope.kernels.components import (
    Components,
    brownian_explained_variance,
    components_from_gram,
    components_from_sketch,
    components_from_weights,
    explained_variance,
    sketch_of_gram,
)
from trajscope.kernels.factors import root_of_gram
from trajscope.kernels.gram import displacement_gram, double_centre, increment_gram


def by_gram(x, n_components=20):
    gram = increment_gram(np.diff(x, axis=0)).astype(np.float64)
    return components_from_gram(double_centre(displacement_gram(gram)), n_components)


def orthonormal(n_steps, n_columns):
    normal = np.random.default_rng(0).standard_normal((n_steps, min(n_columns, n_steps)))
    return np.linalg.qr(normal).Q


def by_sketch(x, n_components=20, n_columns=256):
    matrix = orthonormal(len(x), n_columns)
    wide = x.astype(np.float64)
    total = np.sum((wide - wide.mean(axis=0)) ** 2)
    return components_from_sketch(sketch_of_gram(x, matrix), matrix, total, n_components)


def by_root(x, n_components=20):
    """As a pass has them of groups of few weights."""
    root = root_of_gram(increment_gram(np.diff(x, axis=0)), naive.n_moving(x))
    if root is None:
        return by_gram(x, n_components)
    path = np.concatenate([np.zeros_like(root[:1]), root.cumsum(axis=0)])
    return components_from_weights(path, n_components)


EXACT = pytest.mark.parametrize("components", [by_gram, by_root, components_from_weights])
EVERY = pytest.mark.parametrize(
    "components", [by_gram, by_root, components_from_weights, by_sketch]
)


def assert_same_up_to_sign(actual, expected, tolerance):
    signs = np.sign(np.sum(actual * expected, axis=0))
    scale = np.abs(expected).max(initial=0.0)
    np.testing.assert_allclose(actual * signs, expected, rtol=0, atol=tolerance * scale)


@EXACT
@given(x=trajectories(kinds=ORDINARY, dtypes=(np.float64,)), n_components=st.integers(1, 8))
def test_explained_variance_matches_the_singular_values(components, x, n_components):
    actual = explained_variance(components(x, n_components))
    np.testing.assert_allclose(
        actual, naive.explained_variance(x, n_components), rtol=0, atol=1e-12
    )


@EXACT
def test_scores_are_the_positions_along_each_component(components):
    x = brownian(40, 25)
    actual = components(x, 5).scores
    assert_same_up_to_sign(actual, naive.principal_components(x, 5), 1e-9)
    assert (actual[np.abs(actual).argmax(axis=0), np.arange(5)] > 0).all()


@EVERY
def test_squared_scores_add_up_to_the_eigenvalue(components):
    found = components(brownian(40, 25), 6)
    np.testing.assert_allclose(np.sum(found.scores**2, axis=0), found.eigenvalues, rtol=1e-9)


@EXACT
def test_components_of_late_training_keep_their_digits_in_float32(components):
    x = late_training(100, 90)
    expected = naive.explained_variance(x.astype(np.float64), 10)
    np.testing.assert_allclose(explained_variance(components(x, 10)), expected, rtol=1e-5)


@EVERY
@pytest.mark.parametrize("n_steps", [2, 3, 50, 300])
def test_a_trajectory_that_never_moves_has_no_variance_to_explain(components, n_steps):
    found = components(np.full((n_steps, 4), 0.3, np.float32), 20)
    assert found.total == pytest.approx(0, abs=1e-12)
    np.testing.assert_array_equal(found.eigenvalues, np.zeros(min(20, n_steps - 1)))
    assert not found.scores.any()


@EVERY
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_steps", [2, 3, 20, 300, 1000])
def test_a_straight_line_has_one_component(components, n_steps, dtype):
    x = np.outer(np.arange(n_steps), np.arange(1, 6)).astype(dtype)
    found = explained_variance(components(x, 20))
    assert found[0] == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(found[1:], 0, atol=1e-4)


@EVERY
def test_components_do_not_change_when_the_weights_are_rotated(components):
    x = brownian(60, 30)
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((30, 30)))[0]
    turned, plain = components(x @ rotation, 5), components(x, 5)
    np.testing.assert_allclose(turned.eigenvalues, plain.eigenvalues, rtol=1e-6)
    assert_same_up_to_sign(turned.scores, plain.scores, 1e-5)


@pytest.mark.parametrize("n_steps", [2, 3, 50, 1000])
def test_explained_variance_of_a_random_walk_has_the_closed_form(n_steps):
    # Orthonormal increments: the exact expectation of isotropic Brownian motion.
    gram = double_centre(displacement_gram(np.eye(n_steps - 1)))
    actual = explained_variance(components_from_gram(gram, n_steps - 1))
    expected = brownian_explained_variance(n_steps, n_steps - 1)
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-15)


def test_explained_variance_of_a_long_random_walk_falls_as_one_over_the_square():
    k = np.arange(1, 21)
    expected = 6 / (np.pi * k) ** 2
    np.testing.assert_allclose(brownian_explained_variance(100_000, 20), expected, rtol=1e-4)


@given(trajectories(kinds=ORDINARY, dtypes=(np.float64,)), st.data())
def test_the_sketch_adds_up_over_any_split_of_the_weights(x, data):
    cut = data.draw(st.integers(0, x.shape[1]))
    matrix = orthonormal(len(x), 7)
    parts = sketch_of_gram(x[:, :cut], matrix) + sketch_of_gram(x[:, cut:], matrix)
    whole = sketch_of_gram(x, matrix)
    scale = np.abs(whole).max()
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-10 * scale)


@pytest.mark.parametrize("exponent", [-100, 0, 100])
def test_the_sketch_of_float32_neither_overflows_nor_vanishes(exponent):
    x = brownian(30, 20, dtype=np.float32)
    matrix = orthonormal(30, 7)
    expected = np.ldexp(sketch_of_gram(x, matrix), 2 * exponent)
    actual = sketch_of_gram(np.ldexp(x, exponent), matrix)
    np.testing.assert_allclose(actual, expected, rtol=1e-4)


@pytest.mark.parametrize("n_weights", [1, 5, 3000])
@pytest.mark.parametrize("n_steps", [20, 255, 256, 257, 2000])
def test_sketched_components_of_a_random_walk_are_right_to_the_stated_digits(n_steps, n_weights):
    x = brownian(n_steps, n_weights, dtype=np.float32)
    actual, exact = by_sketch(x), by_gram(x.astype(np.float64))
    # Never over; short of the exact ones by 5e-5 (first) to 2e-2 (20th).
    shortfall = 1 - actual.eigenvalues / np.maximum(exact.eigenvalues, 1e-5 * exact.total)
    shares = exact.eigenvalues / exact.total > 1e-4
    assert np.all(shortfall[shares] > -1e-5)
    assert np.all(shortfall[shares] < 2e-3 * (1 + np.arange(len(shortfall)))[shares])
    assert shortfall[0] < 2e-4


def test_components_without_variance_explain_none_of_it():
    found = explained_variance(Components(np.zeros(3), 0.0, np.zeros((5, 3))))
    np.testing.assert_array_equal(found, np.zeros(3))
