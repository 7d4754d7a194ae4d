"""Tensors of which each file holds one rank's slice."""

import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from safetensors.torch import save_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard
from torch.testing._internal.distributed.fake_pg import FakeStore

from trajscope.checkpoints.series import find_series
from trajscope.errors import TrajectoryError
from trajscope.trajectory import open_trajectory, tensor


def sliced(folder: Path, offsets_of=lambda rank: {"w": [3 * rank, 0], "b": [0]}):
    """What HuggingFaceStorageWriter(save_distributed=True) of torch 2.13 leaves on two ranks."""
    whole = torch.arange(30.0).reshape(6, 5)
    for step in (0, 10):
        for rank in (0, 1):
            place = folder / f"step_{step}"
            place.mkdir(exist_ok=True)
            tensors = {"w": whole[3 * rank : 3 * rank + 3].clone() + step}
            if rank == 0:
                tensors["b"] = torch.ones(2)
            offsets = {name: each for name, each in offsets_of(rank).items() if name in tensors}
            info = {name: {"saved_offsets": each} for name, each in offsets.items()}
            save_file(
                tensors,
                place / f"shard-0000{rank + 1}-model-00001-of-00001.safetensors",
                {"DCP_SHARDING_INFO": json.dumps(info), "DCP_VERSION": "1.0", "format": "pt"},
            )
    return whole


@pytest.mark.slow
def test_slices_in_safetensors_are_refused_with_the_command_that_joins_them(tmp_path):
    whole = sliced(tmp_path)
    with pytest.raises(TrajectoryError, match="holds slices of tensors, as each rank") as refused:
        find_series(tmp_path)
    commands = re.findall(r'python -c "(.*?)"', str(refused.value))
    assert len(commands) == 2
    for command in commands:
        subprocess.run([sys.executable, "-W", "ignore", "-c", command], check=True)
    opened = open_trajectory(f"{tmp_path}-whole")
    assert opened["step"].values.tolist() == [0, 10]
    np.testing.assert_array_equal(tensor(opened, "w")[1], whole.numpy() + 10)


@pytest.mark.parametrize("offsets", [{"w": [3, 0]}, {"w": "no list"}, {"w": None}, {"w": {}}])
def test_a_lone_slice_is_refused_too(tmp_path, offsets):
    for step in (0, 10):
        info = {name: {"saved_offsets": each} for name, each in offsets.items()}
        path = tmp_path / f"step_{step}.safetensors"
        save_file({"w": torch.ones(2, 2)}, path, {"DCP_SHARDING_INFO": json.dumps(info)})
    with pytest.raises(TrajectoryError, match="holds slices of tensors"):
        find_series(tmp_path)


@pytest.mark.parametrize("info", ["[" * 100_000, "7", "nonsense"])
def test_an_invalid_list_of_slices_is_refused(tmp_path, info):
    for step in (0, 10):
        path = tmp_path / f"step_{step}.safetensors"
        save_file({"w": torch.ones(2, 2)}, path, {"DCP_SHARDING_INFO": info})
    with pytest.raises(TrajectoryError, match="holds slices of tensors"):
        find_series(tmp_path)


def test_whole_tensors_of_one_rank_are_read(tmp_path):
    for step in (0, 10):
        writer = dcp.HuggingFaceStorageWriter(str(tmp_path / f"step_{step}"), save_distributed=True)
        state = {"w": torch.full((2, 2), float(step)), "b": torch.ones(3)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dcp.save(state, storage_writer=writer, no_dist=True)
    opened = open_trajectory(tmp_path)
    assert tensor(opened, "w")[1, 0, 0] == 10


@pytest.fixture(scope="module")
def mesh():
    dist.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    yield init_device_mesh("cpu", (2,))
    dist.destroy_process_group()


def test_what_every_rank_holds_whole_is_read(tmp_path, mesh):
    for step in (0, 10):
        local = torch.full((2, 3), float(step))
        whole = DTensor.from_local(local, mesh, [Replicate()], run_check=False)
        torch.save({"w": whole, "b": local + 1}, tmp_path / f"step_{step}.pt")
    opened = open_trajectory(tmp_path)
    assert opened["weights"][1].to_numpy().tolist() == [10] * 6 + [11] * 6


@pytest.mark.filterwarnings("ignore:.*has no effect", "ignore:Please use DTensor")
@pytest.mark.parametrize("placement", [Shard(0), Shard(1), Partial()])
def test_one_ranks_slices_are_refused(tmp_path, mesh, placement):
    for step in (0, 10):
        part = DTensor.from_local(torch.ones(2, 3), mesh, [placement], run_check=False)
        torch.save({"model": {"w": part, "b": torch.ones(3)}}, tmp_path / f"step_{step}.pt")
    with pytest.raises(
        TrajectoryError, match=r"1 are what one of several ranks holds .*'w'.*full_state_dict=True"
    ):
        open_trajectory(tmp_path)


def test_slices_of_the_optimizer_do_not_matter(tmp_path, mesh):
    for step in (0, 10):
        part = DTensor.from_local(torch.ones(2, 3), mesh, [Shard(0)], run_check=False)
        content = {"model": {"b": torch.full((3,), float(step))}, "optimizer": {"m": part}}
        torch.save(content, tmp_path / f"step_{step}.pt")
    assert open_trajectory(tmp_path)["weights"][1].to_numpy().tolist() == [10] * 3


class ShardedTensor:
    """Called like the class of torch.distributed that FSDP saves."""


ShardedTensor.__module__ = "torch.distributed._shard.sharded_tensor.api"


def test_slices_of_fsdps_first_version_are_refused(tmp_path, monkeypatch):
    from torch.distributed._shard.sharded_tensor import api

    monkeypatch.setattr(api, "ShardedTensor", ShardedTensor)
    for step in (0, 10):
        content = {"w": ShardedTensor(), "b": torch.ones(3)}
        torch.save(content, tmp_path / f"step_{step}.pt")
    with pytest.raises(TrajectoryError, match="1 are what one of several ranks holds"):
        open_trajectory(tmp_path)
