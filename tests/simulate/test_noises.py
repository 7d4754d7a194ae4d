import numpy as np
import pytest
from scipy import stats

from tests.simulate.standard_errors import assert_agrees, assert_distributed
from trajscope.errors import OptionError
from trajscope.simulate import clustered, stable, student_t


def test_student_noise_has_unit_variance_and_the_law_of_t():
    drawn = student_t(5)(np.random.default_rng(0), (500, 40))
    assert_distributed(drawn, stats.t(5, scale=np.sqrt(3 / 5)).cdf)


@pytest.mark.parametrize("alpha", [0.7, 1.0, 1.6, 2.0])
def test_stable_noise_has_its_characteristic_function(alpha):
    drawn = stable(alpha)(np.random.default_rng(1), (4000, 10))
    for k in (0.3, 1.0, 3.0):
        assert_agrees(np.cos(k * drawn), np.exp(-(k**alpha) / 2), precision=0.02, of=1)
    law = {1.0: stats.cauchy(scale=0.5), 2.0: stats.norm()}.get(alpha)
    if law is not None:
        assert_distributed(drawn, law.cdf)


def test_clustered_noise_is_uncorrelated_but_its_squares_are_not():
    law = clustered(persistence=4.0, spread=0.6)
    e = np.array([law(np.random.default_rng(seed), (9, 2)) for seed in range(40_000)])
    assert_agrees(e[:, :, 0] ** 2, 1.0, precision=0.02)
    assert_agrees(e[:, 1:] * e[:, :-1], 0.0, precision=0.02)
    for lag in (1, 5):
        expected = np.exp(0.36 * np.exp(-lag / 4))
        assert_agrees(e[:, 0, 0] ** 2 * e[:, lag, 0] ** 2, expected, precision=0.03)
    assert_agrees(e[:, 3, 0] ** 2 * e[:, 3, 1] ** 2, np.exp(0.36), precision=0.03)
    assert_agrees(e[:, 3, 0] ** 4, 3 * np.exp(0.36), precision=0.04)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: student_t(2.0), r"^degrees_of_freedom=2\.0: a finite number above 2"),
        (lambda: stable(2.1), r"^alpha=2\.1: a number above 0, up to 2 expected\.$"),
        (lambda: clustered(persistence=0, spread=1), r"^persistence=0: a positive number of"),
        (lambda: clustered(persistence=1, spread=-1), r"^spread=-1: a finite number of at least"),
    ],
)
def test_laws_that_cannot_be_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()
