"""Trainers that need nothing but torch: loops, wrappers, distributed checkpoints."""

import argparse
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_state_dict

from tests.trainers.records import Saved, Trainer, Weights, network, parameters, step_with


def looped(
    save: Callable[[Path, int, torch.nn.Module, torch.optim.Optimizer], None],
    made: Callable[[], torch.nn.Module] = network,
) -> Callable[[Path], Saved]:
    """A loop of 30 steps that calls `save` at every tenth."""

    def train(folder: Path) -> Saved:
        net, saved = made(), {}
        optimizer = torch.optim.Adam(net.parameters(), 1e-2)
        for step in range(1, 31):
            step_with(net, optimizer)
            if step % 10 == 0:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    save(folder, step, net, optimizer)
                saved[step] = parameters(net)
        return saved

    return train


def plain(folder, step, net, optimizer):
    torch.save(net.state_dict(), folder / f"model_{step}.pt")


def legacy(folder, step, net, optimizer):
    torch.save(net.state_dict(), folder / f"net_{step}.pth", _use_new_zipfile_serialization=False)


def whole(folder, step, net, optimizer):
    torch.save(net, folder / f"net_{step}.pt")


def nested(folder, step, net, optimizer):
    content = {
        "model": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "iter_num": step,
        "args": argparse.Namespace(lr=0.1),
    }
    torch.save(content, folder / f"ckpt_{step // 10}.pt")
    torch.save(content, folder / "last.pt")


def compiled(folder, step, net, optimizer):
    state = torch.nn.DataParallel(torch.compile(net)).state_dict()
    torch.save({"state_dict": state, "epoch": step}, folder / f"checkpoint-{step}.pth.tar")


def distributed(folder, step, net, optimizer):
    model, state = get_state_dict(net, optimizer)
    content = {"model": model, "optim": state, "step": step}
    dcp.save(content, checkpoint_id=str(folder / f"step-{step}"), no_dist=True)


def hugging_face(folder, step, net, optimizer):
    writer = dcp.HuggingFaceStorageWriter(path=str(folder / f"step-{step}"))
    dcp.save(net.state_dict(), storage_writer=writer, no_dist=True)


def averaged(folder: Path) -> Saved:
    net, saved = network(), {}
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    swa = torch.optim.swa_utils.AveragedModel(net)
    for step in range(1, 31):
        step_with(net, optimizer)
        swa.update_parameters(net)
        if step % 10 == 0:
            torch.save(swa.state_dict(), folder / f"step_{step}.pt")
            saved[step] = parameters(swa.module)
    return saved


def over_two_ranks(folder: Path, *, slices: bool = False) -> Saved:
    with tempfile.TemporaryDirectory() as shared:
        torch.multiprocessing.spawn(_rank, (folder, Path(shared), slices), nprocs=2)
        return {
            step: torch.load(Path(shared) / f"{step}.pt", weights_only=False) for step in (10, 20)
        }


def slices_of_two_ranks(folder: Path) -> Saved:
    return over_two_ranks(folder, slices=True)


def _rank(rank: int, folder: Path, shared: Path, slices: bool) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    warnings.simplefilter("ignore")
    dist.init_process_group("gloo", init_method=f"file://{shared}/meet", rank=rank, world_size=2)
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    fully_shard(net, mesh=init_device_mesh("cpu", (2,)))
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for step in (10, 20):
        step_with(net, optimizer)
        model, state = get_state_dict(net, optimizer)
        target = str(folder / f"step-{step}")
        if slices:
            writer = dcp.HuggingFaceStorageWriter(path=target, save_distributed=True)
            dcp.save(model, storage_writer=writer)
        else:
            dcp.save({"model": model, "optim": state}, checkpoint_id=target)
        full: Weights = {name: each.full_tensor().numpy() for name, each in model.items()}
        if rank == 0:
            torch.save(full, shared / f"{step}.pt")
    # A rank that leaves while the other is still sending aborts it.
    dist.barrier()
    dist.destroy_process_group()


TRAINERS = (
    Trainer("torch loop, state dict", "model_10.pt", (), looped(plain)),
    Trainer("torch loop, older format", "net_10.pth", (), looped(legacy)),
    Trainer("torch loop, whole module", "net_10.pt", (), looped(whole)),
    Trainer("torch loop, nested with counters", "ckpt_1.pt, last.pt", (), looped(nested)),
    Trainer("DataParallel and torch.compile", "checkpoint-10.pth.tar", (), looped(compiled)),
    Trainer("SWA's AveragedModel", "step_10.pt", (), averaged),
    Trainer("torch.distributed.checkpoint", "step-10/.metadata, *.distcp", (), looped(distributed)),
    Trainer(
        "torch.distributed.checkpoint for Hugging Face",
        "step-10/model-0000x-of-0000y.safetensors",
        (),
        looped(hugging_face),
    ),
    Trainer("FSDP2 over two ranks", "step-10/.metadata, __0_0.distcp, __1_0.distcp", (),
            over_two_ranks),
    Trainer("FSDP2 over two ranks, for Hugging Face",
            "step-10/shard-0000x-model-0000y-of-0000z.safetensors", (), slices_of_two_ranks,
            refusal="Save with enable_consolidation=True, or join them"),
)  # fmt: skip
