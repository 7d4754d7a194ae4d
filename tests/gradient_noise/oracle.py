"""D the slow way: one backward pass per sample in float64, the dense matrix, its eigenvalues."""

import copy
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
from safetensors.torch import save_file
from torch import nn

import trajscope as package


@dataclass
class Truth:
    gradients: np.ndarray  # (sample, weight)
    losses: np.ndarray
    names: list  # (weight,), the parameter each belongs to

    @property
    def mean(self):
        return self.gradients.mean(axis=0)

    @property
    def matrix(self):
        g = self.gradients
        return g.T @ g / len(g) - np.outer(self.mean, self.mean)

    @property
    def eigenvalues(self):
        """All d of them, descending: singular values, so that small ones keep their digits."""
        centred = self.gradients - self.mean
        values = np.linalg.svd(centred, compute_uv=False) ** 2 / len(centred)
        return np.pad(np.sort(values)[::-1], (0, max(centred.shape[1] - len(values), 0)))

    @property
    def gram(self):
        """H K H / N, whose eigenvalues other than zero are those of D."""
        centred = self.gradients - self.mean
        return centred @ centred.T / len(centred)

    def of(self, wanted):
        """Only the weights of parameters whose names are wanted."""
        kept = np.array([wanted(name) for name in self.names])
        return Truth(self.gradients[:, kept], self.losses, [n for n in self.names if wanted(n)])


def inertia(matrix, threshold):
    """How many eigenvalues exceed a threshold: the signs of an LDL' decomposition (Sylvester)."""
    _, blocks, _ = scipy.linalg.ldl(matrix - threshold * np.eye(len(matrix)))
    # Of one or two rows each: the signs of all are those of the whole.
    return int((np.linalg.eigvalsh(blocks) > 0).sum())


def truth(problem, samples=None):
    """At the model's own weights, in eval mode."""
    model = copy.deepcopy(problem.model).double().eval()
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    rows, losses = [], []
    for sample in every_sample(problem.data) if samples is None else samples:
        loss = problem.loss(model, sample).sum()
        found = torch.autograd.grad(loss, [p for _, p in trained], allow_unused=True)
        rows.append(
            np.concatenate(
                [
                    (torch.zeros_like(p) if g is None else g).numpy().ravel()
                    for g, (_, p) in zip(found, trained, strict=True)
                ]
            )
        )
        losses.append(loss.item())
    names = [name for name, p in trained for _ in range(p.numel())]
    return Truth(np.stack(rows), np.array(losses), names)


def every_sample(data):
    def double(value):
        value = torch.as_tensor(value)[None]
        return value.double() if value.is_floating_point() else value

    for index in range(len(data[0]) if isinstance(data, tuple) else len(data)):
        sample = tuple(t[index] for t in data) if isinstance(data, tuple) else data[index]
        if isinstance(sample, dict):
            yield {key: double(value) for key, value in sample.items()}
        else:
            yield tuple(double(value) for value in sample)


def write_run(folder, model, steps=(0, 1)):
    """Checkpoints of the model: its weights at the last step, others before."""
    for step in steps:
        shift = (steps[-1] - step) * 0.01
        state = {
            name: (t + shift if t.is_floating_point() else t).contiguous().clone()
            for name, t in model.state_dict().items()
        }
        # As a file holds them: of tied weights the first.
        seen = {}
        for name, tensor in model.state_dict().items():
            if tensor.data_ptr() in seen and tensor.numel():
                del state[name]
            seen[tensor.data_ptr()] = name
        save_file(state, folder / f"step-{step}.safetensors", metadata={"step": str(step)})
    return folder


def found(folder, problem, **options):
    """The result at the last step, from a module whose own weights are others."""
    blank = copy.deepcopy(problem.model)
    with torch.no_grad():
        for tensor in (*blank.parameters(), *blank.buffers()):
            if tensor.is_floating_point():
                tensor.fill_(0.5)
    other = package.Problem(blank, problem.data, problem.loss)
    options = {"at": "100%", "dtype": "float64", "every": 0} | options
    return package.diffusion(folder, other, **options).isel(step=-1)


def classify(model, batch):
    inputs, labels = batch
    return nn.functional.cross_entropy(model(inputs), labels)


def regress(model, batch):
    inputs, targets = batch
    return (model(inputs).squeeze(-1) - targets).square() / 2
