import numpy as np
import pytest
from scipy import integrate, interpolate, sparse, stats

from tests.simulate.standard_errors import assert_agrees, assert_distributed, signed_area
from trajscope.errors import OptionError
from trajscope.simulate import double_well, hopf
from trajscope.simulate.cycles import _stirred_velocity


def complex_hopf(n_steps, seed, **options):
    x = hopf(n_steps, seed=seed, **options).values
    return x[:, 0] + 1j * x[:, 1]


def test_without_noise_a_hopf_cycle_turns_evenly_on_its_circle():
    z = complex_hopf(50, 0, mu=2.0, angular_velocity=-0.7, noise=0.0)
    np.testing.assert_allclose(z[1:] / z[:-1], np.exp(-0.7j), rtol=1e-12)
    np.testing.assert_allclose(abs(z), np.sqrt(2), rtol=1e-12)
    for lag in (1, 9):
        expected = 4 * 2 * np.sin(0.7 * lag / 2) ** 2
        np.testing.assert_allclose(abs(z[lag:] - z[:-lag]) ** 2, expected, rtol=1e-12)


def test_the_phase_at_the_start_is_uniform():
    phases = [np.angle(complex_hopf(2, seed, mu=1, angular_velocity=1, noise=0.1)[0])
              for seed in range(500)]  # fmt: skip
    assert_distributed(phases, stats.uniform(-np.pi, 2 * np.pi).cdf)


@pytest.mark.parametrize(("mu", "noise"), [(1.0, 0.02), (1.0, 0.5), (0.2, 0.5)])
def test_a_noisy_hopf_cycle_keeps_its_stationary_radius(mu, noise):
    z = np.array(
        [complex_hopf(4, seed, mu=mu, angular_velocity=0.5, noise=noise) for seed in range(1000)]
    )
    spread = np.sqrt(2 * noise)
    law = stats.truncnorm(-mu / spread, np.inf, mu, spread)
    mean = mu + spread * stats.norm.pdf(mu / spread) / stats.norm.cdf(mu / spread)
    assert law.mean() == pytest.approx(mean)
    for step in (0, 3):
        assert_distributed(abs(z[:, step]) ** 2, law.cdf)
        assert_agrees(abs(z[:, step]) ** 2, mean, precision=0.03)


def test_the_density_of_a_hopf_cycle_is_that_of_its_potential():
    mu, noise = 0.7, 0.3

    def moment(power):
        def integrand(r):
            return r ** (1 + power) * np.exp(-(r**4 / 4 - mu * r**2 / 2) / noise)

        return integrate.quad(integrand, 0, 6)[0]

    spread = np.sqrt(2 * noise)
    mean = mu + spread * stats.norm.pdf(mu / spread) / stats.norm.cdf(mu / spread)
    assert moment(2) / moment(0) == pytest.approx(mean)


@pytest.mark.parametrize("angular_velocity", [0.2, -0.2])
def test_a_noisy_hopf_cycle_sweeps_area_at_its_angular_velocity(angular_velocity):
    mu, noise = 0.01, 5e-5  # relaxing over 50 steps, so that one step is short
    options = {"mu": mu, "noise": noise, "angular_velocity": angular_velocity}
    runs = [hopf(40, seed=seed, **options).values for seed in range(400)]
    square = mu + mu * stats.norm.pdf(1) / stats.norm.cdf(1)  # sqrt(2 noise) = mu
    # E conj(z[t]) z[t+1] e^{-iw} = E r^2 + E r^2 (mu - r^2) + ..., of which the second is -2 noise.
    expected = np.sin(angular_velocity) * (square - 2 * noise)
    assert_agrees([signed_area(x, 1) for x in runs], expected, precision=0.03)


def test_the_phase_of_a_weakly_noisy_cycle_diffuses_at_the_noise_over_the_squared_radius():
    z = np.array([complex_hopf(21, seed, mu=2.0, angular_velocity=0.3, noise=2e-3)
                  for seed in range(800)])  # fmt: skip
    gained = np.unwrap(np.angle(z), axis=1)[:, 20] - np.angle(z[:, 0])
    assert_agrees(gained, 20 * 0.3, precision=0.01)
    assert_agrees((gained - 6.0) ** 2, 2 * 20 * 2e-3 / 2.0, precision=0.06)


POINTS = np.random.default_rng(0).uniform(-2.5, 2.5, (50, 2))


def potential(x1, x2):
    return (x1**2 - 1) ** 2 / 4 + x2**2 / 2


@pytest.mark.parametrize("strength", [0.0, 0.5, -1.5])
def test_the_double_well_moves_by_its_force_and_the_slope_of_its_potential(strength):
    h = 1e-5
    for x1, x2 in POINTS:
        slope = np.array(
            [
                potential(x1 + h, x2) - potential(x1 - h, x2),
                potential(x1, x2 + h) - potential(x1, x2 - h),
            ]
        ) / (2 * h)
        spin = np.exp(-((x1**2 + x2**2) ** 2) / 4) * np.array([-x2, x1])
        expected = strength * np.exp(potential(x1, x2)) * spin - slope
        actual = _stirred_velocity(x1, x2, strength)
        np.testing.assert_allclose(actual, expected, rtol=1e-8, atol=1e-8)


def test_far_out_the_double_well_only_pulls_back():
    assert _stirred_velocity(30.0, 40.0, 1.5) == (-30.0 * (900 - 1), -40.0)


def wells(strength, n_steps, n_runs, interval=0.25):
    return np.array(
        [
            double_well(n_steps, strength=strength, seed=seed, interval=interval).values
            for seed in range(n_runs)
        ]
    )


@pytest.mark.parametrize("strength", [0.0, 1.5])
def test_the_double_well_has_the_same_steady_state_at_any_strength(strength):
    grid = np.linspace(-4, 4, 4001)
    distribution = integrate.cumulative_trapezoid(np.exp(-potential(grid, 0.0)), grid, initial=0)
    assert distribution[-1] * np.sqrt(2 * np.pi) == pytest.approx(7.6235, abs=1e-4)

    def law(x1):
        return np.interp(x1, grid, distribution / distribution[-1])

    x = wells(strength, 5, 1200)
    for step in (0, 4):
        first, second = x[:, step].T
        assert_distributed(first, law)
        assert_distributed(second, "norm")
        assert_agrees(first**2, 1.0418, precision=0.03)
        assert_agrees(first * second, 0.0, precision=0.04)


def fokker_planck(strength, interval, n=91):
    """Both axes of a grid, and the expectation of x one interval after each of its points.

    The generator ``v . grad + laplacian``, with central differences, carries a function of x on.
    """
    axes = np.linspace(-3, 3, n), np.linspace(-4.5, 4.5, n)
    x = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    velocity = np.array([_stirred_velocity(*point, strength) for point in x])
    one, generator = sparse.eye_array(n), sparse.csr_array((n * n, n * n))
    for axis in (0, 1):
        h = axes[axis][1] - axes[axis][0]
        slope = sparse.diags_array([-1.0, 1.0], offsets=[-1, 1], shape=(n, n)) / (2 * h)
        bend = sparse.diags_array([1.0, -2.0, 1.0], offsets=[-1, 0, 1], shape=(n, n)) / h**2
        gradient, laplacian = (
            sparse.kron(*((one, each) if axis else (each, one))) for each in (slope, bend)
        )
        generator = generator + sparse.diags_array(velocity[:, axis]) @ gradient + laplacian
    return axes, sparse.linalg.expm_multiply(generator * interval, x).reshape(n, n, 2)


def area_rate_of_the_fokker_planck_equation(strength, interval):
    """E[x_1[t] x_2[t+1] - x_2[t] x_1[t+1]] / interval."""
    axes, later = fokker_planck(strength, interval)
    first, second = np.meshgrid(*axes, indexing="ij")
    density = np.exp(-potential(first, second))
    areas = density * (first * later[..., 1] - second * later[..., 0])
    return areas.sum() / density.sum() / interval


@pytest.mark.slow
@pytest.mark.parametrize("strength", [0.0, pytest.param(0.5, marks=pytest.mark.slice), -1.5])
def test_the_double_well_moves_as_its_fokker_planck_equation_expects(strength):
    axes, later = fokker_planck(strength, 0.25)
    foretell = interpolate.RegularGridInterpolator(axes, later, bounds_error=False, fill_value=None)
    x = wells(strength, 81, 400)
    surprise = x[:, 1:] - foretell(x[:, :-1])
    assert_agrees(surprise.mean(axis=1), 0.0, precision=0.01)
    by_position = np.einsum("sti,stj->sij", x[:, :-1], surprise) / 80
    assert_agrees(by_position, 0.0, precision=0.01)
    areas = [signed_area(each, 1) / 0.25 for each in x]
    expected = area_rate_of_the_fokker_planck_equation(strength, 0.25)
    assert_agrees(areas, expected, precision=0.03, of=1)


@pytest.mark.parametrize("strength", [0.5, 1.5])
def test_the_area_of_the_fokker_planck_equation_tends_to_the_closed_form(strength):
    short, twice = (area_rate_of_the_fokker_planck_equation(strength, h) for h in (0.01, 0.02))
    assert 2 * short - twice == pytest.approx(2 * np.pi * strength / 7.6235, rel=0.005)


def test_reversing_the_force_reverses_the_area():
    forth, back = (np.mean([signed_area(x, 1) for x in wells(strength, 61, 60)])
                   for strength in (1.5, -1.5))  # fmt: skip
    assert forth > 0.1
    assert back < -0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mu": 0}, r"^mu=0: a positive number expected\.$"),
        ({"noise": -1}, r"^noise=-1: a finite number of at least 0 expected\.$"),
        ({"angular_velocity": np.nan},
         r"^angular_velocity=nan: a finite number of radians per step expected\.$"),
    ],
)  # fmt: skip
def test_cycles_that_cannot_be_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        hopf(3, seed=0, **{"mu": 1, "angular_velocity": 1, "noise": 0, **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": np.inf}, r"^strength=inf: a finite number expected\.$"),
        ({"strength": 1, "interval": 0}, r"^interval=0: a positive time expected\.$"),
    ],
)
def test_double_wells_that_cannot_be_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        double_well(3, seed=0, **options)
