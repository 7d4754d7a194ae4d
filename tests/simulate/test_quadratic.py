import numpy as np
import pytest

from trajscope.errors import OptionError
from trajscope.simulate import Optimizer, QuadraticLoss, diffusion_matrix, quadratic_loss

HESSIAN = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 0.4]])
COVARIANCES = {
    "isotropic": np.eye(3),
    "full": np.array([[1.0, 0.6, 0.1], [0.6, 2.0, -0.3], [0.1, -0.3, 0.5]]),
    "of rank 1": np.outer([1.0, -2.0, 0.5], [1.0, -2.0, 0.5]),
    "zero": np.zeros((3, 3)),
}


@pytest.mark.parametrize("diffusion", COVARIANCES.values(), ids=COVARIANCES)
@pytest.mark.parametrize("n_samples", [4, 50])
def test_the_gradients_have_exactly_the_covariance_asked_for_and_no_mean(diffusion, n_samples):
    loss = quadratic_loss(HESSIAN, diffusion, n_samples=n_samples, seed=0)
    g = loss.gradients_at_minimum
    assert (loss.n_samples, loss.n_modes) == g.shape == (n_samples, 3)
    np.testing.assert_allclose(g.mean(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(np.cov(g.T, ddof=0), diffusion, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(diffusion_matrix(loss), diffusion, rtol=1e-12, atol=1e-12)


def test_the_gradients_are_those_of_parabolas_about_their_centres():
    loss = quadratic_loss(HESSIAN, COVARIANCES["full"], n_samples=6, seed=1)
    centres = -np.linalg.solve(HESSIAN, loss.gradients_at_minimum.T).T
    position, h = np.array([0.3, -1.0, 2.0]), 1e-4
    for gradient, centre in zip(loss.sample_gradients(position), centres, strict=True):

        def value(x, centre=centre):
            return (x - centre) @ HESSIAN @ (x - centre) / 2

        differences = [(value(position + h * e) - value(position - h * e)) / (2 * h)
                       for e in np.eye(3)]  # fmt: skip
        np.testing.assert_allclose(gradient, differences, rtol=1e-8)


def test_the_gradients_have_the_same_covariance_everywhere():
    loss = quadratic_loss(HESSIAN, COVARIANCES["full"], n_samples=9, seed=2)
    gradients = loss.sample_gradients(np.array([5.0, -3.0, 1.0]))
    np.testing.assert_allclose(gradients.mean(axis=0), HESSIAN @ [5.0, -3.0, 1.0])
    np.testing.assert_allclose(np.cov(gradients.T, ddof=0), diffusion_matrix(loss))


def test_the_same_seed_draws_the_same_samples():
    first, again, other = (
        quadratic_loss(HESSIAN, np.eye(3), n_samples=8, seed=seed).gradients_at_minimum
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.isclose(first, other).any()


@pytest.mark.parametrize(
    ("hessian", "diffusion", "n_samples", "message"),
    [
        (np.ones(3), np.eye(3), 9,
         r"^hessian=array of shape \(3,\): a square matrix of finite numbers expected\.$"),
        (np.eye(3) * np.nan, np.eye(3), 9,
         r"^hessian=array of shape \(3, 3\): a square matrix of finite"),
        (np.triu(np.ones((3, 3))), np.eye(3), 9,
         r"^hessian=matrix that differs from its transpose by 1: a symmetric matrix expected\.$"),
        (np.eye(3), np.tril(np.ones((3, 3))), 9,
         r"^diffusion=matrix that differs from its transpose by 1: a symmetric matrix"),
        (np.eye(3), np.eye(2), 9,
         r"^diffusion=matrix of 2 modes: as many modes as the Hessian's 3 expected\.$"),
        (np.eye(3), np.diag([1, -0.5, 1]), 9,
         r"^diffusion=matrix with eigenvalue -0\.5: no negative eigenvalue expected\.$"),
        (np.eye(3), np.eye(3), 3, r"^n_samples=3: more samples than the 3 modes expected\.$"),
    ],
)  # fmt: skip
def test_a_loss_that_cannot_be_is_refused(hessian, diffusion, n_samples, message):
    with pytest.raises(OptionError, match=message):
        quadratic_loss(hessian, diffusion, n_samples=n_samples, seed=0)


@pytest.mark.parametrize(
    ("gradients", "message"),
    [
        (np.ones((4, 2)),
         r"^gradients_at_minimum=array of shape \(4, 2\): shape \(sample, 3\), as the Hessian has "
         r"it, expected\.$"),
        (np.ones((4, 3)),
         r"^gradients_at_minimum=array whose mean is up to 1: finite numbers of mean 0 over "
         r"samples expected\.$"),
        (np.full((4, 3), np.nan), r"^gradients_at_minimum=array whose mean is up to nan: finite"),
    ],
)  # fmt: skip
def test_gradients_that_do_not_fit_their_loss_are_refused(gradients, message):
    with pytest.raises(OptionError, match=message):
        QuadraticLoss(np.eye(3), gradients)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"learning_rate": 0.0},
            r"^learning_rate=0\.0: a positive number, from 1e-100 to 1e100, expected\.$",
        ),
        ({"batch_size": 0}, r"^batch_size=0: at least 1 sample expected\.$"),
        ({"momentum": 1.0}, r"^momentum=1\.0: from 0 to below 1 expected\.$"),
    ],
)
def test_settings_that_cannot_be_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        Optimizer(**{"learning_rate": 0.1, "batch_size": 2, **options})


def test_batches_that_do_not_divide_the_samples_are_refused_where_epochs_are_shuffled():
    loss = quadratic_loss(np.eye(3), np.eye(3), n_samples=9, seed=0)
    assert Optimizer(0.1, 2).batches_per_epoch(loss.n_samples) == 1
    assert Optimizer(0.1, 3, with_replacement=False).batches_per_epoch(loss.n_samples) == 3
    message = (
        r"^batch_size=2: sampling without replacement needs a divisor of the sample size, 9\.$"
    )
    with pytest.raises(OptionError, match=message):
        Optimizer(0.1, 2, with_replacement=False).batches_per_epoch(loss.n_samples)
