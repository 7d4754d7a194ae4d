"""Whatever holds numbers by step and weight is a trajectory; anything else is one message."""

import dask.array
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from tests.gradient_noise.networks import classification
from trajscope import OptionError, TrajectoryError, analyze, diffusion, open_trajectory, pack

ROWS = np.random.default_rng(0).standard_normal((40, 6)).cumsum(0)
KINDS = {
    "numpy": lambda rows: rows,
    "numpy, float16": lambda rows: rows.astype(np.float16),
    "memory map": lambda rows: rows.view(np.memmap),
    "dask": lambda rows: dask.array.from_array(rows, chunks=(7, 2)),
    "torch": torch.from_numpy,
    "torch, with a gradient": lambda rows: torch.from_numpy(rows).requires_grad_(),
    "list": lambda rows: rows.tolist(),
    "tuple of arrays": tuple,
    "pandas": lambda rows: pd.DataFrame(rows, index=[f"row {i}" for i in range(len(rows))]),
    "xarray": lambda rows: xr.DataArray(rows, dims=("step", "weight")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_every_kind_give_the_same_numbers(kind):
    rows = np.asarray(ROWS.astype(np.float16), float) if "16" in kind else ROWS
    expected = analyze(xr.DataArray(rows, dims=("step", "weight")), n_surrogates=199)
    found = analyze(KINDS[kind](ROWS), n_surrogates=199)
    for name in ("mean_squared_displacement", "explained_variance"):
        one, other = (each["observables"][name] for each in (expected, found))
        np.testing.assert_allclose(one, other, rtol=1e-3 if "16" in kind else 1e-9)
    assert found["trajectory"].attrs["step_unit"] == "index"


def test_the_index_of_a_data_frame_counts_steps():
    frame = pd.DataFrame(ROWS, index=np.arange(0, 400, 10))
    found = analyze(frame, n_surrogates=199)["trajectory"]
    assert found["step"].values.tolist() == list(range(0, 400, 10))
    assert found.attrs["step_unit"] == "step"


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (ROWS[:, :, None], OptionError, r"the shape .40, 6, 1.; .step, weight. .*reshape"),
        (ROWS[0], OptionError, r"the shape .6,."),
        (ROWS[:1], TrajectoryError, "1 checkpoint; at least 2"),
        (ROWS.astype(complex), TrajectoryError, "real numbers"),
        (np.array([["a", "b"], ["c", "d"]]), TrajectoryError, "real numbers"),
        ([[1.0, 2.0], [3.0]], OptionError, "a list; a folder of checkpoints"),
        ({"w": ROWS}, OptionError, "a dict; .*numpy.concatenate"),
        (None, OptionError, "a NoneType; a folder"),
        (7, OptionError, "a int; a folder"),
        (xr.DataTree(), OptionError, "a DataTree; a folder"),
    ],
)
def test_what_is_no_trajectory_is_one_message(source, error, message):
    with pytest.raises(error, match=message):
        analyze(source)


def test_the_remedy_for_weights_in_a_dict_works():
    weights = {"w": ROWS.reshape(40, 2, 3), "b": ROWS[:, :2]}
    joined = np.concatenate([w.reshape(40, -1) for w in weights.values()], 1)
    assert analyze(joined, n_surrogates=199)["trajectory"].attrs["weights"] == 8


def test_gradient_noise_takes_them_too():
    problem = classification("linear", 9)
    flat = torch.cat([p.detach().flatten() for p in problem.model.parameters()]).numpy()
    rows = np.stack([flat, flat + 0.1])
    named = xr.DataArray(rows, dims=("step", "weight"))
    one, other = (diffusion(each, problem, every=0, at=[1]) for each in (rows, named))
    np.testing.assert_array_equal(one["eigenvalue"], other["eigenvalue"])


@pytest.mark.parametrize("function", [open_trajectory, lambda source: pack(source, "out.zarr")])
def test_what_opens_folders_says_so(function):
    with pytest.raises(OptionError, match="is a ndarray; a path was expected"):
        function(ROWS)
