import numpy as np
import pytest

from trajscope.errors import OptionError
from trajscope.simulate import (
    cosine,
    driven_walk,
    exponential,
    frozen,
    hyperbolic,
    linear,
    logarithmic,
    stepped,
    warm_up,
)


@pytest.mark.parametrize(
    ("course", "expected"),
    [
        (hyperbolic(3.0), [1, 1 / 1.75, 0.4, 1 / 3.25, 0.25]),
        (exponential(0.01), [1, 10**-0.5, 0.1, 10**-1.5, 0.01]),
        (cosine(), [1, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2, 0]),
        (cosine(0.5), [1, 0.75 + 0.5**0.5 / 4, 0.75, 0.75 - 0.5**0.5 / 4, 0.5]),
        (stepped({0.75: 0.01, 0.5: 0.1}), [1, 1, 0.1, 0.01, 0.01]),
        (warm_up(0.5), [0, 0.5, 1, 1, 1]),
        (warm_up(0.5, then=exponential(1 / 16)), [0, 0.25, 0.25, 0.125, 0.0625]),
        (frozen(0.25, 0.75), [1, 0, 0, 1, 1]),
        (frozen(0.0, 0.5, otherwise=linear(8.0)), [0, 0, 4, 6, 8]),
        (linear(-8.0), [0, -2, -4, -6, -8]),
        (logarithmic(2.0, 3.0), [0, np.log2(1.75), np.log2(2.5), np.log2(3.25), 2]),
        ([4.0, 3.0, 2.0, 1.0, 0.0], [4, 3, 2, 1, 0]),
        (0.5, [0.5] * 5),
    ],
)
def test_a_course_goes_as_its_formula_says(course, expected):
    def ones(rng, shape):
        return np.ones(shape)

    rates = np.abs(expected)
    absolute = (lambda u: np.abs(course(u))) if callable(course) else course
    walk = driven_walk(5, n_modes=1, seed=0, noise=ones, learning_rate=absolute)
    np.testing.assert_allclose(walk["learning_rate"], rates, atol=1e-15)
    np.testing.assert_allclose(np.diff(walk[:, 0]), rates[:-1], atol=1e-15)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hyperbolic(-1.0), r"^decay=-1\.0: a finite number of at least 0 expected\.$"),
        (lambda: exponential(0.0), r"^last=0\.0: a positive number expected\.$"),
        (lambda: cosine(-0.1), r"^last=-0\.1: a finite number of at least 0 expected\.$"),
        (lambda: stepped({1.5: 2.0}), r"^values=\[1\.5\]: fractions of the run from 0 to 1"),
        (lambda: warm_up(0.0), r"^fraction=0\.0: a fraction above 0, up to 1 expected\.$"),
        (lambda: frozen(0.5, 0.5), r"^begin=0\.5: a fraction from 0 to below end=0\.5 expected"),
        (lambda: linear(np.inf), r"^distance=inf: a finite number expected\.$"),
        (lambda: logarithmic(1.0, 0.0), r"^curvature=0\.0: a positive number expected\.$"),
        (lambda: driven_walk(3, n_modes=1, seed=0, learning_rate=[1.0, 2.0]),
         r"^learning_rate=array of shape \(2,\): one number, or one for each of 3 steps,"),
        (lambda: driven_walk(3, n_modes=1, seed=0, learning_rate=linear(-1.0)),
         r"^learning_rate=course down to -1: at least 0 expected\.$"),
        (lambda: driven_walk(3, n_modes=1, seed=0, learning_rate=lambda u: u / 0),
         r"^learning_rate=array of shape \(3,\): finite numbers only expected\.$"),
        (lambda: driven_walk(3, n_modes=1, seed=0, learning_rate=np.ones((3, 1))),
         r"^learning_rate=array of shape \(3, 1\): one number per checkpoint expected\.$"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_courses_that_cannot_be_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()
