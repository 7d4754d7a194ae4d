"""The gradient noise scale against the definition in float64, and how often its interval covers."""

import numpy as np
import pytest
import torch

from tests.gradient_noise.networks import classification
from tests.gradient_noise.oracle import found, truth, write_run
from trajscope.gradient_noise.spectrum.from_covariance import Fourth
from trajscope.gradient_noise.spectrum.noise_scale import (
    Scatter,
    gradient_noise_scale,
    interval,
)
from trajscope.gradient_noise.spectrum.statistics import Spectrum
from trajscope.report.content.gradient_noise import noise_scales


def spectrum_of(g):
    centred = g - g.mean(axis=0)
    values = np.linalg.svd(centred, compute_uv=False) ** 2 / len(g)
    return Spectrum(values, g.shape[1], len(g), float(g.mean(axis=0) @ g.mean(axis=0)))


def scatter_of(g):
    mean = g.mean(axis=0)
    h = g - mean
    return Scatter(
        float(np.mean((h @ mean) ** 2)),
        float(np.mean((h @ mean) * (h**2).sum(axis=1))),
        float(np.var((h**2).sum(axis=1))),
    )


def naive(g):
    """``tr D / |g|^2`` with products of pairs of different samples only."""
    products = g @ g.T
    n = len(g)
    square = (products.sum() - np.trace(products)) / (n * (n - 1))
    return (np.trace(products) / n - square) / square if square > 0 else np.inf


@pytest.mark.parametrize("n_samples", [40, 300])  # by sample, and by weight
def test_the_scale_is_that_of_pairs_of_samples(n_samples, tmp_path):
    problem = classification("batch norm", n_samples)
    result = found(write_run(tmp_path, problem.model), problem)
    g = truth(problem).gradients
    assert float(result["gradient_noise_scale"]) == pytest.approx(naive(g), rel=1e-8)
    low, high = interval(spectrum_of(g), scatter_of(g), len(g))
    assert float(result["gradient_noise_scale_low"]) == pytest.approx(low, rel=1e-7)
    assert float(result["gradient_noise_scale_high"]) == pytest.approx(high, rel=1e-7)
    assert low < naive(g) <= high
    own = truth(problem).of(lambda name: name.startswith("0."))
    group = result["group_gradient_noise_scale"].sel(group="0")
    assert float(group) == pytest.approx(naive(own.gradients), rel=1e-8)


def test_sums_about_any_point_give_the_scatter_about_the_mean():
    rng = np.random.default_rng(0)
    g = rng.standard_normal((60, 5)) ** 3 + 2
    rows = torch.tensor(g)
    point = rows[:7].mean(0)
    sums = Fourth.of({}, 5, torch.device("cpu"))
    for part in (rows[:20], rows[20:]):
        sums.add(part - point)
    mean = rows.mean(0)
    matrix = torch.tensor(np.cov(g.T, bias=True))
    by_sums = sums.scatter(matrix, mean - point, mean, 60)
    expected = scatter_of(g).to_array()
    np.testing.assert_allclose(by_sums.to_array(), expected, rtol=1e-10)
    centred = rows - mean
    by_products = Scatter.of_products(rows @ mean, centred.square().sum(1))
    np.testing.assert_allclose(by_products.to_array(), expected, rtol=1e-10)


def test_the_scale_is_unbiased_where_that_of_the_mean_gradient_is_not():
    rng = np.random.default_rng(1)
    mean, n = np.full(20, 0.2), 50  # |g|^2 = .8, tr D = 20: 25 samples
    inverse = [
        1 / gradient_noise_scale(spectrum_of(mean + rng.standard_normal((n, 20))))
        for _ in range(400)
    ]
    assert np.mean(inverse) == pytest.approx(1 / 25, abs=0.003)


@pytest.mark.parametrize(
    ("draw", "n_samples", "least"),
    [
        (lambda rng, shape: rng.standard_normal(shape), 60, 0.92),
        (lambda rng, shape: rng.standard_t(5, shape), 200, 0.90),
        (lambda rng, shape: rng.standard_normal(shape) * rng.lognormal(0, 0.5, (shape[0], 1)),
         200, 0.88),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [0.02, 0.3])  # far below the noise of the mean, and far above
def test_the_interval_covers(draw, n_samples, least, size):
    rng = np.random.default_rng(2)
    spread = np.geomspace(1, 0.1, 30)
    mean = np.full(30, size)
    many = draw(rng, (200_000, 30)) * spread
    true = float(many.var(axis=0).sum()) / float(mean @ mean)
    covered = []
    for _ in range(200):
        g = mean + draw(rng, (n_samples, 30)) * spread
        low, high = interval(spectrum_of(g), scatter_of(g), n_samples)
        covered.append(low <= true <= high)
    # 200 at 95%: standard error 1.5%.
    assert np.mean(covered) >= least


def test_batches_tell_the_scale_of_samples():
    rng = np.random.default_rng(3)
    samples = 0.3 + rng.standard_normal((100, 16, 10))
    g = samples.mean(axis=1)
    own = spectrum_of(g)
    of_samples = Spectrum(own.eigenvalues * 16, 10, 1600, own.mean_square)
    low, high = interval(of_samples, scatter_of(g), len(g), scale=16)
    assert low < 10 / 0.9 < high


def test_without_noise_or_samples_there_is_no_number():
    still = spectrum_of(np.ones((10, 3)))
    assert gradient_noise_scale(still) == pytest.approx(0, abs=1e-9)
    noise = np.random.default_rng(4).standard_normal((30, 4))
    noise -= noise.mean(axis=0)
    assert gradient_noise_scale(spectrum_of(noise)) == np.inf
    low, high = interval(spectrum_of(noise), scatter_of(noise), 30)
    assert high == np.inf
    assert 0 < low < np.inf
    assert np.isnan(interval(spectrum_of(noise), Scatter.unknown(), 30)).all()
    assert np.isnan(interval(spectrum_of(noise[:2]), scatter_of(noise[:2]), 2)).all()


def test_it_is_told_beside_the_batch_size(tmp_path):
    problem = classification("batch norm", 300)
    folder = write_run(tmp_path, problem.model)
    result = found(folder, problem, lr=0.1, batch_size=2)
    (sentence,) = noise_scales(result.expand_dims("step"))
    assert sentence.startswith("Gradient noise scale tr D / |g|^2, in samples: ")
    assert "batches, of 2," in sentence
    assert "(at least " in sentence
    sketched = found(folder, problem, sketch=20)
    assert np.isnan(sketched["gradient_noise_scale_low"]).all()
