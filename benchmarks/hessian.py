"""Time the 20 leading eigenvectors of a Hessian beside curvlinops' products through scipy's eigsh.

    python benchmarks/hessian.py
    python benchmarks/hessian.py --images MNIST/raw      # else the digits that ship with trajscope

The paper's small-lenet (13,338 weights) in eval mode after some training, 2,000 images, float32, in
turns in one process. Both are asked for residuals `|H v - theta v|` of a thousandth of the largest
eigenvalue; those that they have then are computed by the same products, and differ.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import torch
from curvlinops import HessianLinearOperator
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn

from trajscope import Problem
from trajscope.model.eigenvectors import leading_eigenvectors
from trajscope.model.hessian import Hessian, Place
from trajscope.model.losses import at_work
from trajscope.model.mapping import loaded_state, map_parameters
from trajscope.model.samples import Samples

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "paper"))
import networks  # type: ignore[import-not-found]

N_VECTORS: Final = 20
TOLERANCE: Final = 1e-3
AT_ONCE: Final = 500
Found = tuple[np.ndarray, Tensor]
"""Eigenvalues, descending, and eigenvectors as rows."""


def trained(images: Path | None, n_samples: int) -> tuple[nn.Module, Tensor, Tensor]:
    """The network after an epoch or two, and the images that its Hessian is of."""
    torch.manual_seed(0)
    network = networks.named("small-lenet")
    inputs, labels = (torch.as_tensor(each) for each in network.load(images, "train"))
    inputs = inputs.float()
    model = network.build()
    descent = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(200):
        rows = torch.randint(len(inputs), (64,))
        descent.zero_grad()
        nn.functional.cross_entropy(model(inputs[rows]), labels[rows]).backward()
        descent.step()
    repeated = torch.arange(n_samples) % len(inputs)
    return model.eval(), inputs[repeated], labels[repeated]


def ours(model: nn.Module, inputs: Tensor, labels: Tensor) -> tuple[Hessian, Callable[[], Found]]:
    """Trajscope's products, and its eigenvectors."""

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    problem = Problem(model, (inputs, labels), loss)
    held = model.state_dict().items()
    arrays = {name: tensor.numpy() for name, tensor in held if tensor.is_floating_point()}
    mapping = map_parameters(model, arrays, dict.fromkeys(arrays, "all"), None)
    rows = np.arange(len(inputs))
    samples = Samples(problem.data, rows, torch.device("cpu"), torch.float32)
    state = loaded_state(model, mapping, arrays, samples.device, samples.dtype)
    place = Place(state, rows.reshape(-1, min(AT_ONCE, len(rows))))
    hessian = Hessian(problem, mapping, samples, (place,))

    def found() -> Found:
        like = torch.empty(mapping.n_weights)
        pairs = leading_eigenvectors(hessian.product, like, N_VECTORS, tolerance=TOLERANCE)
        print(f"  {pairs.n_products} products", end="", flush=True)
        return pairs.values, pairs.vectors

    return hessian, found


def theirs(model: nn.Module, inputs: Tensor, labels: Tensor) -> Callable[[], Found]:
    """Curvlinops' products through scipy's implicitly restarted Lanczos method."""
    parts = list(zip(inputs.split(AT_ONCE), labels.split(AT_ONCE), strict=True))
    parameters = list(model.parameters())
    operator = HessianLinearOperator(
        model, nn.CrossEntropyLoss(), parameters, parts, check_deterministic=False
    )

    def found() -> Found:
        values, vectors = eigsh(operator.to_scipy(), k=N_VECTORS, which="LA", tol=TOLERANCE)
        return values[::-1], torch.as_tensor(vectors.T[::-1].copy())

    return found


def main() -> None:
    """Print the seconds and residuals of both, run by run, and the medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=Path, help="folder of MNIST's four files")
    parser.add_argument("--samples", type=int, default=2000, help="images, a multiple of 500")
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, inputs, labels = trained(options.images, options.samples)
    hessian, own = ours(model, inputs, labels)
    runs = {"trajscope": own, "curvlinops": theirs(model, inputs, labels)}
    spent: dict[str, list[float]] = {name: [] for name in runs}
    with at_work(model, "eval"):
        for _ in range(options.turns):
            for name, run in runs.items():
                began = time.process_time()
                values, vectors = run()
                spent[name].append(time.process_time() - began)
                left = hessian.product(vectors) - torch.as_tensor(values.copy())[:, None] * vectors
                print(f"  {name}: {spent[name][-1]:.2f} s, eigenvalues {values[0]:.4g} to "
                      f"{values[-1]:.4g}, residuals up to {float(left.norm(dim=1).max()):.2g}",
                      flush=True)  # fmt: skip
    for name, seconds in spent.items():
        print(f"{name}: median {statistics.median(seconds):.2f} s of CPU")


if __name__ == "__main__":
    main()
