import numpy as np
import pytest

from trajscope.inference.comparison.free_energy import free_energy, n_directions


def replicas(n, n_steps, tau, k, seed, start=0.0):
    """Ornstein-Uhlenbeck paths of unit variance from one point, (replica, step, direction)."""
    rng = np.random.default_rng(seed)
    rho = np.exp(-1 / tau)
    x = np.full((n, n_steps, k), start)
    for t in range(1, n_steps):
        x[:, t] = rho * x[:, t - 1] + np.sqrt(1 - rho**2) * rng.standard_normal((n, k))
    return x


def closed(t, tau, k, start):
    """The divergence of N(mu, s) from N(0, 1) in each of k directions."""
    rho = np.exp(-t / tau)
    s, mu = 1 - rho**2, start * rho
    return k * (s + mu**2 - 1 - np.log(s)) / 2


@pytest.mark.parametrize(("k", "start"), [(1, 0.0), (2, 3.0), (3, 0.0)])
def test_it_is_the_divergence_from_the_steady_state(k, start):
    found = free_energy(replicas(120, 120, 8, k, 0, start))
    expected = closed(found.place, 8, k, start)
    # 120 replicas: half a log variance is known to 6.5%, three of them to 11%.
    np.testing.assert_allclose(found.value, expected, atol=0.35 + 0.1 * start)
    np.testing.assert_allclose(found.value, found.potential - found.entropy)


def test_it_falls_with_many_replicas_and_the_interval_covers():
    covered, falls = [], []
    for seed in range(25):
        found = free_energy(replicas(24, 160, 10, 2, seed, 2.0))
        early = found.place < 30
        expected = closed(found.place, 10, 2, 2.0)
        covered.append(np.mean((found.low <= expected) & (expected <= found.high), where=early))
        falls.append(found.fall[0] > 0)
    assert np.mean(covered) >= 0.88
    assert np.mean(falls) == 1


def test_nothing_falls_in_the_steady_state():
    found = [free_energy(replicas(24, 200, 5, 2, seed)[:, 50:]).fall for seed in range(100, 140)]
    assert np.mean([low <= 0 <= high for low, _, high in found]) >= 0.85
    assert np.mean([middle for _, middle, _ in found]) == pytest.approx(0, abs=0.1)


def test_few_replicas_have_few_directions():
    assert [n_directions(n) for n in (1, 5, 6, 12, 20, 100)] == [0, 0, 1, 2, 3, 3]
