from functools import partial

import numpy as np
import pytest

from tests.simulate.standard_errors import assert_agrees
from trajscope.errors import OptionError
from trajscope.schema import check_weights
from trajscope.simulate import (
    Optimizer,
    autoregressive_increments,
    brownian,
    double_well,
    hopf,
    ornstein_uhlenbeck,
    orthonormal_map,
    quadratic_loss,
    rotating_ornstein_uhlenbeck,
    stochastic_gradient_descent,
)

LOSS = quadratic_loss(np.diag([1.0, 0.3]), np.eye(2), n_samples=12, seed=0)
IN_MODES = {
    "ornstein_uhlenbeck": partial(ornstein_uhlenbeck, taus=[2.0, 5.0, 9.0]),
    "rotating_ornstein_uhlenbeck": partial(
        rotating_ornstein_uhlenbeck, rate=0.1, angular_velocity=0.3
    ),
    "hopf": partial(hopf, mu=1.0, angular_velocity=0.3, noise=0.02),
    "double_well": partial(double_well, strength=1.5),
    "stochastic_gradient_descent": partial(
        stochastic_gradient_descent, loss=LOSS, optimizer=Optimizer(0.1, 4, momentum=0.5)
    ),
    "shuffled descent": partial(
        stochastic_gradient_descent, loss=LOSS, optimizer=Optimizer(0.1, 4, with_replacement=False)
    ),
}
IN_WEIGHTS = {
    "brownian": brownian,
    "low-rank brownian": partial(brownian, rank=3, degrees_of_freedom=3.0, drift=0.1),
    "autoregressive_increments": partial(autoregressive_increments, phi=[0.5, -0.3]),
    "low-rank increments": partial(autoregressive_increments, phi=[0.5], rank=3),
}
in_modes = pytest.mark.parametrize("process", IN_MODES.values(), ids=IN_MODES)
every = pytest.mark.parametrize(
    "process", [*IN_MODES.values(), *IN_WEIGHTS.values()], ids=[*IN_MODES, *IN_WEIGHTS]
)


@every
def test_a_process_is_a_trajectory_of_float64(process):
    x = process(7, 5, seed=1)
    check_weights(x.dims, x.dtype.kind, x.sizes["step"])
    assert x.dtype == np.float64
    assert x.shape == (7, 5)
    assert x.name == "weights"
    np.testing.assert_array_equal(x["step"], np.arange(7))


@every
def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(process):
    first = process(7, 5, seed=1)
    assert first.identical(process(7, 5, seed=1))
    assert not np.isclose(first[1:], process(7, 5, seed=2)[1:]).any()


@in_modes
def test_modes_come_back_through_the_map_of_the_same_seed(process):
    x, modes = process(9, 40, seed=3), process(9, seed=3)
    v = orthonormal_map(modes.sizes["weight"], 40, seed=3)
    np.testing.assert_allclose(x.values @ v.T, modes, rtol=0, atol=1e-13)
    np.testing.assert_allclose(x.values @ x.values.T, modes.values @ modes.values.T, atol=1e-12)


@pytest.mark.parametrize("process", [IN_WEIGHTS["low-rank brownian"],
                                     IN_WEIGHTS["low-rank increments"]])  # fmt: skip
def test_a_walk_of_low_rank_stays_in_the_rows_of_its_map(process):
    x = process(30, 50, seed=4).values
    v = orthonormal_map(3, 50, seed=4)
    assert np.linalg.matrix_rank(x) == 3
    np.testing.assert_allclose(x @ v.T @ v, x, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("n_modes", "n_weights"), [(1, 1), (1, 30), (4, 9), (6, 6)])
def test_the_map_has_orthonormal_rows(n_modes, n_weights):
    v = orthonormal_map(n_modes, n_weights, seed=5)
    assert v.shape == (n_modes, n_weights)
    np.testing.assert_allclose(v @ v.T, np.eye(n_modes), rtol=0, atol=1e-14)


def test_the_map_favours_no_direction():
    maps = np.array([orthonormal_map(2, 3, seed=seed) for seed in range(2000)])
    assert_agrees(maps, np.zeros((2, 3)), precision=0.02)
    assert_agrees(np.einsum("sia,sib->siab", maps, maps), np.eye(3) / 3, precision=0.03)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hopf(1, mu=1, angular_velocity=1, noise=0, seed=0),
         r"^n_steps=1: at least 2 checkpoints expected\.$"),
        (lambda: double_well(3, strength=1, seed=-1),
         r"^seed=-1: a whole number of at least 0 expected\.$"),
        (lambda: ornstein_uhlenbeck(3, 2, taus=[1, 2, 3], seed=0),
         r"^n_weights=2: at least one for each of 3 modes expected\.$"),
        (lambda: orthonormal_map(4, 3, seed=0),
         r"^n_weights=3: at least one for each of 4 modes expected\.$"),
    ],
)  # fmt: skip
def test_what_fits_no_process_is_refused(call, message):
    with pytest.raises(OptionError, match=message):
        call()
