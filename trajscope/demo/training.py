"""Train a small batch-norm network on the digits and keep its weights after every epoch."""

import re
from collections.abc import Callable
from math import ceil
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from trajscope.demo.digits import load_digits
from trajscope.demo.network import Network, gradients, network
from trajscope.errors import CheckpointError, OptionError, printable
from trajscope.files import replaced
from trajscope.saving import write_safetensors

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
    same machine and NumPy version.

    Parameters
    ----------
    directory :
        Made if need be. The checkpoints go to its subfolder ``checkpoints``; those of an earlier
        demo are replaced, and nothing else in it is touched.
    seed :
        Of the first weights and the batches.
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
    _train(folder, seed, WARM_UP + epochs, progress or _silence)
    return folder


def _train(folder: Path, seed: int, epochs: int, progress: Callable[[int, int], None]) -> None:
    pixels, digits = load_digits()
    images = pixels.reshape(-1, 64).astype(np.float32) / np.float32(8) - np.float32(1)
    labels = digits.astype(np.intp)
    rng = np.random.default_rng(seed)
    own = network(rng)
    steps = ceil(len(labels) / BATCH)
    for epoch in range(1, epochs + 1):
        for _ in range(steps):
            batch = rng.integers(len(labels), size=BATCH)
            for name, gradient in gradients(own, images[batch], labels[batch]).items():
                own.weights[name] -= np.float32(LEARNING_RATE) * gradient
        if epoch >= WARM_UP:
            _save(own, folder, step=epoch * steps, epoch=epoch)
        progress(epoch, epochs)


def _save(own: Network, folder: Path, *, step: int, epoch: int) -> None:
    texts = {"step": str(step), "epoch": str(epoch), "trainer": TRAINER}
    path = folder / f"step-{step:06d}.safetensors"
    try:
        with replaced(path) as unfinished:
            write_safetensors(unfinished, own.state(), texts)
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
