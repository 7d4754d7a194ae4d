import numpy as np
import pytest

from trajscope.kernels import matrices
from trajscope.kernels.matrices import drift, numbers_of, overlap, spectrum

SHAPES = pytest.mark.parametrize("shape", [(30, 50), (50, 30), (1, 7), (40, 40)])


def of(matrix, memory=1 << 20, n_vectors=5):
    return spectrum(lambda a, b: matrix[a:b], matrix.shape, n_vectors, memory)


def random(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def of_rank(shape, values, seed=0):
    """A matrix with these singular values."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.standard_normal((n, len(values)))).Q for n in shape)
    return left * values @ right.T


@SHAPES
@pytest.mark.parametrize("memory", [40_000, 1 << 20])
def test_singular_values_and_vectors_are_those_of_the_decomposition(shape, memory):
    x = random(shape)
    found = of(x, memory)
    left, values, right = np.linalg.svd(x, full_matrices=False)
    np.testing.assert_allclose(found.values, values, rtol=1e-9)
    assert found.squared_norm == pytest.approx(np.sum(x**2))
    expected = (left if shape[0] <= shape[1] else right.T)[:, :5]
    cosines = np.abs(np.sum(expected * found.vectors, axis=0))
    np.testing.assert_allclose(cosines, 1, atol=1e-6)


@pytest.mark.parametrize("shape", [(300, 500), (500, 300)])
def test_leading_values_of_large_matrices_are_close(monkeypatch, shape):
    monkeypatch.setattr(matrices, "LARGEST_EXACT", 100)
    monkeypatch.setattr(matrices, "LEADING", 10)
    x = of_rank(shape, 100 * 0.8 ** np.arange(60)) + 0.01 * random(shape)
    found = of(x, 1 << 17)
    values = np.linalg.svd(x, compute_uv=False)
    assert not found.is_whole
    np.testing.assert_allclose(found.values, values[:10], rtol=1e-5)
    assert found.squared_norm == pytest.approx(np.sum(x**2))
    assert found.vectors.shape == (300, 5)
    monkeypatch.setattr(matrices, "LARGEST_EXACT", 1000)
    assert overlap(found, of(x)) == pytest.approx(1, abs=1e-6)
    assert np.isnan(numbers_of(found, shape)["effective_rank"])


def test_products_that_do_not_fit_the_memory_are_not_made():
    found = of(of_rank((90, 100), np.array([3.0, 2.0])), memory=1000)
    assert not found.is_whole
    np.testing.assert_allclose(found.values[:3], [3, 2, 0], atol=1e-9)


def test_numbers_of_a_matrix_with_equal_singular_values_are_its_rank():
    found = numbers_of(of(of_rank((40, 60), 3 * np.ones(7))), (40, 60))
    assert found["spectral_norm"] == pytest.approx(3)
    assert found["frobenius_norm"] == pytest.approx(3 * 7**0.5)
    assert found["stable_rank"] == pytest.approx(7)
    assert found["effective_rank"] == pytest.approx(7, rel=1e-5)
    assert found["n_above_edge"] == 7


@pytest.mark.parametrize("shape", [(400, 400), (300, 900)])
def test_the_edge_is_the_largest_singular_value_of_noise(shape):
    found = numbers_of(of(0.02 * random(shape)), shape)
    assert found["random_edge"] == pytest.approx(found["spectral_norm"], rel=0.03)
    signal = 0.02 * random(shape) + of_rank(shape, np.array([5.0, 3.0]))
    assert numbers_of(of(signal), shape)["n_above_edge"] == 2


def test_a_zero_matrix_has_no_rank():
    found = of(np.zeros((4, 6)))
    told = numbers_of(found, (4, 6))
    assert (told["spectral_norm"], told["frobenius_norm"]) == (0, 0)
    assert all(np.isnan(told[name]) for name in ("stable_rank", "effective_rank", "n_above_edge"))
    assert np.isnan([drift(found, found), overlap(found, found)]).all()


def test_a_matrix_with_nan_gives_no_number():
    x = random((4, 6))
    x[1, 1] = np.nan
    assert np.isnan(list(numbers_of(of(x), (4, 6)).values())).all()


def test_drift_and_overlap_go_from_the_same_to_apart():
    one = of(of_rank((30, 30), np.array([2.0, 1.0])), n_vectors=2)
    scaled = of(5 * of_rank((30, 30), np.array([2.0, 1.0])), n_vectors=2)
    flat = of(of_rank((30, 30), np.array([1.0, 1.0]), seed=1), n_vectors=2)
    assert drift(one, scaled) == pytest.approx(0, abs=1e-12)
    assert drift(one, flat) == pytest.approx(0.3)  # (0.8, 0.2) and (0.5, 0.5)
    assert overlap(one, scaled) == pytest.approx(1)
    found = [
        overlap(of(random((60, 90), a), n_vectors=6), of(random((60, 90), a + 50), n_vectors=6))
        for a in range(20)
    ]
    assert np.mean(found) == pytest.approx(6 / 60, abs=0.02)
