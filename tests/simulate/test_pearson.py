import numpy as np
import pytest
from scipy import stats

from tests.simulate.standard_errors import (
    assert_agrees,
    assert_distributed,
    lagged_products,
    signed_area,
)
from trajscope.errors import OptionError
from trajscope.simulate import pearson_diffusion


def test_pearson_diffusion_keeps_the_law_of_student_and_the_autocovariance_of_a_well():
    degrees = 7.0
    x = pearson_diffusion(16, taus=[4.0] * 20_000, degrees_of_freedom=degrees, seed=0).values
    law = stats.t(degrees, scale=np.sqrt((degrees - 2) / degrees))
    assert_distributed(x[0], law.cdf)
    assert_distributed(x[-1], law.cdf)
    for lag in (0, 1, 5):
        assert_agrees(lagged_products(x, lag), np.exp(-lag / 4), precision=0.03, of=1)
    k = 1 / (degrees - 1)
    for step in (1, 6):
        kept = np.exp(-2 * (1 - k) * step / 4)
        predicted = 1 + (x[0] ** 2 - 1) * kept
        for weight in (np.ones(20_000), x[0] ** 2 < 0.5, x[0] ** 2 > 2):
            assert_agrees(weight * (x[step] ** 2 - predicted), 0.0, precision=0.03, of=1)


def test_pearson_diffusion_is_reversible_between_its_modes():
    x = [
        pearson_diffusion(40, taus=[2.0, 6.0], degrees_of_freedom=5, seed=seed).values
        for seed in range(300)
    ]
    assert_agrees([signed_area(each, 1) for each in x], 0.0, precision=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"taus": [0.0]}, r"^taus=\[0\.0\]: a sequence of one or more positive numbers of steps"),
        ({"degrees_of_freedom": 2}, r"^degrees_of_freedom=2: a finite number above 2, where the"),
    ],
)
def test_pearson_diffusions_that_cannot_be_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        pearson_diffusion(9, seed=0, **{"taus": [1.0], "degrees_of_freedom": 5, **options})
