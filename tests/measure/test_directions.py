"""Projections on given directions, as one more sum of the pass, against plain products."""

import dask.array
import numpy as np
import pytest
import xarray as xr

from trajscope import OptionError, simulate
from trajscope.arrays import as_trajectory
from trajscope.measure.directions import Directions
from trajscope.measure.executor import executor
from trajscope.measure.measurement import measure


def measured(array, vectors, *, workers=None, windows=()):
    trajectory = as_trajectory(array)
    with executor(workers, None) as running:
        return measure(
            trajectory, running, memory=1 << 31, seed=0, windows=windows,
            directions=Directions(vectors), progress=lambda *_: None,
        )  # fmt: skip


def test_they_are_the_products_with_the_displacements():
    array = simulate.brownian(50, 300, seed=0)
    vectors = np.random.default_rng(0).standard_normal((4, 300))
    whole, part = measured(array, vectors, windows=[(10, 40)])
    found = whole.reductions["projection"]
    assert found.dims == ("step", "direction")
    expected = (array.values - array.values[0]) @ vectors.T
    np.testing.assert_allclose(found.values, expected, rtol=1e-10, atol=1e-10)
    assert "projection" not in part.reductions


def test_small_motion_about_large_weights_keeps_its_digits():
    rng = np.random.default_rng(0)
    moved = (1e-4 * rng.standard_normal((40, 500))).cumsum(axis=0)
    stored = (5 + moved).astype(np.float32)
    vectors = np.linalg.qr(rng.standard_normal((500, 3))).Q.T
    (whole,) = measured(xr.DataArray(stored, dims=("step", "weight")), vectors)
    expected = (stored.astype(np.float64) - stored[0]) @ vectors.T
    np.testing.assert_allclose(whole.reductions["projection"].values, expected, atol=1e-9)


def test_any_cut_into_tasks_gives_the_same():
    array = simulate.brownian(30, 9000, seed=0)
    vectors = np.random.default_rng(0).standard_normal((2, 9000))
    lazy = xr.DataArray(dask.array.from_array(array.values, (30, 1000)), dims=array.dims)
    (whole,), (cut,) = measured(array, vectors), measured(lazy, vectors)
    np.testing.assert_allclose(
        whole.reductions["projection"], cut.reductions["projection"], rtol=1e-11, atol=1e-9
    )


@pytest.mark.parametrize("vectors", [np.ones((2, 4)), np.ones(5), np.full((1, 5), np.nan)])
def test_directions_of_other_weights_are_refused(vectors):
    with pytest.raises(OptionError, match="directions has shape"):
        measured(simulate.brownian(20, 5, seed=0), vectors)


def test_finished_parts_along_other_directions_are_not_taken_for_these():
    one, other = (np.eye(2, 6) * size for size in (1, 2))
    assert Directions(one).digest() == Directions(one.copy()).digest()
    assert Directions(one).digest() != Directions(other).digest()
    assert Directions(np.ones((1, 4))).digest() != Directions(np.ones((2, 2))).digest()
