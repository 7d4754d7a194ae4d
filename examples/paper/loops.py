"""The two loops of training: any network in torch, and tiny-fc by the gradient of `fast`.

Both write down where they are, and go on from there. The order of the images, and dropout, follow
from the seed and the epoch's number alone.
"""

import json
import sys
import time
from pathlib import Path

import fast
import numpy as np
import torch
from networks import Network, Recipe, cross_entropy, tensors
from torch import Tensor, nn

import trajscope

CHECKPOINTS, STORE = "checkpoints", "trajectory.zarr"
LOG = "log.jsonl"
LOGGED = 1_000  # epochs of `train_fast`


def train_module(network: Network, recipe: Recipe, out: Path, seed: int) -> None:
    """Epochs in plain torch, with one safetensors file for each checkpoint."""
    torch.manual_seed(seed)
    model = network.build()
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=recipe.first_rate,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0 and not recipe.heavy_ball,
        weight_decay=recipe.decay,
    )
    path, done = out / "state.pt", 0
    if path.exists():
        kept = torch.load(path, weights_only=True)
        model.load_state_dict(kept["model"])
        optimizer.load_state_dict(kept["optimizer"])
        done = kept["epoch"]
    else:
        trajscope.save_checkpoint(out / CHECKPOINTS, model, step=0, epoch=0)
    images, labels = tensors(network, "train")
    for epoch in range(done + 1, recipe.epochs + 1):
        optimizer.param_groups[0]["lr"] = recipe.rate(epoch)
        torch.manual_seed(1_000_003 * seed + epoch)  # of dropout
        model.train()
        batches = torch.from_numpy(batches_of(labels, recipe, seed, epoch))
        for step, batch in enumerate(batches, (epoch - 1) * len(batches) + 1):
            optimizer.zero_grad()
            cross_entropy(model, (images[batch], labels[batch])).backward()
            optimizer.step()
            if step % (recipe.every or len(batches)) == 0:
                trajscope.save_checkpoint(out / CHECKPOINTS, model, step=step, epoch=epoch)
        log(out, network, model, epoch)
        state = {"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(state, path.with_suffix(".tmp"))
        path.with_suffix(".tmp").replace(path)


def train_fast(
    network: Network, recipe: Recipe, out: Path, seed: int, start: Path | None = None
) -> None:
    """Epochs of tiny-fc by `fast`, with one zarr store for all checkpoints.

    Parameters
    ----------
    start :
        Run at whose last weights this one begins, without its momentum.
    """
    torch.manual_seed(seed)
    model = network.build()
    images, labels = tensors(network, "train")
    state, done, path = fast.State.of(model), 0, out / "state.npz"
    if start is not None:
        with np.load(start / "state.npz") as kept:
            state.weights, state.running = kept["weights"], kept["running"]
    if path.exists():
        with np.load(path) as kept:
            done = int(kept["epoch"])
            state = fast.State(kept["weights"], kept["velocity"], kept["running"])
    trainer = fast.Trainer(
        *(images.numpy(), labels.numpy(), recipe.batch),
        *(recipe.momentum, recipe.decay, not recipe.heavy_ball),
    )
    n_steps = len(labels) // recipe.batch
    every = recipe.every or n_steps
    after = done * n_steps if done else -1
    with trajscope.CheckpointStore(out / STORE, after=after) as store:
        if not done:
            store.save(state.tensors(), step=0)
        for epoch in range(done + 1, recipe.epochs + 1):
            batches = batches_of(labels, recipe, seed, epoch)
            step, end = (epoch - 1) * n_steps, epoch * n_steps
            while step < end:
                stop = min(step - step % every + every, end)
                some = batches[step - end :][: stop - step]
                trainer.steps(state, some, recipe.rate(epoch))
                step = stop
                if step % every == 0:
                    store.save(state.tensors(), step=step)
            if epoch % LOGGED == 0 or epoch == recipe.epochs:
                store.flush()
                state.load_into(model)
                log(out, network, model, epoch)
                np.savez(path.with_suffix(".tmp.npz"), epoch=epoch, **vars(state))
                path.with_suffix(".tmp.npz").replace(path)


def batches_of(
    labels: Tensor, recipe: Recipe, seed: int, epoch: int
) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Numbers of the images of every batch of an epoch, as (step, image of the batch).

    All images once in a new order, without those that fill no batch; or as many drawn one by one.
    """
    if recipe.batch > len(labels):
        sys.exit(f"--batch {recipe.batch} is more than the {len(labels)} images. Choose fewer.")
    chance = np.random.default_rng((seed, epoch))
    shape = len(labels) // recipe.batch, recipe.batch
    if recipe.replace:
        return chance.integers(len(labels), size=shape)
    return chance.permutation(len(labels))[: shape[0] * shape[1]].reshape(shape)


@torch.no_grad()
def log(out: Path, network: Network, model: nn.Module, epoch: int) -> None:
    """Note the loss on the training images and the share of wrong answers, in eval mode."""
    model.eval()
    line: dict[str, float | str] = {"epoch": epoch, "cpu_s": round(time.process_time(), 1)}
    for part in ("train", "t10k"):
        images, labels = tensors(network, part)
        answers = torch.cat([model(some) for some in images.split(2000)])
        line[f"{part}_loss"] = float(nn.functional.cross_entropy(answers, labels))
        line[f"{part}_error"] = float((answers.argmax(dim=1) != labels).float().mean())
    with (out / LOG).open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(
        f"{out.name}: epoch {epoch}  loss {line['train_loss']:.5f}  "
        f"error {line['train_error']:.3%}  test error {line['t10k_error']:.3%}",
        flush=True,
    )
