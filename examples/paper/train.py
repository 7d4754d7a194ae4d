"""Train one of the paper's networks, and keep its checkpoints for trajscope.

    python examples/paper/train.py small-lenet --data MNIST/raw --out runs/small-lenet-0
    python examples/paper/train.py tiny-fc --data MNIST/raw --out runs/tiny-fc-0
    python examples/paper/train.py small-allcnn --data cifar-10-batches-bin --out runs/allcnn-0

Options that are not given are those of the full-length runs (`networks.NETWORKS`). A run that was
stopped goes on where it was when the same command is given again, with the same numbers as if it
had not been stopped; with more --epochs a finished run goes on as well.

Without --data, MNIST's networks see the small digits that ship with trajscope.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path

import torch
from loops import train_fast, train_module
from networks import NETWORKS, Network, Recipe, named


def main(arguments: list[str] | None = None) -> None:
    """Train what was asked for."""
    options = parse(arguments)
    network = named(options.network)
    if options.start is not None and network.name != "tiny-fc":
        sys.exit(f"--start goes on with a run of tiny-fc, not of {network.name}. Leave it out.")
    if options.data is not None:
        os.environ[network.folder] = str(options.data)
    given = {each.name: getattr(options, each.name) for each in fields(Recipe)}
    recipe = replace(network.recipe, **{key: it for key, it in given.items() if it is not None})
    train(network, recipe, options.out, options.seed, options.start)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("network", choices=[each.name for each in NETWORKS])
    parser.add_argument("--data", type=Path, metavar="DIR", help="MNIST's or CIFAR's folder")
    parser.add_argument("--out", type=Path, metavar="DIR", required=True, help="folder of the run")
    parser.add_argument("--seed", type=int, default=0, help="of first weights and batches")
    parser.add_argument(
        "--start", type=Path, metavar="DIR", help="run of tiny-fc at whose last weights to begin"
    )
    for each in fields(Recipe):
        option = f"--{each.name.replace('_', '-')}"
        if each.type is bool:
            parser.add_argument(option, action="store_true", default=None)
        else:
            kind: Callable[[str], object] = int if each.type is int else float
            parser.add_argument(option, type=kind)
    return parser.parse_args(arguments)


def train(
    network: Network, recipe: Recipe, out: Path, seed: int, start: Path | None = None
) -> None:
    """Train to the end of the recipe, from where the run in `out` is.

    How the run is trained is noted beside it, and with ``done`` that it has ended.
    """
    path, now = out / "recipe.json", {"network": network.name, "seed": seed, **asdict(recipe)}
    if start is not None:
        now["start"] = start.name
    before = json.loads(path.read_text()) if path.exists() else {**now, "done": False}
    if before == {**now, "done": True}:
        return
    if {**before, "epochs": 0, "done": False} != {**now, "epochs": 0, "done": False}:
        sys.exit(f"{out} holds a run that was trained otherwise ({path}). Name another with --out.")
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**now, "done": False}, indent=1) + "\n")
    torch.set_num_threads(1)  # the matrices are too small to share
    if network.name == "tiny-fc":
        train_fast(network, recipe, out, seed, start)
    else:
        train_module(network, recipe, out, seed)
    path.write_text(json.dumps({**now, "done": True}, indent=1) + "\n")


if __name__ == "__main__":
    main()
