"""Train the tiny-fc network of arXiv:1710.11029 on MNIST and keep its weights after every epoch.

The network sees MNIST averaged down to 7 x 7 pixels and tells the digits 0 to 4 apart: 49 inputs,
16 hidden units with batch normalisation, 5 outputs, 917 weights. It is trained as in the paper:
SGD with Nesterov momentum 0.9, a learning rate that is annealed first and then stays at 1e-3 while
the trajectory is watched. Batches of 500 images are drawn by shuffling, without replacement.

    python examples/mnist_tiny_fc.py --data MNIST/raw --out tiny-fc
    trajscope analyze tiny-fc --burn-in 10%

MNIST/raw stands for any folder with the two IDX files of the training set, gzipped or plain.
The 3,300 epochs take a few minutes on one core and leave 3,301 files of about 5 kB.
"""

import argparse
import gzip
import os
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

N_CLASSES = 5
N_IMAGES = 30_000  # of the 30,596 training images that show a digit from 0 to 4: the first ones
BATCH = 500
FIRST_RATE, LAST_RATE = 0.1, 1e-3


def main(arguments: list[str] | None = None) -> None:
    """Train, with one checkpoint per epoch, and say what to run next."""
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    if any(options.out.iterdir()):
        sys.exit(f"{options.out} is not empty. Name another folder with --out, or remove it.")
    images, labels = load_images(options.data)

    torch.set_num_threads(1)  # the matrices are too small to share
    torch.manual_seed(options.seed)
    model = nn.Sequential(nn.Linear(49, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 5))
    assert sum(weights.numel() for weights in model.parameters()) == 917
    train(model, images, labels, options)

    burn_in = -(-100 * options.anneal // (options.anneal + options.epochs))
    print(f"Next: trajscope analyze {options.out} --burn-in {burn_in}%")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        default=os.environ.get("MNIST_DIR"),
        required="MNIST_DIR" not in os.environ,
        help="folder of MNIST's IDX files, or of a folder 'raw' with them; MNIST_DIR does too",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", default="tiny-fc", help="checkpoints")
    parser.add_argument("--anneal", type=int, default=300, help="epochs at a falling rate")
    parser.add_argument("--epochs", type=int, default=3000, help="epochs at --rate after")
    parser.add_argument("--rate", type=float, default=LAST_RATE, help="learning rate of these")
    parser.add_argument("--momentum", type=float, default=0.9, help="Nesterov; 0 for plain SGD")
    parser.add_argument("--seed", type=int, default=0, help="of first weights and batches")
    options = parser.parse_args(arguments)
    if options.epochs < 1 or options.anneal < 0:
        parser.error("--epochs must be at least 1 and --anneal at least 0")
    return options


def train(model: nn.Module, images: Tensor, labels: Tensor, options: argparse.Namespace) -> None:
    """Epochs of SGD over shuffled batches; weights are saved before the first and after each."""
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=FIRST_RATE,
        momentum=options.momentum,
        nesterov=options.momentum > 0,
        fused=True,
    )
    total, step, started = options.anneal + options.epochs, 0, time.monotonic()
    save(model, options.out, step=0, epoch=0)
    for epoch in range(1, total + 1):
        annealed = min(epoch / options.anneal, 1.0) if options.anneal else 1.0
        optimizer.param_groups[0]["lr"] = FIRST_RATE * (options.rate / FIRST_RATE) ** annealed
        for batch in torch.randperm(len(labels)).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
            step += 1
        save(model, options.out, step=step, epoch=epoch)
        if epoch % 100 == 0 or epoch == total:
            loss, error = evaluate(model, images, labels)
            left = (time.monotonic() - started) / epoch * (total - epoch)
            print(
                f"epoch {epoch}/{total}  loss {loss:.5f}  error {error:.3%}  {left:.0f} s left",
                flush=True,
            )


def save(model: nn.Module, folder: Path, *, step: int, epoch: int) -> None:
    """Write one checkpoint beside its place, then rename: a reader never meets half a file."""
    path = folder / f"step-{step:07d}.safetensors"
    unfinished = path.with_suffix(".tmp")
    save_file(model.state_dict(), unfinished, metadata={"step": str(step), "epoch": str(epoch)})
    unfinished.replace(path)


@torch.no_grad()
def evaluate(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean cross-entropy and share of wrong answers on the training images, in eval mode."""
    model.eval()
    outputs = model(images)
    model.train()
    wrong = (outputs.argmax(dim=1) != labels).float().mean()
    return float(nn.functional.cross_entropy(outputs, labels)), float(wrong)


def load_images(folder: Path) -> tuple[Tensor, Tensor]:
    """Standardised 7 x 7 training images of the digits 0 to 4, (image, pixel), and their labels."""
    images = read_idx(folder, "train-images-idx3-ubyte", n_dimensions=3)
    labels = read_idx(folder, "train-labels-idx1-ubyte", n_dimensions=1)
    if len(images) != len(labels) or images.shape[1:] != (28, 28):
        sys.exit(
            f"{folder} holds images of shape {images.shape} and {len(labels)} labels; as many "
            "images of 28 x 28 pixels as labels are expected. Is this MNIST?"
        )
    chosen = np.flatnonzero(labels < N_CLASSES)[:N_IMAGES]
    pooled = images[chosen].reshape(-1, 7, 4, 7, 4).mean(axis=(2, 4)).reshape(-1, 49)
    pooled = (pooled - pooled.mean()) / pooled.std()
    return torch.from_numpy(pooled).float(), torch.from_numpy(labels[chosen]).long()


def read_idx(folder: Path, name: str, *, n_dimensions: int) -> NDArray[np.uint8]:
    """Array of an IDX file of bytes: 00 00 08 n_dimensions, the big-endian shape, the data."""
    places = [folder / sub / (name + end) for sub in ("", "raw") for end in ("", ".gz")]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        sys.exit(
            f"{folder} holds no {name}, gzipped or plain, nor does a folder 'raw' in it. "
            "Name the folder of MNIST's IDX files with --data."
        )
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read()
    except (EOFError, OSError, zlib.error) as error:
        sys.exit(f"{path} cannot be read: {error}. Fetch it again.")
    if content[:4] != bytes((0, 0, 8, n_dimensions)) or len(content) < 4 + 4 * n_dimensions:
        sys.exit(
            f"{path} begins with bytes {content[:4].hex(' ')}; an IDX file of {n_dimensions}-D "
            f"bytes begins with 00 00 08 {n_dimensions:02x}. Is this MNIST?"
        )
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", count=n_dimensions, offset=4))
    data = np.frombuffer(content, np.uint8, offset=4 + 4 * n_dimensions)
    if data.size != np.prod(shape, dtype=object):
        sys.exit(
            f"{path} describes {shape} bytes of data, the file has {data.size}. Fetch it again."
        )
    return data.reshape(shape)


if __name__ == "__main__":
    main()
