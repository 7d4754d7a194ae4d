import numpy as np
import pytest
from scipy.linalg import toeplitz

from tests.simulate.standard_errors import assert_agrees
from trajscope.errors import OptionError
from trajscope.simulate import fractional_brownian
from trajscope.simulate.fractional import _fractional_noise


@pytest.mark.parametrize("hurst", [0.05, 0.2, 0.5, 0.8, 0.97])
def test_fractional_brownian_motion_has_its_closed_forms(hurst):
    x = fractional_brownian(33, hurst=hurst, n_modes=8000, seed=0).values
    assert (x[0] == 0).all()
    for start, lag in ((0, 1), (7, 2), (20, 9), (0, 32)):
        measured = (x[start + lag] - x[start]) ** 2
        assert_agrees(measured, lag ** (2 * hurst), precision=0.03)
    y = np.diff(x, axis=0)
    for lag in (1, 6):
        expected = (
            (lag + 1) ** (2 * hurst) - 2 * lag ** (2 * hurst) + (lag - 1) ** (2 * hurst)
        ) / 2
        assert_agrees(y[3] * y[3 + lag], expected, precision=0.03, of=1)


class _Units:
    """Yields a linear map's matrix: every white number in turn is 1."""

    def standard_normal(self, shape):
        return np.eye(np.prod(shape[:2])).reshape(*shape[:2], -1)


@pytest.mark.parametrize("hurst", [0.01, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("n", [1, 2, 5, 40])
def test_its_covariance_is_exact_to_rounding(n, hurst):
    matrix = _fractional_noise(n, 0, hurst, _Units())
    lags = np.arange(n)
    powers = [np.abs(lags + shift) ** (2.0 * hurst) for shift in (1, 0, -1)]
    expected = toeplitz((powers[0] - 2 * powers[1] + powers[2]) / 2)
    np.testing.assert_allclose(matrix @ matrix.T, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hurst": 1.0}, r"^hurst=1\.0: a number between 0 and 1 expected\.$"),
        ({"n_modes": 0}, r"^n_modes=0: at least 1 mode expected\.$"),
    ],
)
def test_fractional_walks_that_cannot_be_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        fractional_brownian(9, **{"hurst": 0.5, "n_modes": 1, "seed": 0, **options})
