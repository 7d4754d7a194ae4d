"""What the examples of small-fc and small-lenet share: data, training, and the paper's table.

Both networks are trained as in arXiv:1710.11029: SGD with Nesterov momentum 0.9 and a learning rate
that falls, here from 0.1 to 1e-3. Batches of 500 images are drawn by shuffling.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from mnist_tiny_fc import read_idx
from torch import Tensor, nn

import trajscope

BATCH, FIRST_RATE, LAST_RATE = 500, 0.1, 1e-3
AT = "20%,40%,100%"


@dataclass(frozen=True)
class Experiment:
    """A network of the paper on MNIST.

    Attributes
    ----------
    images :
        Images of 28 x 28 bytes, (image, row, column), to what the network sees.
    paper :
        What the paper says: mean and standard deviation of all eigenvalues of D, rank over d.
    samples :
        Images that D is computed on, unless asked otherwise.
    function :
        In the script, that returns the problem.
    """

    name: str
    script: Path
    model: Callable[[], nn.Module]
    images: Callable[[Tensor], Tensor]
    paper: tuple[str, str]
    samples: int
    function: str = "make_problem"


def problem(experiment: Experiment) -> trajscope.Problem:
    """The network, the training images of the folder that MNIST_DIR names, cross-entropy."""
    if "MNIST_DIR" not in os.environ:
        sys.exit("Say in the environment variable MNIST_DIR where MNIST's IDX files are.")
    data = load_images(Path(os.environ["MNIST_DIR"]), "train", experiment)
    return trajscope.Problem(experiment.model(), data, cross_entropy)


def cross_entropy(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """The loss that is minimised."""
    images, labels = batch
    return nn.functional.cross_entropy(model(images), labels)


def main(experiment: Experiment, arguments: list[str] | None = None) -> None:
    """Train, let trajscope analyze the checkpoints, and print the paper's table beside ours."""
    options = parse(experiment, arguments)
    os.environ["MNIST_DIR"] = str(options.data)
    checkpoints, report = options.out / "checkpoints", options.out / "report"
    if not checkpoints.exists():
        unfinished = options.out / "unfinished"
        if unfinished.exists():
            sys.exit(f"{unfinished} holds a training that did not end. Remove it, or name --out.")
        train(experiment, unfinished, options)
        unfinished.rename(checkpoints)
    words = ["analyze", checkpoints, "-o", report]
    words += ["--problem", f"{experiment.script}:{experiment.function}", "--at", AT]
    words += ["--samples", options.samples, "--lr", LAST_RATE, "--batch-size", BATCH]
    words = [str(word) for word in words]
    print("$", shlex.join(["trajscope", *words]), flush=True)
    subprocess.run([sys.executable, "-m", "trajscope", *words], check=True)
    print_table(experiment, json.loads((report / "summary.json").read_text())["diffusion"])


def parse(experiment: Experiment, arguments: list[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        description=f"{experiment.name} of arXiv:1710.11029",
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
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        default=experiment.name,
        help="for checkpoints and report; checkpoints that are there are not trained again",
    )
    parser.add_argument("--epochs", type=int, default=10, help="of training")
    parser.add_argument("--every", type=int, default=20, help="steps from checkpoint to checkpoint")
    parser.add_argument("--seed", type=int, default=0, help="of first weights and batches")
    parser.add_argument(
        "--samples", type=int, default=experiment.samples, help="images for the spectrum of D"
    )
    return parser.parse_args(arguments)


def train(experiment: Experiment, folder: Path, options: argparse.Namespace) -> None:
    """Epochs of SGD over shuffled batches, with a checkpoint every so many steps."""
    images, labels = load_images(options.data, "train", experiment)
    torch.manual_seed(options.seed)
    model = experiment.model()
    optimizer = torch.optim.SGD(model.parameters(), lr=FIRST_RATE, momentum=0.9, nesterov=True)
    total, step = options.epochs * -(-len(labels) // BATCH), 0
    analyzed = {round(share * total) for share in (0.2, 0.4, 1.0)}
    trajscope.save_checkpoint(folder, model, step=step)
    for epoch in range(options.epochs):
        model.train()
        for batch in torch.randperm(len(labels)).split(BATCH):
            rate = FIRST_RATE * (LAST_RATE / FIRST_RATE) ** (step / total)
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            cross_entropy(model, (images[batch], labels[batch])).backward()
            optimizer.step()
            step += 1
            if step % options.every == 0 or step in analyzed:
                trajscope.save_checkpoint(folder, model, step=step)
        error = test_error(model, *load_images(options.data, "t10k", experiment))
        print(f"epoch {epoch + 1}/{options.epochs}  test error {error:.2%}", flush=True)


@torch.no_grad()
def test_error(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of wrong answers in eval mode."""
    model.eval()
    answers = torch.cat([model(part).argmax(dim=1) for part in images.split(1000)])
    return float((answers != labels).float().mean())


def load_images(folder: Path, part: str, experiment: Experiment) -> tuple[Tensor, Tensor]:
    """Standardised images as the network sees them, and their labels."""
    images = torch.from_numpy(read_idx(folder, f"{part}-images-idx3-ubyte", n_dimensions=3).copy())
    labels = torch.from_numpy(read_idx(folder, f"{part}-labels-idx1-ubyte", n_dimensions=1).copy())
    seen = experiment.images(images.float())
    return (seen - seen.mean()) / seen.std(), labels.long()


def print_table(experiment: Experiment, found: dict) -> None:
    """Print mean and standard deviation of all eigenvalues of D and its rank, ours and theirs."""
    n, n_data, d = found["n_samples"], found["n_data"], found["n_weights"]
    print(
        f"\n{experiment.name}, d = {d:,}; D from {n:,} of {n_data:,} images, network in eval mode"
    )
    print(f"{'':<22}{'loss':>9}{'mean ± sd, 1e-3':>22}{'rank eps32':>12}{'eps64':>8}")
    for step, numbers in zip(found["steps"], found["checkpoints"], strict=True):
        spread = f"{1e3 * numbers['eigenvalue_mean']:.3g} ± {1e3 * numbers['eigenvalue_std']:.3g}"
        ranks = [f"{numbers[name] / d:.2%}" for name in ("rank_eps32", "rank_eps64")]
        label = f"step {step:,}"
        print(f"{label:<22}{numbers['loss']:>9.4f}{spread:>22}{ranks[0]:>12}{ranks[1]:>8}")
    print(f"{'paper':<22}{'':>9}{experiment.paper[0]:>22}{experiment.paper[1]:>12}")
