"""Whether a well or the cancelling of noise within epochs confines a path."""

import numpy as np
import pytest
import xarray as xr

from trajscope import analyze

EPOCH = 10


def descent(seed, curvature, *, other=0.0, n_epochs=80, d=20):
    """SGD over ten batches in random orders, and a walk besides."""
    rng = np.random.default_rng(seed)
    gradients = rng.standard_normal((EPOCH, d))
    gradients -= gradients.mean(axis=0)
    path = [np.zeros(d)]
    for _ in range(n_epochs):
        for batch in rng.permutation(EPOCH):
            step = gradients[batch] + curvature * path[-1] + other * rng.standard_normal(d)
            path.append(path[-1] - 0.1 * step)
    return xr.DataArray(
        np.array(path), dims=("step", "weight"), coords={"step": np.arange(len(path))}
    )


def said(path, **options):
    return analyze(path, n_surrogates=199, phases="none", **options)["verdict"].attrs


@pytest.mark.parametrize("seed", [0, 1])
def test_noise_that_cancels_within_epochs_is_no_well(seed):
    found = said(descent(seed, 0.0, other=0.1), epoch_steps=EPOCH)
    assert found["rest"]["code"] == "confined"
    assert found["rest"]["at_epochs"] == "brownian"
    assert "at whole epochs (81 checkpoints) the path is: brownian." in found["sentence"]


def test_a_well_confines_at_whole_epochs_too():
    found = said(descent(1, 0.2, other=1.0), epoch_steps=EPOCH)
    assert found["rest"]["at_epochs"] == "confined"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, None),
        ({"epoch_steps": 10.5}, "no checkpoints are an epoch apart"),
        ({"epoch_steps": 40}, "the window holds 21 checkpoints an epoch apart, 32 are needed"),
    ],
)
def test_epochs_that_cannot_be_asked_are_said_not_to_be(options, words):
    found = said(descent(2, 0.2, other=1.0), **options)
    assert found["rest"]["at_epochs"] is None
    assert ("epoch" in found["sentence"]) == (words is not None)
    assert words is None or words in found["sentence"]


def test_an_epoch_is_as_long_as_the_counts_of_the_checkpoints_say():
    path = descent(0, 0.0, other=0.1)
    counted = path.assign_coords(epoch=("step", path["step"].values // EPOCH))
    found = said(counted)
    assert found["rest"]["at_epochs"] == "brownian"
    assert found["sentence"] == said(path, epoch_steps=EPOCH)["sentence"]
    told = said(counted, epoch_steps=40)["sentence"]  # the user's word stands
    assert "within an epoch of 40 steps" in told
