"""The current of processes whose area rate, angular velocity and entropy are in closed form."""

import numpy as np
import pytest

from trajscope.inference.statistics.current import (
    angular_velocity,
    describe_current,
    entropy_production,
    signed_area,
)
from trajscope.simulate import (
    Optimizer,
    ornstein_uhlenbeck,
    quadratic_loss,
    rotating_ornstein_uhlenbeck,
    stochastic_gradient_descent,
)


def components(path, n):
    centred = path - path.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    return (u * s)[:, :n]


def test_the_area_of_a_polygon_is_that_of_the_shoelace_formula():
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]])
    np.testing.assert_allclose(signed_area(square), [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(signed_area(square[:, ::-1])[-1], -1)


def test_a_uniform_rotation_turns_by_its_angle():
    t = 0.1 * np.arange(600)
    path = np.stack([np.cos(t), np.sin(t)], axis=1)
    assert angular_velocity(path) == pytest.approx(0.1, rel=1e-3)
    assert angular_velocity(path[:, ::-1]) == pytest.approx(-0.1, rel=1e-3)


@pytest.mark.parametrize("w", [0.03, 0.1, 0.3])
def test_a_rotating_process_has_its_velocity_its_area_and_its_entropy(w):
    a, n_steps = 0.1, 2000
    found = [
        describe_current(
            components(
                rotating_ornstein_uhlenbeck(
                    n_steps, 10, rate=a, angular_velocity=w, seed=seed
                ).to_numpy(),
                2,
            ),
            seed=0,
        )
        for seed in range(6)
    ]
    # Six paths of a hundred correlation times: a tenth, and what leaks from the ends.
    assert np.mean([each.angular_velocity for each in found]) == pytest.approx(w, rel=0.1)
    area = n_steps * np.exp(-a) * np.sin(w)
    assert np.mean([each.area[-1] for each in found]) == pytest.approx(area, rel=0.1)
    entropy = np.mean([each.entropy_production for each in found])
    # The sampled process produces a little less than 2 w^2 / a: from its lagged products.
    rho = np.exp(-a)
    lagged = rho * np.array([[np.cos(w), -np.sin(w)], [np.sin(w), np.cos(w)]])
    exact = gaussian_divergence(lagged)
    assert 0.85 * 2 * w**2 / a < exact < 2 * w**2 / a
    assert entropy == pytest.approx(exact, rel=0.15)


def gaussian_divergence(lagged):
    """KL of the forward from the backward pairs, by the general formula for Gaussians."""
    identity = np.eye(len(lagged))
    forward = np.block([[identity, lagged.T], [lagged, identity]])
    backward = np.block([[identity, lagged], [lagged.T, identity]])
    _, log_forward = np.linalg.slogdet(forward)
    _, log_backward = np.linalg.slogdet(backward)
    trace = np.trace(np.linalg.inv(backward) @ forward)
    return (trace - len(forward) + log_backward - log_forward) / 2


def test_a_reversible_process_produces_no_entropy_beyond_its_surrogates():
    found = [
        describe_current(
            components(ornstein_uhlenbeck(400, taus=[4] * 6, seed=seed).to_numpy(), 6), seed
        ).entropy_production
        for seed in range(20)
    ]
    assert abs(np.mean(found)) < 3 * np.std(found) / 20**0.5


def test_entropy_is_that_of_any_linear_transformation():
    path = rotating_ornstein_uhlenbeck(500, rate=0.2, angular_velocity=0.3, seed=1).to_numpy()
    mixed = path @ np.array([[2.0, 1.0], [0.3, -1.0]])
    assert entropy_production(mixed) == pytest.approx(entropy_production(path))


def test_surrogate_areas_begin_at_zero_and_the_plane_is_two_unit_vectors():
    path = ornstein_uhlenbeck(200, taus=[3] * 4, seed=2).to_numpy()
    found = describe_current(components(path, 4), seed=3)
    assert found.surrogate_areas.shape == (20, 200)
    assert not found.surrogate_areas[:, 0].any()
    np.testing.assert_allclose(np.linalg.norm(found.plane, axis=1), 1)
    assert found.path.std(axis=0) == pytest.approx(1, rel=1e-2)


@pytest.mark.parametrize(("w", "n_steps"), [(0.15, 300), (0.45, 300)])
def test_the_period_of_what_turns_round_lies_in_its_interval(w, n_steps):
    covered, entropies = 0, 0
    for seed in range(10):
        path = rotating_ornstein_uhlenbeck(n_steps, 2, rate=0.15, angular_velocity=w, seed=seed)
        found = describe_current(components(path.to_numpy(), 2), seed=seed)
        low, high = found.period_interval
        assert low <= found.period <= high
        covered += low <= 2 * np.pi / w <= high
        entropies += found.entropy_interval[0] <= 2 * w**2 / 0.15 <= found.entropy_interval[1]
        assert found.per_relaxation == pytest.approx(w / 0.15, rel=0.5)
        assert found.entropy_interval[0] < found.entropy_production < found.entropy_interval[1]
    assert covered >= 8
    assert entropies >= 8


def test_the_period_of_many_planes_that_turn_alike_lies_in_its_interval_too():
    rng = np.random.default_rng(0)
    path = np.zeros((256, 16, 2))
    for t in range(1, 256):
        g, v = path[t - 1].T  # a damped oscillator each, pushed along its second axis
        for _ in range(5):
            g, v = g + 0.1 * v, v - 0.1 * (g + 0.3 * v) + 0.1 * rng.standard_normal(16)
        path[t] = np.stack([g, v], axis=1)
    found = describe_current(components(path.reshape(256, -1), 32), seed=0)
    low, high = found.period_interval
    assert low <= found.period <= high


def test_the_period_of_many_planes_that_turn_alike_is_theirs():
    covered = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        g, v, path = np.zeros(32), np.zeros(32), []
        for _ in range(1200):  # turns by 2 arcsin(0.15) in every step, without damping
            g = g + 0.3 * v
            v = v - 0.3 * g + rng.standard_normal(32)
            path.append(np.r_[g, v])
        found = describe_current(components(np.array(path[1000:]), 6), seed=seed)
        low, high = found.period_interval
        covered += low <= np.pi / np.arcsin(0.15) <= high
    assert covered >= 5


def test_a_current_in_many_directions_with_real_eigenvalues_has_no_period():
    noise = 4.0 - np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    plain = Optimizer(learning_rate=0.5, batch_size=16)
    for seed in range(4):
        loss = quadratic_loss(np.diag([3, 1.6, 0.9, 0.5]), noise, n_samples=256, seed=seed)
        path = stochastic_gradient_descent(600, loss=loss, optimizer=plain, seed=seed)
        found = describe_current(components(path.to_numpy(), 4), seed=0)
        assert found.per_relaxation > 0.2
        assert found.period_interval is None


def test_a_current_with_real_eigenvalues_has_no_period():
    # A symmetric Hessian with noise that does not commute: a current, but nothing turns round.
    noise = np.array([[1.0, 0.9], [0.9, 1.0]])
    plain = Optimizer(learning_rate=1.0, batch_size=16)
    for seed in range(4):
        loss = quadratic_loss(np.diag([0.02, 0.2]), noise, n_samples=256, seed=seed)
        path = stochastic_gradient_descent(1000, loss=loss, optimizer=plain, seed=seed)
        found = describe_current(components(path.to_numpy(), 2), seed=0)
        assert found.period_interval is None
        assert found.per_relaxation > 0.2
        assert found.entropy_interval[0] < found.entropy_production < found.entropy_interval[1]
