"""Verdicts on unusual input, and their independence of the engine."""

import numpy as np
import pytest
import xarray as xr

from tests.clusters import local_cluster
from tests.trajectories import brownian as walk
from trajscope import analyze
from trajscope.errors import TrajscopeWarning
from trajscope.inference.decision.settings import CODES
from trajscope.simulate import ornstein_uhlenbeck


def of(values):
    return xr.DataArray(values, dims=("step", "weight"))


def decided(source, **options):
    results = analyze(source, n_surrogates=199, **options)
    return results["verdict"].attrs, results["tests"].to_dataset()


def assert_meant(verdict):
    assert verdict["code"] in CODES
    assert np.isfinite(list(verdict["evidence"].values())).all()
    p_values = [p for name, p in verdict["evidence"].items() if name in ("brownian", "drift")]
    assert p_values
    assert all(0 < p <= 1 for p in p_values)


@pytest.mark.parametrize("shape", [(33, 500), (60, 4), (50, 50)])
def test_more_weights_than_steps_and_more_steps_than_weights_are_judged(shape):
    verdict, _ = decided(of(walk(*shape)))
    assert_meant(verdict)
    assert verdict["code"] == "brownian"


def test_one_weight_that_walks_is_brownian():
    verdict, _ = decided(of(walk(100, 1)))
    assert_meant(verdict)
    assert verdict["code"] == "brownian"


def test_checkpoints_with_nan_are_left_out_of_the_verdict():
    path = ornstein_uhlenbeck(80, 6, taus=[2.0] * 6, seed=3).to_numpy()
    path[77:, 2] = np.nan
    with pytest.warns(TrajscopeWarning, match="3 of 80 checkpoints"):
        spoilt, _ = decided(of(path))
    whole, _ = decided(of(path[:77]))
    assert spoilt["code"] == whole["code"] == "confined"
    assert spoilt["evidence"] == whole["evidence"]


def test_too_few_checkpoints_without_nan_are_too_short():
    path = walk(35, 5)
    path[30:, 0] = np.nan
    with pytest.warns(TrajscopeWarning, match="5 of 35 checkpoints"):
        verdict, _ = decided(of(path))
    assert verdict["code"] == "too_short"
    assert "30 checkpoints" in verdict["sentence"]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_verdict_whoever_computes_it():
    x = ornstein_uhlenbeck(60, 400, taus=[3.0] * 5, seed=5).astype(np.float32)
    expected, tests = decided(x)
    with local_cluster(2) as cluster:
        for options in ({"workers": 1}, {"workers": 2}, {"scheduler": cluster.scheduler_address}):
            verdict, others = decided(x.chunk(step=-1, weight=70), **options)
            assert verdict == expected, options
            xr.testing.assert_identical(others.drop_attrs(deep=False), tests.drop_attrs(deep=False))
