import numpy as np
import pytest

from trajscope.kernels.factors import (
    N_PROJECTIONS,
    factor_of_gram,
    factor_of_increments,
    factor_width,
    fewer_columns,
    project,
    random_signs,
    root_of_gram,
)
from trajscope.kernels.gram import increment_gram


@pytest.fixture
def increments():
    return np.random.default_rng(4).standard_normal((40, 15)) * np.arange(1, 16)


def test_a_factor_has_the_inner_products_of_the_increments(increments):
    for factor in (
        factor_of_gram(increment_gram(increments)),
        factor_of_increments(increments),
        fewer_columns(factor_of_increments(increments), 15),
    ):
        np.testing.assert_allclose(factor @ factor.T, increments @ increments.T, atol=1e-9)


@pytest.mark.parametrize("few", [fewer_columns, lambda f, w: factor_of_gram(f @ f.T, w)])
def test_half_of_few_columns_are_those_of_the_best_approximation(increments, few):
    u, s, _ = np.linalg.svd(increments, full_matrices=False)
    best = (u[:, :4] * s[:4] ** 2) @ u[:, :4].T
    factor = few(increments, 8)
    assert factor.shape == (40, 8)
    np.testing.assert_allclose(factor[:, :4] @ factor[:, :4].T, best, atol=1e-8)
    # The others lie in what these leave, and hold about as much.
    np.testing.assert_allclose(u[:, :4].T @ factor[:, 4:], 0, atol=1e-9)
    left = (s[4:] ** 2).sum()
    assert (factor[:, 4:] ** 2).sum() == pytest.approx(left, rel=0.5)


@pytest.mark.parametrize("few", [fewer_columns, lambda f, w: factor_of_gram(f @ f.T, w)])
def test_a_small_steady_course_is_kept_beside_noise_in_other_directions(few):
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((2000, 60)) * 10
    course = np.full((2000, 1), 0.5)
    walked = few(np.hstack([noise, 0.01 * rng.standard_normal((2000, 30)), course]), 40)
    moved = (walked.sum(axis=0) ** 2).sum()
    # Along the leading axes of the increments alone it would not be seen at all.
    assert moved > 0.3 * (2000 * 0.5) ** 2


def test_a_factor_of_few_weights_is_exact_in_fewer_columns_than_steps():
    increments = np.random.default_rng(1).standard_normal((400, 30)) * np.arange(1, 31)
    increments[50:60] = 0
    factor = factor_of_gram(increment_gram(increments), 40)
    np.testing.assert_allclose(factor @ factor.T, increments @ increments.T, atol=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", [8, 40])
def test_a_factor_of_few_weights_that_are_counted_is_the_same(dtype, width):
    increments = np.random.default_rng(1).standard_normal((90, 30)) * np.arange(1, 31)
    increments[50:60] = 0
    gram = increment_gram(increments.astype(dtype))
    counted, other = factor_of_gram(gram, width, 30), factor_of_gram(gram, width)
    assert counted.shape == other.shape == (90, width)
    scale, tolerance = np.sqrt((other**2).sum(axis=0)).max(), 10 * np.finfo(dtype).eps
    led = slice(0, width if width > 30 else width // 2)
    products = [each[:, led] @ each[:, led].T for each in (counted, other)]
    np.testing.assert_allclose(*products, rtol=0, atol=tolerance * scale**2)
    # The others are mixtures of what these leave, of which each way draws its own.
    left = [(each[:, led.stop :] ** 2).sum() for each in (counted, other)]
    assert left[0] == pytest.approx(left[1], rel=0.7, abs=tolerance * scale**2)


@pytest.mark.parametrize("n_weights", [0, 1, 5, 60, 61])
def test_the_root_of_a_gram_matrix_has_a_column_for_every_weight(n_weights):
    increments = np.random.default_rng(1).standard_normal((90, n_weights)).astype(np.float32)
    root = root_of_gram(increment_gram(increments), n_weights)
    assert (root is None) is (n_weights > 60)
    if root is not None:
        assert root.shape[1] <= max(n_weights, 1)
        np.testing.assert_allclose(root @ root.T, increments @ increments.T, atol=1e-4)


def test_reordered_increments_have_a_reordered_factor(increments):
    """What makes a permutation of few columns as exact as one of all weights."""
    order = np.random.default_rng(5).permutation(40)
    few = fewer_columns(increments, 3)
    of_reordered = fewer_columns(increments[order], 3)
    np.testing.assert_allclose(of_reordered @ of_reordered.T, (few @ few.T)[np.ix_(order, order)])


def test_projections_add_up_over_any_split_and_do_not_depend_on_the_block(increments):
    n_weights = increments.shape[1]
    whole = project(increments, random_signs(100, n_weights, seed=3))
    parts = project(increments[:, :7], random_signs(100, 7, seed=3))
    parts += project(increments[:, 7:], random_signs(107, n_weights - 7, seed=3))
    np.testing.assert_allclose(whole, parts, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_projections_keep_squared_lengths_on_average(scale):
    increments = (scale * np.random.default_rng(6).standard_normal((5, 4000))).astype(np.float32)
    found = (project(increments, random_signs(0, 4000, seed=1)) ** 2).sum(axis=1)
    exact = (increments.astype(np.float64) ** 2).sum(axis=1)
    # The relative standard deviation is sqrt(2 / 64) = 0.18.
    np.testing.assert_allclose(found, exact, rtol=4 * 0.18)


def test_signs_are_fair_independent_and_other_with_another_seed():
    signs = random_signs(0, 4096, seed=0)
    assert signs.shape == (4096, N_PROJECTIONS)
    assert set(np.unique(signs)) == {-1, 1}
    correlations = signs.T.astype(float) @ signs / 4096
    assert np.abs(correlations - np.eye(N_PROJECTIONS)).max() < 5 / 64
    assert (signs != random_signs(0, 4096, seed=1)).any()


@pytest.mark.parametrize(
    ("n", "width"), [(1, 1), (31, 31), (999, 131), (8192, 64), (98_999, 42), (1_000_000, 4)]
)
def test_the_width_is_all_of_short_windows_and_a_few_of_long_ones(n, width):
    assert factor_width(n) == width


def test_a_factor_of_what_is_no_number_is_none():
    assert not np.isfinite(factor_of_increments(np.full((3, 2), np.nan))).any()
