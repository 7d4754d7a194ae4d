"""Train a small batch-norm network on the digits and keep its weights after every epoch."""

import re
from collections import OrderedDict
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from trajscope.demo.digits import load_digits
from trajscope.errors import CheckpointError, OptionError, printable
from trajscope.files import replaced
from trajscope.saving import write_safetensors

if TYPE_CHECKING:
    import torch

BATCH = 32
LEARNING_RATE = 0.1
WARM_UP = 100  # epochs; no digit is mistaken any more after about 60
EPOCHS = 500
TRAINER = "trajscope demo"
"""Written into every checkpoint, so that only the demo's own files are ever replaced."""


def train_demo(
    directory: Path,
    *,
    seed: int = 0,
    epochs: int = EPOCHS,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Folder of the checkpoints of a small network, freshly trained on handwritten digits.

    The network is that of the paper's smallest experiment at the digits' size: 64 pixels, 16
    hidden units with batch normalisation and ReLU, 10 classes; 1,242 weights. It is trained with
    plain SGD, ``θ ← θ - η ∇f_b(θ)``, at a learning rate η that never changes. The images of each
    batch b are drawn independently, *with* replacement: gradient noise is then uncorrelated
    between steps and has covariance D / |b| exactly, as the theory of SGD as a diffusion assumes
    (arXiv:1710.11029). Shuffled epochs would tie the steps of an epoch together.

    A warm-up comes first and is not kept, so that the trajectory shows late training. Then one
    safetensors file is written per epoch, with the weights, the batch-norm statistics, and
    optimizer step and epoch as metadata. The same seed gives the same files, byte for byte, on the
    same machine and torch version.

    Parameters
    ----------
    directory :
        Made if need be. The checkpoints go to its subfolder ``checkpoints``; those of an earlier
        demo are replaced, and nothing else in it is touched.
    seed :
        Of the first weights and the batches. torch's global generator is not used.
    epochs :
        Epochs after the warm-up; there is one checkpoint more.
    progress :
        Called after every epoch with the number of epochs done and of all, warm-up included.

    Raises
    ------
    OptionError
        The directory cannot be made, or holds anything but an earlier demo.
    """
    if epochs < 1:
        raise OptionError(f"epochs={epochs}; at least 1 is needed.")
    folder = _emptied_folder(directory)
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sharing matrices this small takes longer than multiplying them
    try:
        _train(folder, seed, WARM_UP + epochs, progress or _silence)
    finally:
        torch.set_num_threads(threads)
    return folder


def demo_network(generator: "torch.Generator") -> "torch.nn.Sequential":
    """Untrained 64-16-BN-ReLU-10 network: uniform weights within ``1 / sqrt(inputs)``."""
    from torch import nn

    # Built empty, because torch would fill them from its global generator.
    fc1 = nn.Linear(64, 16, device="meta").to_empty(device="cpu")
    fc2 = nn.Linear(16, 10, device="meta").to_empty(device="cpu")
    for layer in (fc1, fc2):
        bound = layer.in_features**-0.5
        nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
        nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return nn.Sequential(OrderedDict(fc1=fc1, bn1=nn.BatchNorm1d(16), relu=nn.ReLU(), fc2=fc2))


def _train(folder: Path, seed: int, epochs: int, progress: Callable[[int, int], None]) -> None:
    import torch
    from torch.nn.functional import cross_entropy

    pixels, digits = load_digits()
    images = torch.from_numpy(pixels).reshape(-1, 64) / 8.0 - 1.0
    labels = torch.from_numpy(digits).long()
    generator = torch.Generator().manual_seed(seed)
    network = demo_network(generator)
    weights = list(network.parameters())
    steps = ceil(len(labels) / BATCH)

    for epoch in range(1, epochs + 1):
        for _ in range(steps):
            batch = torch.randint(len(labels), (BATCH,), generator=generator)
            loss = cross_entropy(network(images[batch]), labels[batch])
            gradients = torch.autograd.grad(loss, weights)
            with torch.no_grad():
                for weight, gradient in zip(weights, gradients, strict=True):
                    weight.sub_(gradient, alpha=LEARNING_RATE)
        if epoch >= WARM_UP:
            _save(network, folder, step=epoch * steps, epoch=epoch)
        progress(epoch, epochs)


def _save(network: "torch.nn.Module", folder: Path, *, step: int, epoch: int) -> None:
    texts = {"step": str(step), "epoch": str(epoch), "trainer": TRAINER}
    path = folder / f"step-{step:06d}.safetensors"
    try:
        with replaced(path) as unfinished:
            write_safetensors(unfinished, network.state_dict(), texts)
    except OSError as error:
        raise CheckpointError(
            f"{printable(path)} cannot be written: {error.strerror or printable(error)}. Free "
            "disk space, or choose another folder."
        ) from error


def _emptied_folder(directory: Path) -> Path:
    folder = directory / "checkpoints"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            former = list(folder.iterdir())
            foreign = not all(_is_own(path) for path in former)
        else:
            former = []
            foreign = any(directory.iterdir())
        if foreign:
            raise OptionError(
                f"{printable(directory)} is expected to be new, empty, or an earlier demo, but "
                "contains other files. Nothing was changed; choose another folder."
            )
        for path in former:
            path.unlink()
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OptionError(
            f"{printable(directory)} is expected to be a writable folder, but: {error.strerror}. "
            "Choose another folder."
        ) from error
    return folder


def _is_own(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    # What a demo that was killed has left.
    if re.fullmatch(r"\.tmp-step-\d+\.safetensors-[0-9a-f]{32}", path.name):
        return True
    if not re.fullmatch(r"step-\d+\.safetensors", path.name):
        return False
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except SafetensorError:
        return False
    return metadata.get("trainer") == TRAINER


def _silence(done: int, total: int) -> None:
    pass
