import numpy as np
import pytest
import torch

from tests.simulate.standard_errors import assert_agrees, signed_area
from trajscope.errors import OptionError
from trajscope.simulate import (
    Optimizer,
    cosine,
    lagged_covariance,
    quadratic_loss,
    signed_area_rates,
    stationary_covariance,
    stepped,
    stochastic_gradient_descent,
)

HESSIAN = np.array([[1.3, 0.5], [0.5, 0.4]])
DIFFUSION = np.array([[0.3, 0.6], [0.6, 1.7]])  # far from commuting with it
LOSS = quadratic_loss(HESSIAN, DIFFUSION, n_samples=12, seed=0)
FLAT = quadratic_loss(np.zeros((2, 2)), DIFFUSION, n_samples=12, seed=0)
MOMENTA = [(0.0, False), (0.6, False), (0.6, True)]
in_every_way = pytest.mark.parametrize(("momentum", "nesterov"), MOMENTA)


@in_every_way
def test_with_all_samples_in_a_batch_it_is_the_descent_of_torch(momentum, nesterov):
    start = [2.0, -3.0]
    optimizer = Optimizer(0.2, 12, momentum, nesterov, with_replacement=False)
    x = stochastic_gradient_descent(15, loss=LOSS, optimizer=optimizer, seed=0, start=start)
    weights = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    theirs = torch.optim.SGD([weights], lr=0.2, momentum=momentum, nesterov=nesterov)
    path = [weights.detach().clone()]
    for _ in range(14):
        theirs.zero_grad()
        (weights @ torch.tensor(HESSIAN) @ weights / 2).backward()
        theirs.step()
        path.append(weights.detach().clone())
    np.testing.assert_allclose(x, torch.stack(path), rtol=1e-12, atol=1e-13)


def test_dampening_is_a_lower_learning_rate():
    damped, same = Optimizer(0.2, 3, 0.6, dampening=0.25), Optimizer(0.15, 3, 0.6)
    x, y = (
        stochastic_gradient_descent(15, loss=LOSS, optimizer=each, seed=0)
        for each in (damped, same)
    )
    np.testing.assert_allclose(x, y)


OPTIMIZERS = {
    "plain": (Optimizer(0.5, 3), 1),
    "every third update": (Optimizer(0.5, 3), 3),
    "heavy ball": (Optimizer(0.3, 3, 0.6), 1),
    "Nesterov": (Optimizer(0.3, 3, 0.6, nesterov=True), 2),
    "shuffled": (Optimizer(0.5, 3, with_replacement=False), 4),
    "shuffled heavy ball": (Optimizer(0.3, 6, 0.6, with_replacement=False), 4),
}


IN_CI = ("Nesterov", "shuffled heavy ball")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "m"),
    [
        pytest.param(*each, id=name, marks=[pytest.mark.slice] if name in IN_CI else [])
        for name, each in OPTIMIZERS.items()
    ],
)
def test_checkpoints_have_the_closed_forms_from_the_first_to_the_last(optimizer, m):
    x = np.array(
        [
            stochastic_gradient_descent(
                12, loss=LOSS, optimizer=optimizer, seed=seed, updates_per_checkpoint=m
            ).values
            for seed in range(1200)
        ]
    )
    covariance = stationary_covariance(LOSS, optimizer)
    size = np.trace(covariance)
    assert_agrees(x[:, [0, 11]], 0.0, precision=0.05, of=np.sqrt(size))
    for step in (0, 11):
        outer = np.einsum("si,sj->sij", x[:, step], x[:, step])
        assert_agrees(outer, covariance, precision=0.05, of=size)
    after = np.einsum("sti,stj->sij", x[:, 1:], x[:, :-1]) / 11
    assert_agrees(after, lagged_covariance(LOSS, optimizer, m), precision=0.03, of=size)
    areas = [signed_area(each, 1) for each in x]
    expected = signed_area_rates(LOSS, optimizer, m)[0, 1]
    assert abs(expected) > 0.08 * size
    assert_agrees(areas, expected, precision=0.01, of=size)
    squares = np.sum((x[:, 11] - x[:, 8]) ** 2, axis=1)
    forgotten = covariance - lagged_covariance(LOSS, optimizer, 3 * m)
    assert_agrees(squares, 2 * np.trace(forgotten), precision=0.05)


def test_on_a_flat_loss_a_shuffled_epoch_ends_where_it_began():
    optimizer = Optimizer(0.3, 3, with_replacement=False)
    x = stochastic_gradient_descent(13, loss=FLAT, optimizer=optimizer, seed=1, start=[1.0, 2.0])
    np.testing.assert_allclose(x[::4], np.tile([1.0, 2.0], (4, 1)), rtol=1e-13)
    assert np.abs(x[[1, 2, 3, 5, 6, 7]] - x[0]).min() > 1e-3


@pytest.mark.parametrize("curvature", [0.0, 0.8])
def test_within_an_epoch_the_batches_cancel_by_the_closed_form(curvature):
    loss = quadratic_loss(curvature * np.eye(12), 2 * np.eye(12), n_samples=24, seed=3)
    optimizer = Optimizer(0.3, 4, with_replacement=False)
    x = np.array(
        [
            stochastic_gradient_descent(
                7, loss=loss, optimizer=optimizer, seed=seed, start=[0.0] * 12
            ).values
            for seed in range(600)
        ]
    )
    n, c = 6, 2 / 4 * 20 / 23
    powers = (1 - 0.3 * curvature) ** np.arange(n)
    sums = [(powers[:j] ** 2).sum() * n - powers[:j].sum() ** 2 for j in range(n + 1)]
    expected = 0.3**2 * c * np.array(sums) / (n - 1)
    if curvature == 0:
        j = np.arange(7)
        np.testing.assert_allclose(expected, 0.09 * c * j * (n - j) / (n - 1), atol=1e-15)
    assert_agrees((x**2).mean(axis=2), expected, precision=0.03)


def test_a_schedule_gives_the_mean_and_the_variance_of_the_recursion():
    loss = quadratic_loss(np.diag([0.5, 2.0]), np.eye(2), n_samples=50, seed=1)
    options = {"loss": loss, "optimizer": Optimizer(0.6, 5), "start": [3.0, -3.0]}
    runs = [
        stochastic_gradient_descent(
            5, seed=seed, schedule=cosine(), updates_per_checkpoint=3, **options
        )
        for seed in range(1200)
    ]
    rates = 0.6 * (1 + np.cos(np.pi * np.arange(13) / 12)) / 2
    np.testing.assert_allclose(runs[0]["learning_rate"], rates[::3], atol=1e-15)
    curvatures, mean, variance = np.array([0.5, 2.0]), np.array([3.0, -3.0]), np.zeros(2)
    x = np.array([run.values for run in runs])
    for update, rate in enumerate(rates):
        if update % 3 == 0:
            assert_agrees(x[:, update // 3], mean, precision=0.03, of=1)
            assert_agrees((x[:, update // 3] - mean) ** 2, variance, precision=0.05, of=0.1)
        decay = 1 - rate * curvatures
        mean, variance = decay * mean, decay**2 * variance + rate**2 / 5


def test_a_schedule_of_steps_changes_nothing_before_its_first_and_stops_at_zero():
    options = {"loss": LOSS, "optimizer": Optimizer(0.3, 3, 0.5), "seed": 2}
    plain = stochastic_gradient_descent(21, **options)
    scheduled = stochastic_gradient_descent(21, schedule=stepped({0.5: 0.1, 0.75: 0}), **options)
    assert scheduled[:11].drop_vars("learning_rate").identical(plain[:11])
    assert (scheduled[15:] == scheduled[15]).all()
    assert scheduled["learning_rate"].values[[0, 10, 15]].tolist() == [0.3, 0.3 * 0.1, 0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("m", "momentum"),
    [(1, 0.0), (1, 0.8), (6, 0.0), pytest.param(6, 0.8, marks=pytest.mark.slice)],
)
def test_on_a_flat_loss_momentum_walks_freely(momentum, m):
    optimizer = Optimizer(0.3, 4, momentum)
    ends = [
        stochastic_gradient_descent(
            2, loss=FLAT, optimizer=optimizer, seed=seed, start=[0.0, 0.0], updates_per_checkpoint=m
        ).values[1]
        for seed in range(2500)
    ]
    reach = sum(((1 - momentum**j) / (1 - momentum)) ** 2 for j in range(1, m + 1))
    expected = 0.3**2 * np.trace(DIFFUSION) / 4 * reach
    assert_agrees(np.sum(np.square(ends), axis=1), expected, precision=0.03)


def test_momentum_rings_at_the_frequency_of_its_curvature():
    loss = quadratic_loss(np.eye(1), np.eye(1), n_samples=4, seed=0)
    optimizer = Optimizer(0.05, 4, 0.9, with_replacement=False)
    x = stochastic_gradient_descent(60, loss=loss, optimizer=optimizer, seed=0, start=[1.0])
    w = np.arccos((1 + 0.9 - 0.05) / (2 * np.sqrt(0.9)))
    t = np.arange(60)
    sine = ((1 - 0.05) / np.sqrt(0.9) - np.cos(w)) / np.sin(w)  # from x[1] = 1 - eta h
    ringing = 0.9 ** (t / 2) * (np.cos(w * t) + sine * np.sin(w * t))
    np.testing.assert_allclose(x[:, 0], ringing, rtol=0, atol=1e-12)


@pytest.mark.parametrize("with_replacement", [True, False])
def test_more_checkpoints_of_the_same_run_are_the_same_run(with_replacement):
    options = {"loss": LOSS, "optimizer": Optimizer(0.3, 3, 0.5, with_replacement=with_replacement),
               "seed": 2}  # fmt: skip
    every = stochastic_gradient_descent(25, **options)
    some = stochastic_gradient_descent(5, updates_per_checkpoint=6, **options)
    assert some.identical(every[::6])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"updates_per_checkpoint": 0},
         r"^updates_per_checkpoint=0: at least 1 update expected\.$"),
        ({"schedule": [1.0, 0.5]},
         r"^schedule=array of shape \(2,\): one number, or one for each of 3 steps,"),
        ({"start": [1.0]}, r"^start=\[1\.0\]: a finite number for each of 2 modes expected\.$"),
        ({"start": [1.0, np.nan]}, r"^start=\[1\.0, nan\]: a finite number for each of 2 modes"),
        ({"optimizer": Optimizer(3.0, 3)}, r"^learning_rate=3\.0, under which an update"),
        ({"optimizer": Optimizer(1e3, 3), "start": [1.0, 1.0], "updates_per_checkpoint": 200},
         r"^learning_rate=1000\.0: a lower one, at which the run does not diverge, expected"),
        ({"optimizer": Optimizer(0.1, 5, with_replacement=False)},
         r"^batch_size=5: sampling without replacement needs a divisor of the sample size, 12\.$"),
        ({"optimizer": Optimizer(0.1, 5, with_replacement=False), "start": [1.0, 1.0]},
         r"^batch_size=5: sampling without replacement needs a divisor of the sample size, 12\.$"),
    ],
)  # fmt: skip
def test_descents_that_cannot_be_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        stochastic_gradient_descent(
            3, seed=0, **{"loss": LOSS, "optimizer": Optimizer(0.1, 3), **options}
        )
