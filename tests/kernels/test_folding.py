import numpy as np
import pytest

from trajscope.kernels.folding import WIDTH, add_folded


def folded(weights, pieces=(), seed=0):
    total = np.zeros(WIDTH)
    for start, stop in zip((0, *pieces), (*pieces, len(weights)), strict=True):
        add_folded(total, weights[start:stop], first=start, seed=seed)
    return total


@pytest.mark.parametrize("n_weights", [1, 1000, 1024, 5000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pieces_add_up_to_the_whole(n_weights, dtype):
    weights = np.random.default_rng(0).normal(size=n_weights).astype(dtype)
    cuts = [cut for cut in (WIDTH, 3 * WIDTH) if cut < n_weights]
    np.testing.assert_allclose(folded(weights, cuts), folded(weights), rtol=1e-12, atol=1e-12)


def test_sums_are_linear_so_that_increments_can_be_taken_of_them():
    one, other = np.random.default_rng(0).normal(size=(2, 3000))
    np.testing.assert_allclose(folded(one - other), folded(one) - folded(other), atol=1e-12)


@pytest.mark.parametrize("places", [[0], [5, 1030], [0, 2047, 2999]])
def test_every_weight_has_one_sign_and_one_place(places):
    weights = np.zeros(3000)
    weights[places] = 2
    found = folded(weights)
    assert np.count_nonzero(found) == len(places)
    assert set(np.abs(found[found != 0])) == {2}


def test_products_are_those_of_the_weights_on_average_with_the_stated_deviation():
    rng = np.random.default_rng(0)
    one = rng.normal(size=4000) * np.geomspace(1, 1e-2, 4000)
    other = 0.5 * one + 0.1 * rng.normal(size=4000)
    found = [folded(one, seed=seed) @ folded(other, seed=seed) for seed in range(200)]
    deviation = np.sqrt(2 / WIDTH) * np.linalg.norm(one) * np.linalg.norm(other)
    assert np.std(found) < 1.2 * deviation
    assert abs(np.mean(found) - one @ other) < 4 * deviation / np.sqrt(len(found))


def test_weights_that_repeat_in_columns_do_not_fall_into_few_sums():
    # A layer of 1,024 columns of which one moves: without rotation it would be one sum.
    weights = np.zeros((200, WIDTH))
    weights[:, 7] = 1
    assert np.count_nonzero(folded(weights.ravel())) > 100
