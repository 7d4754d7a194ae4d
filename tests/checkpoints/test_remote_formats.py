"""Every format behind an address: the same weights as from the disk, whoever wrote them."""

import multiprocessing
import pickle

import dask
import fsspec
import h5py
import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
import xarray as xr
import zarr
from safetensors.numpy import save_file

from tests.checkpoints.conftest import model
from tests.checkpoints.servers import serving_folder, weights_of
from trajscope.readers import files
from trajscope.trajectory import open_trajectory

STEPS = (10, 20, 30)


def torched(seed, width=3):
    return {name: torch.from_numpy(each) for name, each in model(seed, width).items()}


def torch_archives(folder):
    for step in STEPS:
        torch.save({"model": torched(step), "global_step": step}, folder / f"ckpt_{step}.pt")


def shards_of_torch(folder):
    for step in STEPS:
        own = folder / f"checkpoint-{step}"
        own.mkdir()
        weights = torched(step, 5000)
        for number, name in enumerate(weights, 1):
            torch.save({name: weights[name]}, own / f"pytorch_model-{number:05}-of-00003.bin")
        shards = {n: f"pytorch_model-{i:05}-of-00003.bin" for i, n in enumerate(weights, 1)}
        text = str({"metadata": {}, "weight_map": shards}).replace("'", '"')
        (own / "pytorch_model.bin.index.json").write_text(text)
        (own / "trainer_state.json").write_text(f'{{"epoch": 1.0, "global_step": {step}}}')
        torch.save({"state": {}}, own / "optimizer.pt")


def torch_legacy(folder):
    for step in STEPS:
        path = folder / f"net_{step}.pth"
        torch.save(torched(step, 4000), path, _use_new_zipfile_serialization=False)


def transposed(folder):
    for step in STEPS:
        weights = {"fc.weight": torched(step, 900)["fc1.weight"].T}
        torch.save(weights, folder / f"net_{step}.pt")


def distributed(folder):
    for step in STEPS:
        dcp.save(
            {"model": torched(step, 700), "step": step},
            checkpoint_id=folder / f"step-{step}",
            no_dist=True,
        )


def npz(folder):
    for step in STEPS:
        np.savez(folder / f"step_{step}.npz", **model(step))


def npz_compressed(folder):
    for step in STEPS:
        np.savez_compressed(folder / f"step_{step}.npz", **model(step, 70_000))


def npy(folder):
    for step in STEPS:
        own = folder / f"step_{step}"
        own.mkdir()
        for name, values in model(step).items():
            np.save(own / f"{name}.npy", np.asfortranarray(values))


def keras_weights(folder):
    for step in STEPS:
        with h5py.File(folder / f"epoch_{step}.weights.h5", "w") as file:
            for name, values in model(step).items():
                file.create_dataset(f"layers/{name}/vars/0", data=values)


def hdf5_chunked(folder):
    for step in STEPS:
        with h5py.File(folder / f"step_{step}.h5", "w") as file:
            for name, values in model(step, 3000).items():
                chunks = tuple(min(n, 900) for n in values.shape)
                file.create_dataset(name, data=values, chunks=chunks, compression="gzip")


def hdf5_groups(folder):
    with h5py.File(folder / "run.h5", "w") as file:
        for step in STEPS:
            for name, values in model(step).items():
                file[f"step_{step}/{name}"] = values


def hdf5_axis(folder):
    with h5py.File(folder / "run.h5", "w") as file:
        file["step"] = STEPS
        for name in model():
            stacked = np.stack([model(step)[name] for step in STEPS])
            file.create_dataset(name, data=stacked, compression="gzip")


def zarr_arrays(folder):
    for step in STEPS:
        for name, values in model(step, 300).items():
            where = folder / f"step-{step}" / "model" / name.replace(".", "/")
            zarr.create_array(where, data=values, zarr_format=2)


def zarr_groups(folder, zarr_format=3):
    for step in STEPS:
        group = zarr.open_group(folder / f"step_{step}.zarr", mode="w", zarr_format=zarr_format)
        for name, values in model(step, 300).items():
            chunks = tuple(min(n, 200) for n in values.shape)
            group.create_array(name, shape=values.shape, chunks=chunks, dtype="f4")[...] = values


def zarr_2_groups(folder):
    zarr_groups(folder, 2)


def orbax(folder):
    for step in STEPS:
        own = folder / str(step) / "default"
        (own / "_sharding").parent.mkdir(parents=True)
        (own / "_METADATA").write_text("{}")
        (own / "_sharding").write_text("{}")
        for name, values in model(step).items():
            array = zarr.open_array(
                own / f"params.{name}", mode="w", shape=values.shape, dtype="f4", zarr_format=2
            )
            array[...] = values


def zarr_store(folder, zarr_format=3, **more):
    group = zarr.open_group(folder / "run.zarr", mode="w", zarr_format=zarr_format)
    group.create_array("step", shape=(3,), dtype="i8", chunks=(3,))[...] = STEPS
    for name in model(0, 400):
        values = np.stack([model(step, 400)[name] for step in STEPS])
        chunks = (1, *(min(n, 100) for n in values.shape[1:]))
        if "shards" in more:
            chunks, more["shards"] = (1, *values.shape[1:]), (3, *values.shape[1:])
        array = group.create_array(name, shape=values.shape, dtype="f4", chunks=chunks, **more)
        array[...] = values


def zarr_2_store(folder):
    zarr_store(folder, 2)


def zarr_shards(folder):
    zarr_store(folder, shards=True)


def xarray_store(folder):
    values = np.stack([model(step)["fc1.weight"] for step in STEPS])
    dataset = xr.Dataset({"w": (("step", "a", "b"), values)}, coords={"step": list(STEPS)})
    dataset.to_zarr(folder / "run.zarr", zarr_format=2)


def formats_in_turn(folder):
    for step in STEPS:
        own = folder / f"step_{step}"
        own.mkdir()
        save_file({"fc1.bias": model(step)["fc1.bias"]}, own / "a.safetensors")
        np.savez_compressed(own / "b.npz", w=model(step)["fc1.weight"])


WRITERS = (
    torch_archives, shards_of_torch, torch_legacy, transposed, distributed, npz, npz_compressed,
    npy, keras_weights, hdf5_chunked, hdf5_groups, hdf5_axis, zarr_arrays, zarr_groups,
    zarr_2_groups, orbax, zarr_store, zarr_2_store, zarr_shards, xarray_store, formats_in_turn,
)  # fmt: skip


def written(write, folder):
    folder.mkdir()
    write(folder)
    return folder


def assert_same(opened, local):
    for name in ("step", "tensor", "row_size", "group", "shape", "stored_dtype"):
        np.testing.assert_array_equal(opened[name], local[name])
    for name in ("step_source", "format", "run", "decisions", "left_out"):
        assert opened.attrs[name] == local.attrs[name], name
    whole = local["weights"].to_numpy()
    np.testing.assert_array_equal(opened["weights"], whole)
    n = whole.shape[1]
    for start, stop in ((1, 4), (n // 3, n // 3 + 7), (n - 2, n)):
        part = opened["weights"][[2, 0], start:stop]
        np.testing.assert_array_equal(part, whole[[2, 0], start:stop])
    assert np.abs(whole).max() > 0


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[1:] = []


@pytest.mark.filterwarnings("ignore")  # the packages' own
@pytest.mark.parametrize("write", WRITERS)
def test_weights_in_memory_are_those_on_disk(write, memory, tmp_path):
    folder = written(write, tmp_path / "run")
    memory.put(str(folder), "/run", recursive=True)
    opened = open_trajectory("memory://run")
    assert_same(opened, open_trajectory(folder))
    assert all(path.startswith("memory://run") for path in opened["path"].values)
    assert opened.attrs["skipped"] == open_trajectory(folder).attrs["skipped"]


@pytest.mark.filterwarnings("ignore")  # the packages' own
@pytest.mark.parametrize("write", WRITERS)
def test_weights_on_a_web_server_are_those_on_disk(write, tmp_path):
    pytest.importorskip("aiohttp")
    folder = written(write, tmp_path / "run")
    with serving_folder(tmp_path) as address:
        assert_same(open_trajectory(f"{address}/run"), open_trajectory(folder))


@pytest.mark.parametrize("write", [hdf5_axis, zarr_store])
def test_a_store_has_an_address_of_its_own(write, memory, tmp_path):
    (path,) = written(write, tmp_path / "run").iterdir()
    memory.put(str(path), f"/{path.name}", recursive=True)
    assert_same(open_trajectory(f"memory://{path.name}"), open_trajectory(path))


@pytest.mark.filterwarnings("ignore")  # the packages' own
@pytest.mark.parametrize("write", [npz_compressed, zarr_store])
def test_another_process_reads_what_was_opened_here(write, tmp_path):
    pytest.importorskip("aiohttp")
    folder = written(write, tmp_path / "run")
    with serving_folder(tmp_path) as address:
        opened = open_trajectory(f"{address}/run")
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            for start in (0, 3):
                found = pool.apply(weights_of, (pickle.dumps(opened), start))
                expected = open_trajectory(folder)["weights"][:, start : start + 5]
                np.testing.assert_array_equal(found, expected)


def test_threads_share_what_was_fetched(memory, tmp_path):
    folder = written(npz_compressed, tmp_path / "run")
    memory.put(str(folder), "/run", recursive=True)
    opened = open_trajectory("memory://run").chunk({"step": 1, "weight": 50_000})
    with dask.config.set(scheduler="threads", num_workers=4):
        whole = opened["weights"].compute()
    np.testing.assert_array_equal(whole, open_trajectory(folder)["weights"])


def test_a_large_file_is_not_fetched_for_its_header(memory, tmp_path, monkeypatch):
    weights = torched(1, 300_000)
    for step in STEPS:
        torch.save(weights, tmp_path / f"net_{step}.pt")
    memory.put(str(tmp_path), "/run", recursive=True)
    asked = []
    read = memory.cat_file

    def counted(path, start=None, end=None, **options):
        asked.append(end - start)
        return read(path, start, end, **options)

    monkeypatch.setattr(type(memory), "cat_file", staticmethod(counted))
    opened = open_trajectory("memory://run")
    assert sum(asked) < len(STEPS) * 80_000 < tmp_path.joinpath("net_10.pt").stat().st_size
    asked.clear()
    opened["weights"][:, :4].load()
    assert asked == [16] * 3


def test_nothing_is_left_here_once_nobody_reads(memory, tmp_path, monkeypatch):
    folder = written(npz_compressed, tmp_path / "run")
    memory.put(str(folder), "/run", recursive=True)
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    before = set(files._standing)
    for _ in range(8):
        opened = open_trajectory("memory://run")
        np.testing.assert_array_equal(opened["weights"].shape, (3, 280_012))
    assert len(list(place.iterdir())) <= 5
    assert len(set(files._standing) - before) <= 5
