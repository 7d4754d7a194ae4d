"""Inner products on either side: those of a device run on the processor too."""

import numpy as np
import pytest
import torch

from trajscope.gradient_noise.spectrum.products import (
    _add_lower,
    add_factored_products,
    add_products,
)


def lower(gram):
    return np.tril(gram.numpy())


@pytest.mark.parametrize("n", [1, 5, 193, 401])
def test_products_by_halves_are_those_of_one_product(n):
    rows = torch.as_tensor(np.random.default_rng(n).standard_normal((n, 7)))
    gram = torch.ones((n, n), dtype=torch.float64)
    _add_lower(gram, rows)
    np.testing.assert_allclose(lower(gram), np.tril(1 + rows.numpy() @ rows.numpy().T), atol=1e-12)


@pytest.mark.parametrize("n_columns", [0, 1, 3000])
@pytest.mark.parametrize("layout", ["rows", "columns", "strided"])
def test_products_of_any_layout_are_added(layout, n_columns):
    values = np.random.default_rng(0).standard_normal((6, n_columns)).astype(np.float32)
    rows = torch.as_tensor(values)
    if layout == "columns":
        rows = torch.as_tensor(np.asfortranarray(values))
    elif layout == "strided":
        rows = torch.zeros((6, 2 * n_columns))
        rows[:, ::2] = torch.as_tensor(values)
        rows = rows[:, ::2]
    gram = torch.ones((6, 6), dtype=torch.float64)
    add_products(gram, rows)
    expected = 1 + values.astype(np.float64) @ values.astype(np.float64).T
    np.testing.assert_allclose(lower(gram), np.tril(expected), rtol=1e-12, atol=1e-9)


def test_products_reach_a_matrix_that_is_part_of_another():
    rows = torch.as_tensor(np.random.default_rng(0).standard_normal((4, 9)))
    whole = torch.zeros((8, 8), dtype=torch.float64)
    add_products(whole[::2, ::2], rows)
    np.testing.assert_allclose(np.tril(whole[::2, ::2].numpy()), np.tril(rows @ rows.T))
    assert not whole[1::2].any()


@pytest.mark.parametrize("positions", [1, 3])
def test_products_of_factors_are_those_of_the_gradients(positions):
    rng = np.random.default_rng(1)
    entered, returned = (
        torch.as_tensor(rng.standard_normal((5, positions, width))) for width in (4, 2)
    )
    gradients = (returned.mT @ entered).flatten(1)
    gram = torch.ones((5, 5), dtype=torch.float64)
    add_factored_products(gram, entered, returned)
    np.testing.assert_allclose(lower(gram), np.tril(1 + gradients @ gradients.T), atol=1e-12)
