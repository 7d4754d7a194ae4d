"""A training that writes checkpoints in every format that can be read while it is written."""

import sys
from pathlib import Path

import h5py
import numpy as np
import zarr
from safetensors.numpy import save_file

from trajscope.saving import save_checkpoint

MOST_STEPS = 60
ENOUGH = "enough"
"""File whose appearance ends the training."""


def weights(step):
    """What the model is at a step: no two values alike, and a bias that begins with zeros."""
    values = np.arange(1, 40_001, dtype=np.float32).reshape(200, 200) + step / 1000
    return {"layer.weight": values, "layer.bias": np.full(200, step, np.float32)}


def safetensors(folder, step):
    folder.mkdir(exist_ok=True)
    save_file(weights(step), folder / f"step-{step}.safetensors")


def saved(folder, step):
    save_checkpoint(folder, weights(step), step=step)


def npz(folder, step):
    folder.mkdir(exist_ok=True)
    np.savez(folder / f"step-{step}.npz", **weights(step))


def npy_folders(folder, step):
    (folder / f"step-{step}").mkdir(parents=True)
    for name, values in weights(step).items():
        np.save(folder / f"step-{step}/{name}.npy", values)


def shards(folder, step):
    folder.mkdir(exist_ok=True)
    for number, (name, values) in enumerate(weights(step).items(), 1):
        save_file({name: values}, folder / f"step-{step}-0000{number}-of-00002.safetensors")


def hdf5(folder, step):
    folder.mkdir(exist_ok=True)
    with h5py.File(folder / f"step-{step}.h5", "w") as file:
        for name, values in weights(step).items():
            file[name] = values


def zarr_groups(folder, step):
    fill(zarr.open_group(folder / f"step-{step}.zarr", mode="w"), step)


def zarr_groups_in_one_store(folder, step):
    run = zarr.open_group(folder / "run.zarr", mode="a")
    fill(run.create_group(f"step_{step}"), step)


def fill(group, step):
    for name, values in weights(step).items():
        chunks = tuple(max(length // 2, 1) for length in values.shape)
        group.create_array(name, data=values, chunks=chunks)


def zarr_axis(folder, step):
    group = zarr.open_group(folder / "run.zarr", mode="a")
    for name, values in weights(step).items():
        if name not in group:
            dimensions = ("step", *(f"{name}.{axis}" for axis in range(values.ndim)))
            shape, chunks = (0, *values.shape), (1, *values.shape)
            group.create_array(
                name, shape=shape, chunks=chunks, dtype="f4", dimension_names=dimensions
            )
        group[name].append(values[np.newaxis])
    if "step" not in group:
        group.create_array("step", shape=(0,), chunks=(1,), dtype="i8", dimension_names=("step",))
    group["step"].append(np.array([step]))


WRITERS = {
    "safetensors": safetensors,
    "save_checkpoint": saved,
    "npz": npz,
    "npy folders": npy_folders,
    "shards": shards,
    "HDF5": hdf5,
    "zarr groups": zarr_groups,
    "zarr groups in one store": zarr_groups_in_one_store,
    "zarr with a step axis": zarr_axis,
}

if __name__ == "__main__":
    target, n_steps = Path(sys.argv[1]), 0
    while n_steps < MOST_STEPS and not (target / ENOUGH).exists():
        for name, write in WRITERS.items():
            write(target / name, 10 * n_steps)
        n_steps += 1
    print(n_steps)
