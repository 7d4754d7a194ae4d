"""Hessian-vector products and leading eigenvectors against the whole Hessian by autograd."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from trajscope.errors import OptionError
from trajscope.model.eigenvectors import leading_eigenvectors
from trajscope.model.hessian import Hessian, Place
from trajscope.model.losses import at_work
from trajscope.model.mapping import loaded_state, map_parameters
from trajscope.model.problem import Problem
from trajscope.model.samples import Samples

BATCH = 6


def cross_entropy(model, batch):
    inputs, labels = batch
    return nn.functional.cross_entropy(model(inputs), labels)


NETWORKS = {
    "plain": lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)),
    "batch norm": lambda: nn.Sequential(
        nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3)
    ),
    "dropout": lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Dropout(0.3), nn.Linear(5, 3)),
}


def made(name, *, decay=0.0, n_places=2, n_batches=3, loss=cross_entropy):
    torch.manual_seed(0)
    model = NETWORKS[name]()
    data = torch.randn(24, 4), torch.randint(3, (24,))
    problem = Problem(model, data, loss)
    arrays = {key: value.numpy() for key, value in model.state_dict().items() if value.ndim}
    mapping = map_parameters(model, arrays, dict.fromkeys(dict(model.named_parameters()), "all"))
    samples = Samples(data, np.arange(24), torch.device("cpu"), torch.float64)
    rng = np.random.default_rng(0)
    places = []
    for _ in range(n_places):
        moved = {
            key: value + 0.3 * rng.standard_normal(value.shape) if "running" not in key else value
            for key, value in arrays.items()
        }
        state = loaded_state(model, mapping, moved, samples.device, samples.dtype)
        rows = np.stack([rng.choice(24, BATCH, replace=False) for _ in range(n_batches)])
        places.append(Place(state, rows))
    return Hessian(problem, mapping, samples, tuple(places), decay, seed=5)


def whole(hessian):
    """Every entry, from `torch.autograd.functional.hessian` of each batch alone."""
    names = [each.name for each in hessian.mapping.parameters]
    total, count = 0, 0
    for number, place in enumerate(hessian.places):
        shapes = [place.state[name].shape for name in names]
        start = torch.cat([place.state[name].flatten() for name in names])
        for position, rows in enumerate(place.rows):
            batch = hessian.samples.picked(rows.tolist())

            def value(flat, place=place, batch=batch, shapes=shapes, number=number, at=position):
                torch.manual_seed(5 + 100_003 * number + at)
                parts = flat.split([s.numel() for s in shapes])
                own = {n: p.view(s) for n, p, s in zip(names, parts, shapes, strict=True)}
                state = {**place.state, **own}
                found = torch.func.functional_call(hessian.problem.model, state, (batch[0],))
                return nn.functional.cross_entropy(found, batch[1])

            total = total + torch.autograd.functional.hessian(value, start)
            count += 1
    return total / count + hessian.weight_decay * torch.eye(len(start), dtype=start.dtype)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("name", NETWORKS)
def test_products_are_those_of_the_whole_hessian(name, mode):
    hessian = made(name, decay=0.01)
    with at_work(hessian.problem.model, mode):
        expected = whole(hessian)
        vectors = torch.randn(4, len(expected), dtype=torch.float64)
        found = hessian.product(vectors)
    torch.testing.assert_close(found, vectors @ expected, rtol=1e-9, atol=1e-12)


def test_train_mode_is_another_hessian_with_batch_norm():
    hessian = made("batch norm")
    vectors = torch.eye(hessian.mapping.n_weights, dtype=torch.float64)[:2]
    products = []
    for mode in ("eval", "train"):
        with at_work(hessian.problem.model, mode):
            products.append(hessian.product(vectors))
    assert (products[0] - products[1]).abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_leading_eigenvectors_are_those_of_the_whole_hessian(dtype):
    hessian = made("plain", decay=0.01)
    with at_work(hessian.problem.model, "eval"):
        matrix = whole(hessian).to(dtype)
    found = leading_eigenvectors(lambda v: v @ matrix, matrix[0], 6, tolerance=1e-5)
    values, vectors = np.linalg.eigh(matrix.double().numpy())
    np.testing.assert_allclose(found.values, values[::-1][:6], rtol=2e-4, atol=1e-6)
    overlap = found.vectors.double().numpy() @ vectors[:, ::-1][:, :6]
    np.testing.assert_allclose(np.linalg.svd(overlap)[1], 1, atol=1e-4)
    residual = (found.vectors @ matrix).double().numpy() - (
        found.values[:, None] * found.vectors.double().numpy()
    )
    np.testing.assert_allclose(np.linalg.norm(residual, axis=1), found.residuals, atol=1e-6)
    assert found.residuals.max() <= 1.1e-5 * values[-1]


def test_a_large_matrix_takes_few_products_and_restarts():
    rng = np.random.default_rng(0)
    n = 600
    rotation = np.linalg.qr(rng.standard_normal((n, n))).Q
    spectrum = np.r_[1 / np.arange(1, 41), 0.02 * rng.random(n - 41), -0.3]
    matrix = torch.as_tensor(rotation * spectrum @ rotation.T)
    found = leading_eigenvectors(lambda v: v @ matrix, matrix[0], 12, tolerance=1e-4)
    np.testing.assert_allclose(found.values, spectrum[:12], atol=2e-4)
    assert found.lowest == pytest.approx(-0.3, abs=1e-2)
    assert found.n_products < n / 2


@pytest.mark.parametrize("block", [1, 4, 30])
@pytest.mark.parametrize("values", [[1.0] * 20, [0.0] * 20, [3.0, 2.0] + [0.0] * 18, [-1.0] * 20])
def test_an_invariant_space_is_left_for_the_rest(values, block):
    matrix = torch.diag(torch.tensor(values, dtype=torch.float64))
    found = leading_eigenvectors(lambda v: v @ matrix, matrix[0], 6, block=block)
    np.testing.assert_allclose(found.values, sorted(values, reverse=True)[:6], atol=1e-12)
    np.testing.assert_allclose(found.vectors @ found.vectors.T, np.eye(6), atol=1e-12)


def test_vectors_one_by_one_have_the_same_products(monkeypatch):
    together, alone = made("plain"), made("plain")
    monkeypatch.setattr("trajscope.model.hessian._MAPPED", 0)
    with at_work(alone.problem.model, "eval"):
        assert not alone.maps
        vectors = torch.randn(3, alone.mapping.n_weights)
        one_by_one = alone.product(vectors)
        monkeypatch.undo()
        assert together.maps
        torch.testing.assert_close(together.product(vectors), one_by_one, rtol=1e-4, atol=1e-5)


def test_gradients_are_those_of_the_batches():
    hessian = made("plain")
    rows = list(hessian.gradients())
    assert [number for number, _ in rows] == [0, 0, 0, 1, 1, 1]
    assert [len(row) for _, row in rows] == [1] * 6
    together = list(hessian.gradients(2))
    torch.testing.assert_close(
        torch.cat([row for _, row in together]), torch.cat([row for _, row in rows])
    )
    place = hessian.places[1]
    model = hessian.problem.model.double()
    model.load_state_dict(dict(place.state))
    model.zero_grad()
    batch = hessian.samples.picked(place.rows[0].tolist())
    cross_entropy(model, batch).backward()
    expected = torch.cat([p.grad.flatten() for p in model.parameters()])
    torch.testing.assert_close(rows[3][1][0], expected)


def test_batch_sharpness_is_the_curvature_of_batches_along_their_gradients():
    hessian = made("plain", decay=0.01)
    curved = total = 0.0
    for number, place in enumerate(hessian.places):
        for rows in place.rows:
            one = replace(hessian, places=(Place(place.state, rows[None]),))
            gradient = next(one.gradients())[1][0]
            names = [each.name for each in hessian.mapping.parameters]
            gradient = gradient + 0.01 * torch.cat([place.state[n].flatten() for n in names])
            curved += float(gradient @ one.product(gradient[None])[0])
            total += float(gradient @ gradient)
        assert number < 2
    assert hessian.batch_sharpness() == pytest.approx(curved / total, rel=1e-9)


def test_a_loss_that_cannot_be_differentiated_twice_is_found_out():
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.square().sum()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, gradient):
            (x,) = ctx.saved_tensors
            return 2 * x * gradient

    hessian = made("plain", loss=lambda model, batch: Once.apply(model(batch[0])))
    with pytest.raises(OptionError, match="products of the problem's loss differ"):
        hessian.check()


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("name", NETWORKS)
def test_right_products_pass_the_check(name, mode):
    hessian = made(name, decay=0.01)
    with at_work(hessian.problem.model, mode):
        hessian.check()


def test_an_error_of_the_second_derivative_is_told_in_words():
    class Failing(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.square().sum()

        @staticmethod
        def backward(ctx, gradient):
            return Broken.apply(gradient)

    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx, gradient):
            return gradient.expand(BATCH, 3)

        @staticmethod
        def backward(ctx, gradient):
            raise NotImplementedError("no second derivative here")

    hessian = made("plain", loss=lambda model, batch: Failing.apply(model(batch[0])) ** 2)
    vectors = torch.randn(2, hessian.mapping.n_weights, dtype=torch.float64)
    with pytest.raises(OptionError, match=r"differentiated twice, .* no second derivative here"):
        hessian.product(vectors)
