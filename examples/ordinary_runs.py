"""Train eleven ordinary recipes on MNIST, with and without replacement, and analyze each run.

Small networks see images averaged down to 14 x 14 pixels: a perceptron of one hidden layer, a
convolutional network with batch normalisation, softmax regression. They are trained by plain SGD,
momentum, Adam and AdamW, at a constant, a stepped or a cosine rate, with a checkpoint every 20
updates or every epoch: 130 in all. Batches of 50 of 5,000 images are drawn from a new order in
every epoch, as trainers do, or one by one with replacement, which no epoch ends.

    python examples/ordinary_runs.py --data MNIST/raw --out ordinary
    python examples/ordinary_runs.py --data MNIST/raw --out ordinary --recipe 'SGD, long' --seeds 1

Of every run the table says what trajscope does: its noise, its course, and the rest about it.
All 66 take about ten minutes on one core.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from paper.data import read_idx
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy

import trajscope

N_IMAGES, BATCH, CHECKPOINTS, EVERY = 5_000, 50, 130, 20
EPOCH = N_IMAGES // BATCH
Parameters = Iterator[nn.Parameter]


def perceptron() -> nn.Module:
    """6,614 weights."""
    return nn.Sequential(nn.Flatten(), nn.Linear(196, 32), nn.ReLU(), nn.Linear(32, 10))


def convolutional() -> nn.Module:
    """4,026 weights with batch normalisation."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip


def softmax() -> nn.Module:
    """1,970 weights."""
    return nn.Sequential(nn.Flatten(), nn.Linear(196, 10))


def constant(share: float) -> float:  # noqa: ARG001
    """The first rate throughout."""
    return 1.0


def cosine(share: float) -> float:
    """Falls to a hundredth along half a cosine."""
    return float(0.01 + 0.99 * (1 + np.cos(np.pi * share)) / 2)


def stepped(share: float) -> float:
    """A tenth after a half, a hundredth after three quarters."""
    return 1.0 if share < 0.5 else 0.1 if share < 0.75 else 0.01


def warm_cosine(share: float) -> float:
    """Rises over a tenth, then falls along half a cosine."""
    return share / 0.1 + 1e-3 if share < 0.1 else cosine((share - 0.1) / 0.9)


def sgd(parameters: Parameters, rate: float, momentum: float = 0.0) -> torch.optim.Optimizer:
    """SGD with heavy-ball momentum."""
    return torch.optim.SGD(parameters, lr=rate, momentum=momentum)


def adam(parameters: Parameters, rate: float) -> torch.optim.Optimizer:
    """Adam with its usual constants."""
    return torch.optim.Adam(parameters, lr=rate)


def adamw(parameters: Parameters, rate: float) -> torch.optim.Optimizer:
    """AdamW with weight decay 0.01."""
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01)


@dataclass(frozen=True)
class Recipe:
    """How a run is trained.

    Attributes
    ----------
    schedule :
        Share of the run that is over, to the rate over the first one.
    every :
        Updates between checkpoints.
    before :
        Updates before the first checkpoint.
    """

    name: str
    network: Callable[[], nn.Module]
    optimizer: Callable[[Parameters, float], torch.optim.Optimizer]
    rate: float
    schedule: Callable[[float], float] = constant
    every: int = EVERY
    before: int = 0


MOMENTUM = partial(sgd, momentum=0.9)
RECIPES = (
    Recipe("SGD, long", perceptron, sgd, 0.1, before=100 * EPOCH),
    Recipe("SGD, by epoch", perceptron, sgd, 0.1, every=EPOCH),
    Recipe("SGD, cosine", perceptron, sgd, 0.1, cosine),
    Recipe("SGD, steps", perceptron, sgd, 0.1, stepped),
    Recipe("momentum", perceptron, MOMENTUM, 0.02),
    Recipe("momentum, cosine, by epoch", perceptron, MOMENTUM, 0.02, cosine, EPOCH),
    Recipe("Adam", perceptron, adam, 1e-3),
    Recipe("AdamW, warm-up and cosine", perceptron, adamw, 1e-3, warm_cosine),
    Recipe("AdamW, warm-up and cosine, by epoch", perceptron, adamw, 1e-3, warm_cosine, EPOCH),
    Recipe("batch norm, momentum, cosine", convolutional, MOMENTUM, 0.02, cosine),
    Recipe("softmax, SGD", softmax, sgd, 0.1),
)


def main(arguments: list[str] | None = None) -> None:
    """Train and analyze what was asked for, and print the table."""
    options = parse(arguments)
    torch.set_num_threads(1)  # the matrices are too small to share
    images, labels = load_images(options.data)
    chosen = [each for each in RECIPES if options.recipe in (None, each.name)]
    rows = []
    for recipe in chosen:
        for replaced in (False, True):
            for seed in range(options.seeds):
                name = f"{recipe.name}{', replaced' if replaced else ''}, {seed}"
                folder = options.out / name.replace(", ", "-").replace(" ", "-")
                rates = train(recipe, images, labels, folder, seed, replaced=replaced)
                told = analyzed(folder, rates, replaced=replaced, surrogates=options.surrogates)
                rows.append({"recipe": recipe.name, "replaced": replaced, "seed": seed, **told})
                (options.out / "table.json").write_text(json.dumps(rows, indent=1))
                if not options.keep:
                    shutil.rmtree(folder)
    print(table(rows))


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
    parser.add_argument("--out", type=Path, metavar="DIR", default="ordinary", help="runs, table")
    parser.add_argument("--seeds", type=int, default=3, help="runs of every recipe")
    parser.add_argument("--recipe", choices=[each.name for each in RECIPES], help="only this one")
    parser.add_argument("--surrogates", type=int, default=999, help="draws of every null")
    parser.add_argument("--keep", action="store_true", help="keep the checkpoints")
    options = parser.parse_args(arguments)
    if options.seeds < 1:
        parser.error("--seeds must be at least 1")
    return options


def train(
    recipe: Recipe, images: Tensor, labels: Tensor, folder: Path, seed: int, *, replaced: bool
) -> list[tuple[int, float]]:
    """The run's checkpoints, and the rate from each of them on."""
    if folder.exists():
        sys.exit(f"{folder} is there already. Name another folder with --out, or remove it.")
    torch.manual_seed(seed)
    model = recipe.network()
    optimizer = recipe.optimizer(model.parameters(), recipe.rate)
    batches = order(replaced=replaced)
    last = recipe.every * (CHECKPOINTS - 1)
    rates = []
    for step in range(-recipe.before, last + 1):
        rate = recipe.rate * recipe.schedule(max(step, 0) / last)
        optimizer.param_groups[0]["lr"] = rate
        if step >= 0 and step % recipe.every == 0:
            trajscope.save_checkpoint(folder, dict(model.named_parameters()), step=step)
            rates.append((step, rate))
        batch = next(batches)
        optimizer.zero_grad()
        cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()
    return rates


def order(*, replaced: bool) -> Iterator[Tensor]:
    """Numbers of the images of each batch."""
    while True:
        if replaced:
            yield torch.randint(N_IMAGES, (BATCH,))
        else:
            yield from torch.randperm(N_IMAGES).split(BATCH)


def analyzed(
    folder: Path, rates: list[tuple[int, float]], *, replaced: bool, surrogates: int
) -> dict[str, object]:
    """The verdict of a run in three parts."""
    results = trajscope.analyze(
        folder,
        lr_schedule=rates,
        epoch_steps=None if replaced else EPOCH,
        n_surrogates=surrogates,
    )
    told = results["verdict"].attrs
    return {name: told[name] for name in ("code", "sentence", "noise", "course", "rest", "unseen")}


def load_images(folder: Path) -> tuple[Tensor, Tensor]:
    """Standardised 14 x 14 training images, (image, 1, row, column), and their labels."""
    images = read_idx(folder, "train-images-idx3-ubyte", n_dimensions=3)[:N_IMAGES]
    labels = read_idx(folder, "train-labels-idx1-ubyte", n_dimensions=1)[:N_IMAGES]
    pooled = avg_pool2d(torch.from_numpy(images.copy()).float().unsqueeze(1), 2)
    return (pooled - pooled.mean()) / pooled.std(), torch.from_numpy(labels.copy()).long()


def table(rows: list[dict[str, object]]) -> str:
    """One line for every recipe and way to draw batches, in Markdown."""
    lines = [
        "| recipe | batches | noise | course | rest | correlation time, steps |",
        "|---|---|---|---|---|---|",
    ]
    keys = dict.fromkeys((row["recipe"], row["replaced"]) for row in rows)
    for recipe, replaced in keys:
        own = [row for row in rows if (row["recipe"], row["replaced"]) == (recipe, replaced)]
        cells = [", ".join(dict.fromkeys(part(row) for row in own)) for part in (noise, course)]
        codes = [rest(row) for row in own]
        counted = ", ".join(f"{codes.count(code)} {code}" for code in dict.fromkeys(codes))
        times = ", ".join(dict.fromkeys(time(row) for row in own))
        drawn = "with replacement" if replaced else "by epochs"
        lines.append(f"| {recipe} | {drawn} | {cells[0]} | {cells[1]} | {counted} | {times} |")
    return "\n".join(lines)


def noise(row: dict[str, object]) -> str:
    """Its kind, and how much is left of its variance."""
    found = row["noise"]
    assert isinstance(found, dict)
    return f"{found['kind']} ({found['ratio']:.2g})" if found.get("kind") else "steady"


def course(row: dict[str, object]) -> str:
    """Components and their share."""
    found = row["course"]
    assert found is None or isinstance(found, dict)
    return f"{found['components']} ({found['share']:.0%})" if found else "not asked"


def rest(row: dict[str, object]) -> str:
    """What the path does about its course."""
    found = row["rest"]
    assert found is None or isinstance(found, dict)
    return str(found["code"]) if found else "not asked"


def time(row: dict[str, object]) -> str:
    """Correlation time of the rest."""
    found = row["rest"]
    assert found is None or isinstance(found, dict)
    value = found["correlation_time"] if found else None
    return f"{value:.0f}" if value else "none"


if __name__ == "__main__":
    main()
