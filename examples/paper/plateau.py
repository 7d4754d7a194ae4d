"""Train tiny-fc by plain SGD until it rests on a plateau, and test the theory of its steady state.

tiny-fc (917 weights, the digits 0 to 4), trained as the theory
of arXiv:1710.11029 has it: one learning rate throughout, weight decay, every batch drawn with
replacement, no momentum. What comes before the plateau is thrown away.

    export MNIST_DIR=MNIST/raw
    python examples/paper/plateau.py --out plateau
    trajscope analyze plateau --problem examples/paper/plateau.py:make_problem \
        --lr 0.1 --batch-size 50 --momentum 0 --weight-decay 1e-3 --sampling replacement

Half a million updates take about four minutes on one core; of the checkpoints every 10 updates
that follow, 2,000 are kept. Further runs on the same plateau begin where this one ended:

    python examples/paper/plateau.py --out plateau-1 --seed 1 --warm-up 5000 \
        --start plateau/step-519990.safetensors
"""

import argparse
import os
import sys
from pathlib import Path

import torch
from data import tiny
from networks import cross_entropy, tiny_fc
from safetensors.torch import load_file
from torch import Tensor, nn

import trajscope


def make_problem() -> trajscope.Problem:
    """The network, the images of the folder that MNIST_DIR names, cross-entropy."""
    if "MNIST_DIR" not in os.environ:
        sys.exit("Say in the environment variable MNIST_DIR where MNIST's IDX files are.")
    return trajscope.Problem(tiny_fc(), load_images(Path(os.environ["MNIST_DIR"])), cross_entropy)


def load_images(folder: Path) -> tuple[Tensor, Tensor]:
    """The training images of the digits 0 to 4, and their labels."""
    images, labels = tiny(folder, "train")
    return torch.from_numpy(images), torch.from_numpy(labels)


def main(arguments: list[str] | None = None) -> None:
    """Train, and keep the weights of the plateau."""
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    if any(options.out.iterdir()):
        sys.exit(f"{options.out} is not empty. Name another folder with --out, or remove it.")
    images, labels = load_images(options.data)
    torch.set_num_threads(1)  # the matrices are too small to share
    torch.manual_seed(options.seed)
    model = tiny_fc()
    if options.start is not None:
        model.load_state_dict(load_file(options.start), strict=False)
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=options.rate,
        momentum=options.momentum,
        nesterov=options.nesterov,
        weight_decay=options.decay,
        fused=True,
    )
    loss = nn.CrossEntropyLoss()
    order = torch.empty(0, dtype=torch.int64)
    for step in range(options.warm_up + options.every * options.checkpoints):
        if step >= options.warm_up and (step - options.warm_up) % options.every == 0:
            trajscope.save_checkpoint(options.out, model.state_dict(), step=step)
        if options.shuffle:
            order = order if len(order) else torch.randperm(len(labels))
            batch, order = order[: options.batch], order[options.batch :]
        else:
            batch = torch.randint(len(labels), (options.batch,))
        optimizer.zero_grad()
        loss(model(images[batch]), labels[batch]).backward()
        optimizer.step()


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
    parser.add_argument("--out", type=Path, metavar="DIR", default="plateau", help="checkpoints")
    parser.add_argument(
        "--start", type=Path, metavar="FILE", help="a checkpoint to begin at, with other batches"
    )
    parser.add_argument("--warm-up", type=int, default=500_000, help="updates before the plateau")
    parser.add_argument("--checkpoints", type=int, default=2000, help="how many are kept")
    parser.add_argument("--every", type=int, default=10, help="updates between checkpoints")
    parser.add_argument("--rate", type=float, default=0.1, help="learning rate")
    parser.add_argument("--batch", type=int, default=50, help="images of a batch")
    parser.add_argument("--decay", type=float, default=1e-3, help="weight decay")
    parser.add_argument("--momentum", type=float, default=0.0, help="0 for plain SGD")
    parser.add_argument("--nesterov", action="store_true", help="momentum that looks ahead")
    parser.add_argument("--shuffle", action="store_true", help="epochs that deal all images out")
    parser.add_argument("--seed", type=int, default=0, help="of first weights and batches")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
