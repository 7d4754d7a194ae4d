import numpy as np
import pytest
from scipy.optimize import brentq

from trajscope.kernels.roots import crossing

FUNCTIONS = {
    "line": lambda x: 3 * x - 1,
    "cube": lambda x: x**3 - 2,
    "flat": lambda x: (x - 0.3) ** 5,
    "steep": lambda x: np.tanh(40 * (x - 1.234)),
    "decay": lambda x: np.exp(-x) - 0.2,
    "root at an end": lambda x: x - 4,
}


@pytest.mark.parametrize("relative", [1e-3, 1e-9])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_root_is_bit_for_bit_that_of_scipy(name, relative):
    f = FUNCTIONS[name]
    for low in np.linspace(-3, 0, 7):
        assert crossing(f, low, 4.0, relative) == brentq(f, low, 4.0, rtol=relative)
        assert crossing(f, 4.0, low, relative) == brentq(f, 4.0, low, rtol=relative)
