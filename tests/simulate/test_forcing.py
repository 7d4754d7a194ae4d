import numpy as np
import pytest

from tests.simulate.standard_errors import assert_agrees, signed_area
from trajscope.errors import OptionError
from trajscope.simulate import Optimizer, forcing, quadratic_loss, stochastic_gradient_descent


def test_round_a_circle_it_sweeps_area_at_one_frequency():
    x = forcing(200, 30, amplitude=2.0, angular_velocity=0.7, circle=True, seed=1).values
    for lag in (1, 9):
        squares = np.sum((x[lag:] - x[:-lag]) ** 2, axis=1)
        np.testing.assert_allclose(squares, 16 * np.sin(0.7 * lag / 2) ** 2, rtol=1e-9)
    modes = forcing(200, amplitude=2.0, angular_velocity=0.7, circle=True, seed=1).values
    assert signed_area(modes, 1) == pytest.approx(4 * np.sin(0.7), rel=1e-12)


def test_on_a_line_it_goes_back_and_forth():
    options = {"amplitude": 2.0, "angular_velocity": 0.7, "seed": 1}
    phases = np.arange(64) * 2 * np.pi / 64
    x = np.array([forcing(20, 5, phase=p, **options).values for p in phases])
    assert np.linalg.matrix_rank(x[3]) == 1
    for lag in (1, 6):
        squares = np.sum((x[:, lag] - x[:, 0]) ** 2, axis=1)
        assert squares.mean() == pytest.approx(8 * np.sin(0.7 * lag / 2) ** 2, rel=1e-9)


def test_at_the_nyquist_frequency_it_alternates_with_period_two():
    x = forcing(50, amplitude=3.0, angular_velocity=np.pi, phase=0.5, seed=0).values[:, 0]
    np.testing.assert_allclose(x, 3 * np.cos(0.5) * (-1.0) ** np.arange(50), atol=1e-12)


def test_beyond_one_over_the_curvature_descent_alternates_with_noise():
    loss = quadratic_loss(np.eye(40), np.eye(40), n_samples=200, seed=0)
    x = [
        stochastic_gradient_descent(12, loss=loss, optimizer=Optimizer(1.7, 8), seed=s).values
        for s in range(300)
    ]
    variance = np.mean(np.square(x), axis=(1, 2))
    for lag in (1, 2, 3):
        products = [np.mean(each[lag:] * each[:-lag]) for each in x]
        assert_agrees(products, (1 - 1.7) ** lag * variance.mean(), precision=0.03, of=1)


@pytest.mark.parametrize("name", ["amplitude", "angular_velocity", "phase"])
def test_a_force_that_is_not_finite_is_refused(name):
    options = {"amplitude": 1.0, "angular_velocity": 1.0, "seed": 0, name: np.inf}
    with pytest.raises(OptionError, match=rf"^{name}=inf: a finite number expected\.$"):
        forcing(9, **options)
