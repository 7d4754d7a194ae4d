"""Every array of a result, with everything in it, says what it is and in which unit."""

import numpy as np
import pytest
import torch
import xarray as xr

import trajscope
from trajscope.report import save_results
from trajscope.units import LABELS, labelled


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder of checkpoints of a small network, and the problem that it solves."""
    folder = tmp_path_factory.mktemp("run")
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(48, 4, generator=generator)
    labels = torch.randint(3, (48,), generator=generator)
    network = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3))
    walk = [torch.randn(p.shape, generator=generator) for p in network.parameters()]
    for step in range(0, 400, 10):
        for weight, noise in zip(network.parameters(), walk, strict=True):
            noise.normal_(generator=generator)
            weight.data += 0.01 * noise
        trajscope.save_checkpoint(folder / f"step-{step:04d}.safetensors", network, step=step)

    def loss(model, batch):
        return torch.nn.functional.cross_entropy(model(batch[0]), batch[1])

    return folder, trajscope.Problem(network, (images, labels), loss)


@pytest.fixture(scope="module")
def stores(run, tmp_path_factory):
    """Saved results with everything that a result can hold."""
    folder, problem = run
    out = tmp_path_factory.mktemp("out")
    options = {"lr": 0.1, "batch_size": 8, "every": 1}
    noise = trajscope.diffusion(folder, problem, at="20%,100%", **options)
    one = trajscope.analyze(
        folder, windows=2, spectra="20%,100%", n_surrogates=99, alpha=0.05, diffusion=noise,
        lr_schedule="0:0.1,200:0.01", epoch_steps=20,
    )  # fmt: skip
    walks = np.random.default_rng(0).standard_normal((2, 40, 20)).cumsum(axis=1)
    several = trajscope.compare(*walks, n_surrogates=99, alpha=0.05, replicas=True)
    for name, results in (("one", one), ("several", several)):
        save_results(results, out / f"{name}.zarr")
    return {name: out / f"{name}.zarr" for name in ("one", "several")}


@pytest.mark.parametrize("name", ["one", "several"])
def test_every_array_has_a_unit_and_a_long_name_without_trajscope(stores, name):
    tree = xr.open_datatree(stores[name], engine="zarr")
    arrays = {
        f"{node.path}/{key}": array
        for node in tree.subtree
        for key, array in node.to_dataset(inherit=False).variables.items()
    }
    assert len(arrays) > 100
    assert [key for key, array in arrays.items() if not array.attrs.get("long_name")] == []
    numbers = {key for key, array in arrays.items() if array.dtype.kind not in "OTU"}
    assert {key for key, array in arrays.items() if array.attrs.get("units")} == numbers


def test_axes_of_a_plot_are_labelled_by_what_the_steps_count(stores):
    from matplotlib import pyplot as plt

    tree = xr.open_datatree(stores["one"], engine="zarr")
    tree["observables"]["displacement"].sel(group="all").plot()
    axes = plt.gca()
    assert axes.get_xlabel() == "step of the checkpoint [steps]"
    assert axes.get_ylabel().endswith("[weight]")
    assert axes.get_title() == "group = all"
    plt.close()


@pytest.mark.parametrize(("unit", "told"), [("epoch", "epochs"), ("step", "steps"), ("index", "1")])
def test_steps_are_told_in_their_own_unit(unit, told):
    lag = xr.Dataset(coords={"lag": [1.0], "path": ("lag", ["a"])})
    assert labelled(lag, unit).lag.attrs["units"] == told
    assert labelled(lag, unit).path.attrs == {"long_name": "file or folder of the checkpoint"}
    assert lag.lag.attrs == {}


def test_what_an_array_says_of_itself_is_kept():
    own = xr.Dataset({"lag": ("lag", [1.0], {"units": "epochs"})})
    assert labelled(own).lag.attrs == {"units": "epochs", "long_name": "lag"}


def test_no_name_is_labelled_twice():
    names = [label.name for label in LABELS]
    assert sorted(set(names)) == sorted(names)
