import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from tests.measure.passes import lazy
from trajscope.measure.joint import Joint
from trajscope.measure.stack import Stack


def variables(*arrays):
    return [xr.Variable(("step", "weight"), x) for x in arrays]


def naive(arrays, places):
    """All steps of the shared tensors, one run behind another."""
    parts = [
        np.concatenate([x[:, a:b] for a, b in own], axis=1)
        for x, own in zip(arrays, places, strict=True)
    ]
    return np.concatenate(parts)


@given(st.data())
def test_any_part_of_a_stack_is_that_of_the_tensors_put_together(data):
    rng = np.random.default_rng(0)
    sizes = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    arrays, places = [], []
    for _ in range(data.draw(st.integers(1, 3))):
        order = data.draw(st.permutations(range(len(sizes))))
        gaps = [data.draw(st.integers(0, 2)) for _ in sizes]
        start, own = 0, {}
        for tensor, gap in zip(order, gaps, strict=True):
            own[tensor] = (start + gap, start + gap + sizes[tensor])
            start += gap + sizes[tensor]
        arrays.append(rng.standard_normal((data.draw(st.integers(1, 4)), start)))
        places.append([own[tensor] for tensor in range(len(sizes))])
    stack = Stack(variables(*arrays), places)
    expected = naive(arrays, places)
    assert stack.shape == expected.shape
    first = data.draw(st.integers(0, expected.shape[1]))
    last = data.draw(st.integers(first, expected.shape[1]))
    np.testing.assert_array_equal(stack[:, first:last], expected[:, first:last])


@pytest.mark.parametrize("hold", [np.asarray, dask.array.from_array, lambda x: lazy(x).variable])
def test_a_stack_reads_arrays_however_they_are_held(hold):
    x = np.random.default_rng(1).standard_normal((3, 10)).astype(np.float32)
    source = hold(x)
    source = source if isinstance(source, xr.Variable) else xr.Variable(("step", "weight"), source)
    stack = Stack([source, source], [[(2, 6)], [(0, 4)]])
    assert stack.dtype == np.float32
    np.testing.assert_array_equal(stack[:, 1:3], np.concatenate([x[:, 3:5], x[:, 1:3]]))


def test_a_stack_is_as_wide_as_its_widest_run():
    one, other = np.ones((2, 3), np.float32), np.ones((2, 3))
    assert Stack(variables(one, other), [[(0, 3)]] * 2).dtype == np.float64


@pytest.mark.parametrize("scale", [1, 1e-25, 1e25])
def test_joint_sums_match_their_definition_at_any_magnitude(scale):
    x = (scale * np.random.default_rng(2).standard_normal((6, 50))).astype(np.float32)
    joint = Joint((0, 2, 5), ((0, 1), (3, 5)))
    parts = [joint.sums(x[:, :20]), joint.sums(x[:, 20:])]
    exact = x.astype(np.float64)
    centred = exact[[0, 2, 5]] - exact[[0, 2, 5]].mean(axis=0)
    distances = [((exact[a] - exact[b]) ** 2).sum() for a, b in joint.pairs]
    np.testing.assert_allclose(
        sum(part["joint_gram"] for part in parts), centred @ centred.T, rtol=1e-4,
        atol=1e-5 * scale**2,
    )  # fmt: skip
    np.testing.assert_allclose(
        sum(part["squared_distance"] for part in parts), distances, rtol=1e-5
    )
