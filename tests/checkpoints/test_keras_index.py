"""Weights of Keras in several files, which its index lists by group."""

import json

import h5py
import numpy as np
import pytest

from trajscope.checkpoints.series import find_series
from trajscope.errors import TrajectoryError, TrajscopeWarning
from trajscope.trajectory import open_trajectory, tensor

GROUPS = {
    "/layers/dense/vars": ["model_{}_00000.weights.h5", "model_{}_00001.weights.h5"],
    "/layers/dense_1/vars": ["model_{}_00001.weights.h5"],
    "/optimizer/vars": ["model_{}_00001.weights.h5", "model_{}_00002.weights.h5"],
}


def saved(folder, step):
    """What Keras 3.15 leaves for save_weights(..., max_shard_size=...); kernel and bias apart."""
    rng = np.random.default_rng(step)
    weights = {
        "layers/dense/vars/0": rng.normal(size=(3, 4)).astype("f4"),
        "layers/dense/vars/1": rng.normal(size=4).astype("f4"),
        "layers/dense_1/vars/0": rng.normal(size=(4, 2)).astype("f4"),
    }
    places = [
        {"layers/dense/vars/0": weights["layers/dense/vars/0"]},
        {name: weights[name] for name in list(weights)[1:]} | {"optimizer/vars/0": np.ones(2)},
        {"optimizer/vars/1": np.ones(3)},
    ]
    for number, arrays in enumerate(places):
        with h5py.File(folder / f"model_{step}_0000{number}.weights.h5", "w") as file:
            for name, values in arrays.items():
                file[name] = values
    index = {name: [each.format(step) for each in files] for name, files in GROUPS.items()}
    content = {"metadata": {"total_size": 1.0}, "weight_map": index}
    (folder / f"model_{step}.weights.json").write_text(json.dumps(content))
    return weights


def test_the_shards_of_an_index_are_one_checkpoint(tmp_path):
    expected = [saved(tmp_path, step) for step in (10, 20, 100)]
    opened = open_trajectory(tmp_path)
    assert opened["step"].values.tolist() == [10, 20, 100]
    assert sorted(opened["tensor"].values) == sorted(expected[0])
    for row, weights in enumerate(expected):
        for name, values in weights.items():
            np.testing.assert_array_equal(tensor(opened, name)[row], values)


def test_a_missing_shard_is_named(tmp_path):
    for step in (10, 20, 30):
        saved(tmp_path, step)
    (tmp_path / "model_20_00001.weights.h5").unlink()
    with pytest.warns(TrajscopeWarning, match=r"first model_20_00001\.weights\.h5"):
        assert open_trajectory(tmp_path)["step"].values.tolist() == [10, 30]


@pytest.mark.parametrize(
    "weight_map",
    [
        {},
        {"/layers": []},
        {"/layers": "model_10_00000.weights.h5"},
        {"/layers": [7]},
        {"/layers": ["../outside.weights.h5"]},
        {"/layers/other": ["model_10_00000.weights.h5"]},
    ],
)
def test_an_index_that_is_none_is_refused(tmp_path, weight_map):
    saved(tmp_path, 10)
    (tmp_path / "model_10.weights.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(TrajectoryError, match=r"none can be read(.|\n)*model_10\.weights\.json"):
        find_series(tmp_path)
