"""Options on how a run was trained, and on its gradient noise."""

from pathlib import Path

import click

MOMENTUM = click.option(
    "--momentum",
    type=float,
    metavar="MU",
    help="Momentum of the optimizer, used to test for ringing and in the noise budget.",
)
PROBLEM = (
    click.option(
        "--problem",
        metavar="FILE.py:FUNCTION",
        help="Function that returns trajscope.Problem(model, data, loss); its code is executed.",
    ),
    click.option(
        "--at",
        metavar="STEPS",
        help="Checkpoints at which gradient noise is measured.  [default: 20%,40%,100%]",
    ),
    click.option(
        "--samples", type=int, metavar="N", help="Number of random samples.  [default: all]"
    ),
    click.option(
        "--every",
        type=int,
        metavar="N",
        help="Measure loss and gradient norm at every N-th checkpoint (0: never).  "
        "[default: at up to 200]",
    ),
    click.option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N.  [default: auto]"),
    click.option(
        "--dtype",
        type=click.Choice(["float32", "float64"]),
        help="Precision of the network; products use float64.  [default: float32]",
    ),
    click.option("--chunk", metavar="N", help="Samples per pass.  [default: auto, from --memory]"),
    click.option(
        "--mode",
        type=click.Choice(["eval", "train"]),
        help="eval: gradients of single samples, as in the paper; train: gradients of batches, as "
        "during training.  [default: eval]",
    ),
    click.option(
        "--lr", type=float, metavar="ETA", help="Learning rate, used for the temperature."
    ),
    click.option("--batch-size", type=int, metavar="B", help="Batch size of training."),
    click.option(
        "--nesterov", is_flag=True, default=None, help="The momentum of training is Nesterov's."
    ),
    click.option(
        "--sampling",
        type=click.Choice(["replacement", "shuffle", "unknown"]),
        help="How training sampled batches: with replacement, or shuffled epochs.  "
        "[default: unknown]",
    ),
    click.option(
        "--sketch",
        type=int,
        metavar="K",
        help="Project gradients onto K random directions (approximate; its error is measured).",
    ),
    click.option(
        "--work-dir",
        metavar="FOLDER",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder for intermediate results: the same command resumes after an interruption.",
    ),
)
PROBLEM_NAMES = (
    "at",
    "samples",
    "every",
    "device",
    "dtype",
    "chunk",
    "mode",
    "lr",
    "batch_size",
    "nesterov",
    "sampling",
    "sketch",
    "work_dir",
)
SETTINGS = ("lr", "batch_size", "nesterov", "sampling", "weight_decay")
"""Of the optimizer: without --problem they ask for what the trajectory alone says of the theory."""
WEIGHT_DECAY = click.option(
    "--weight-decay",
    type=float,
    metavar="LAMBDA",
    help="Weight decay of training, for the test of the theory.  [default: from the trainer's "
    "files, or 0]",
)
TRAINING = (
    click.option(
        "--lr", type=float, multiple=True, metavar="ETA",
        help="Learning rate, once for all runs or once for each.  [default: from the trainer's "
        "files]",
    ),
    click.option(
        "--batch-size", type=int, multiple=True, metavar="B",
        help="Batch size of training, once for all runs or once for each.",
    ),
    click.option(
        "--sampling", type=click.Choice(["replacement", "shuffle", "unknown"]),
        help="How training sampled batches: with replacement, or shuffled epochs.  "
        "[default: unknown]",
    ),
)  # fmt: skip
