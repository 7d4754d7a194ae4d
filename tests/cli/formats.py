"""One short run in every format that is read, and the same run damaged."""

import json
import os
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np
import torch
import torch.distributed.checkpoint as dcp
import zarr
from safetensors.numpy import save_file

from tests.checkpoints.hub_cache import HubCache
from tests.cli.problem_files import SHAPES

STEPS = range(0, 120, 10)


def states():
    """Random walks of a small network's weights, by step."""
    rng = np.random.default_rng(0)
    weights = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}
    for step in STEPS:
        weights = {
            name: np.asarray(values + 0.3 * rng.standard_normal(values.shape), np.float32)
            for name, values in weights.items()
        }
        yield step, weights


def as_torch(weights):
    return {name: torch.from_numpy(values) for name, values in weights.items()}


def per_step(write):
    """What writes a run with a call for each step."""

    def write_all(folder):
        folder.mkdir()
        for step, weights in states():
            write(folder, step, weights)
        return folder

    return write_all


def stacked():
    runs = [weights for _, weights in states()]
    return {name: np.stack([weights[name] for weights in runs]) for name in SHAPES}


def write_safetensors(folder, step, weights):
    save_file(weights, folder / f"step-{step}.safetensors")


def write_torch(folder, step, weights):
    torch.save(as_torch(weights), folder / f"step-{step}.pt")


def write_older_torch(folder, step, weights):
    path = folder / f"step-{step}.pt"
    torch.save(as_torch(weights), path, _use_new_zipfile_serialization=False)


def write_distributed(folder, step, weights):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is one process only
        dcp.save(as_torch(weights), checkpoint_id=str(folder / f"step-{step}"), no_dist=True)


def write_npz(folder, step, weights):
    np.savez(folder / f"step-{step}.npz", **weights)


def write_npy(folder, step, weights):
    (folder / f"step-{step}").mkdir()
    for name, values in weights.items():
        np.save(folder / f"step-{step}" / f"{name}.npy", values)


def fill_hdf5(path, arrays, prefix=""):
    """Compressed, so that the HDF5 library itself reads every value."""
    with h5py.File(path, "a") as file:
        for name, values in arrays.items():
            file.create_dataset(prefix + name, data=values, chunks=True, compression="gzip")


def write_hdf5(folder, step, weights):
    fill_hdf5(folder / f"step-{step}.h5", weights)


def layers_of(weights):
    """Names as Keras writes them: two variables for each layer."""
    return {
        f"layers/dense_{index // 2}/vars/{index % 2}": values
        for index, values in enumerate(weights.values())
    }


def write_keras_weights(folder, step, weights):
    fill_hdf5(folder / f"ckpt-step-{step}.weights.h5", layers_of(weights))


def write_keras(folder, step, weights):
    inner = folder / "inner"
    fill_hdf5(inner, layers_of(weights))
    with zipfile.ZipFile(folder / f"step-{step}.keras", "w") as file:
        file.writestr("config.json", "{}")
        file.write(inner, "model.weights.h5")
    inner.unlink()


def write_hdf5_axis(folder):
    folder.mkdir()
    fill_hdf5(folder / "run.h5", stacked() | {"step": np.array(STEPS)})
    return folder


def write_hdf5_groups(folder):
    folder.mkdir()
    for step, weights in states():
        fill_hdf5(folder / "run.h5", weights, f"step_{step}/")
    return folder


def write_zarr(folder):
    store = zarr.open_group(folder / "run.zarr", mode="w")
    for name, values in (stacked() | {"step": np.array(STEPS)}).items():
        store.create_array(name, data=values, dimension_names=("step", "a", "b")[: values.ndim])
    return folder


def write_zarr_group(folder, step, weights):
    group = zarr.open_group(folder / f"step_{step}.zarr", mode="w")
    for name, values in weights.items():
        group.create_array(name, data=values)


def write_orbax(folder, step, weights):
    item = folder / str(step) / "default"
    for name, values in weights.items():
        zarr.create_array(item / f"params.{name}", data=values, zarr_format=2)
    (item / "_METADATA").write_text(json.dumps({"tree_metadata": {}}))
    (item / "_sharding").write_text("{}")


def write_hub_cache(folder):
    cache = HubCache(folder)
    for step, weights in states():
        cache.revision(f"step{step}", weights)
    return cache.folder


FORMATS = {
    "safetensors": per_step(write_safetensors),
    "torch archive": per_step(write_torch),
    "torch legacy": per_step(write_older_torch),
    "torch distributed": per_step(write_distributed),
    "npz": per_step(write_npz),
    "npy": per_step(write_npy),
    "HDF5": per_step(write_hdf5),
    "HDF5 step axis": write_hdf5_axis,
    "HDF5 step groups": write_hdf5_groups,
    "Keras weights": per_step(write_keras_weights),
    "Keras archive": per_step(write_keras),
    "zarr step axis": write_zarr,
    "zarr groups": per_step(write_zarr_group),
    "Orbax zarr": per_step(write_orbax),
    "Hub cache": write_hub_cache,
}


def damage(folder: Path) -> None:
    """Cut every file of values in half."""
    for path in folder.rglob("*"):
        is_text = path.name[0] == "." or path.suffix == ".json" or path.name == "_METADATA"
        if path.is_file() and not (is_text or path.is_symlink() or "refs" in path.parts):
            os.truncate(path, path.stat().st_size // 2)
