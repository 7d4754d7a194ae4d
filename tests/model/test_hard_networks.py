"""What torch cannot map, or maps wrongly: right all the same, and the layer that costs it is named.

The truth is the module itself in float64, loaded with the weights, one backward pass a sample.
"""

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.checkpoint import checkpoint

from tests.gradient_noise.oracle import classify, regress
from trajscope import OptionError, Problem, TrajscopeWarning, diffusion
from trajscope.model import plain, verification
from trajscope.report.screen.gradient_noise import diffusion_lines


class Checkpointed(nn.Module):
    """Runs its hidden layers again on the way back."""

    def __init__(self, reentrant):
        super().__init__()
        self.first, self.hidden, self.last = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.reentrant = reentrant

    def forward(self, x):
        x = torch.tanh(self.first(x))
        x = checkpoint(self._again, x, use_reentrant=self.reentrant)
        return self.last(x)

    def _again(self, x):
        return torch.tanh(self.hidden(torch.tanh(self.hidden(x))))


class OwnWeights(torch.autograd.Function):
    """A linear layer that looks its weight up again on the way back, in the module."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x, weight, module):
        return x @ weight.T

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, _, ctx.module = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient @ ctx.module.weight, gradient.mT @ x, None


class LooksUp(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 3, bias=False)

    def forward(self, x):
        return OwnWeights.apply(torch.tanh(self.first(x)), self.second.weight, self.second)


class Words(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.words, self.head = nn.Embedding(7, 4, sparse=True, **options), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.words(x).flatten(1))


class SparseFunction(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.head = nn.Embedding(7, 4), nn.Linear(8, 3)

    def forward(self, x):
        found = nn.functional.embedding(x, self.words.weight, sparse=True)
        return self.head(found.flatten(1))


class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.head = nn.EmbeddingBag(7, 4, sparse=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.words(x))


class Recurrent(nn.Module):
    def __init__(self, kind, width, **options):
        super().__init__()
        self.cell = kind(4, 5, batch_first=True, **options)
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        return self.head(self.cell(x)[0][:, -1])


class PartlyCompiled(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.compile(nn.Sequential(nn.Linear(4, 6), nn.Tanh()), backend="eager")
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.body(x))


class ByValue(nn.Module):
    """Goes another way by the value of what it is given."""

    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return self.one(x) if float(x.sum()) > 0 else self.other(x)


class SparseByName(nn.Module):
    """Whose attribute `sparse` has a meaning of its own."""

    def __init__(self):
        super().__init__()
        self.layer, self.sparse = nn.Linear(4, 3), True

    def forward(self, x):
        return torch.relu(self.layer(x)) if self.sparse else self.layer(x)


VECTORS, SEQUENCES, TOKENS = (4,), (6, 4), (2,)
NETWORKS = {
    "checkpointing": (lambda: Checkpointed(False), VECTORS, "the model (Checkpointed)"),
    "reentrant checkpointing": (lambda: Checkpointed(True), VECTORS, "the model (Checkpointed)"),
    "weights looked up": (lambda: LooksUp().double(), VECTORS, "first.weight: its vectorised"),
    "sparse embedding": (Words, TOKENS, None),
    "sparse and padded": (lambda: Words(padding_idx=2), TOKENS, None),
    "sparse function": (SparseFunction, TOKENS, "the loss, or its backward pass"),
    "sparse bag": (Bag, TOKENS, None),
    "sparse by name": (SparseByName, VECTORS, None),
    "gru": (lambda: Recurrent(nn.GRU, 5), SEQUENCES, "cell (GRU)"),
    "rnn": (lambda: Recurrent(nn.RNN, 5), SEQUENCES, "cell (RNN)"),
    "lstm": (lambda: Recurrent(nn.LSTM, 5), SEQUENCES, "cell (LSTM)"),
    "projected lstm": (lambda: Recurrent(nn.LSTM, 2, proj_size=2), SEQUENCES, "cell (LSTM)"),
    "partly compiled": (PartlyCompiled, VECTORS, None),
    "choice by value": (ByValue, VECTORS, "the model (ByValue)"),
    "normalised by sample": (
        lambda: nn.Sequential(
            nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 3, 2),
            nn.BatchNorm1d(3, track_running_stats=False), nn.Flatten(), nn.Linear(9, 3),
        ), VECTORS, None,
    ),
}  # fmt: skip


def make(name, n=14):
    torch.manual_seed(0)
    build, shape, _ = NETWORKS[name]
    model = build().eval()
    is_words = shape is TOKENS
    inputs = torch.randint(7, (n, *shape)) if is_words else torch.randn(n, *shape)
    return Problem(model, (inputs, torch.randint(3, (n,))), classify)


def write(folder, model, *, shift=0.3):
    """The weights at two steps, those of the last far from the module's own."""
    for step in (0, 1):
        state = {
            name.replace("_orig_mod.", ""): tensor + shift * step * torch.rand_like(tensor)
            for name, tensor in model.state_dict().items()
        }
        save_file(state, folder / f"step-{step}.safetensors")
    return state


def oracle(problem, state):
    """Gradients of single samples, (sample, weight), and losses: load, backward, read."""
    model = copy.deepcopy(problem.model).double().eval()
    target = {name.replace("_orig_mod.", ""): t for name, t in model.state_dict().items()}
    for name, tensor in state.items():
        target[name].copy_(tensor)
    rows, losses = [], []
    for sample in zip(*problem.data, strict=True):
        batch = tuple(t[None].double() if t.is_floating_point() else t[None] for t in sample)
        model.zero_grad()
        loss = problem.loss(model, batch)
        loss.backward()
        found = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
        rows.append(torch.cat([g.to_dense().flatten() for g in found]).numpy())
        losses.append(loss.item())
    return np.array(rows), np.array(losses)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.filterwarnings("ignore:Layer '2' lacks running statistics")
@pytest.mark.parametrize("name", NETWORKS)
def test_d_is_that_of_plain_backward_passes_of_the_module_itself(name, tmp_path):
    problem = make(name)
    state = write(tmp_path, problem.model)
    before = copy.deepcopy(problem.model.state_dict())
    rows, losses = oracle(problem, state)
    found = diffusion(tmp_path, problem, at=[0, 1], every=1, dtype="float64")
    last = found.sel(step=1)
    values = np.sort(np.linalg.eigvalsh(np.cov(rows.T, bias=True)))[::-1]
    kept = last["eigenvalue"].to_numpy()
    np.testing.assert_allclose(kept, values[: len(kept)], atol=1e-12 * values[0])
    assert last["trace"].item() == pytest.approx(values.sum(), rel=1e-10)
    assert last["loss"].item() == pytest.approx(losses.mean(), rel=1e-10)
    norm = np.linalg.norm(rows.mean(0)) / np.sqrt(rows.shape[1])
    assert found["checkpoint_gradient_norm"].values[-1] == pytest.approx(norm, rel=1e-10)
    culprit = NETWORKS[name][2]
    assert found.attrs["vectorised"] == (culprit is None)
    assert [culprit in text for text in found.attrs["unmapped"]] == (
        [] if culprit is None else [True]
    )
    assert all(torch.equal(before[key], now) for key, now in problem.model.state_dict().items())
    assert all(getattr(m, "sparse", True) for m in problem.model.modules()
               if isinstance(m, nn.Embedding | nn.EmbeddingBag) and name.startswith("sparse ")
               and name != "sparse function")  # fmt: skip


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_leading_eigenvectors_are_found_without_mapping_too(tmp_path):
    problem = make("checkpointing")
    write(tmp_path, problem.model, shift=0.0)
    found = diffusion(tmp_path, problem, at=[0, 1], every=0, dtype="float64")
    assert found["eigenspace_overlap"].values == pytest.approx(np.ones((2, 2)), abs=1e-9)


def test_ctc_loss_of_single_samples_is_right(tmp_path):
    torch.manual_seed(0)
    model = nn.Linear(4, 5)
    data = torch.randn(9, 8, 4), torch.randint(1, 5, (9, 3)), torch.randint(2, 4, (9,))

    def loss(model, batch):
        inputs, targets, lengths = batch
        logs = model(inputs).log_softmax(-1).transpose(0, 1)
        full = torch.full((len(inputs),), inputs.shape[1], dtype=torch.long)
        return nn.functional.ctc_loss(logs, targets, full, lengths)

    problem = Problem(model, data, loss)
    rows, losses = oracle(problem, write(tmp_path, model))
    found = diffusion(tmp_path, problem, at=[1], every=0, dtype="float64").isel(step=0)
    assert found["trace"].item() == pytest.approx(np.trace(np.cov(rows.T, bias=True)), rel=1e-10)
    assert found["loss"].item() == pytest.approx(losses.mean(), rel=1e-10)


def test_batch_norm_without_statistics_is_refused_and_the_remedy_works(tmp_path):
    torch.manual_seed(0)
    layers = nn.Linear(4, 6), nn.BatchNorm1d(6, track_running_stats=False), nn.Linear(6, 3)
    problem = Problem(
        nn.Sequential(*layers), (torch.randn(20, 4), torch.randint(3, (20,))), classify
    )
    write(tmp_path, problem.model)
    with pytest.raises(OptionError, match=r"Layer '1' .* lacks running statistics.*--mode train"):
        diffusion(tmp_path, problem)
    found = diffusion(tmp_path, problem, mode="train", batch_size=5, samples=30)
    assert (found["trace"] > 0).all()


def test_dropout_that_never_sleeps_is_refused(tmp_path):
    problem = make("choice by value")

    def loss(model, batch):
        return nn.functional.cross_entropy(nn.functional.dropout(model(batch[0])), batch[1])

    write(tmp_path, problem.model)
    with pytest.raises(OptionError, match=r"draw random numbers"):
        diffusion(tmp_path, Problem(problem.model, problem.data, loss))


def test_float32_networks_in_a_float32_run_are_held_to_plain_passes_too(tmp_path):
    class Single(nn.Module):
        """Works in float32 whatever it is given."""

        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 1)

        def forward(self, x):
            return nn.functional.linear(
                x.float(), self.layer.weight.float(), self.layer.bias.float()
            )

    torch.manual_seed(0)
    problem = Problem(Single(), (torch.randn(9, 4), torch.randn(9)), regress)
    rows, _ = oracle(problem, write(tmp_path, problem.model))
    found = diffusion(tmp_path, problem, at=[1], every=0).isel(step=0)
    assert found["trace"].item() == pytest.approx(np.trace(np.cov(rows.T, bias=True)), rel=1e-5)


def test_what_is_normalised_alone_is_said(tmp_path):
    problem = make("normalised by sample")
    write(tmp_path, problem.model)
    with pytest.warns(TrajscopeWarning, match=r"Layer '2' lacks running statistics.*--mode train"):
        diffusion(tmp_path, problem, at=[1], every=0)
    assert diffusion(tmp_path, problem, at=[1], mode="train", batch_size=4).attrs["warnings"] == []


def test_the_layer_that_cannot_be_mapped_is_said_on_screen_and_page(tmp_path):
    problem = make("gru")
    write(tmp_path, problem.model)
    found = diffusion(tmp_path, problem, at=[1], every=0)
    lines = " ".join(" ".join(diffusion_lines(found, width=100)).split())
    assert "torch cannot vectorise cell (GRU)" in lines


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("name", ["checkpointing", "partly compiled", "choice by value"])
def test_parameters_of_large_models_are_compared_part_by_part(name, tmp_path, monkeypatch):
    monkeypatch.setattr(plain, "AT_ONCE", 20)
    monkeypatch.setattr(verification, "AT_ONCE", 20)
    problem = make(name)
    rows, _ = oracle(problem, write(tmp_path, problem.model))
    found = diffusion(tmp_path, problem, at=[1], every=0, dtype="float64").isel(step=0)
    assert found["trace"].item() == pytest.approx(np.trace(np.cov(rows.T, bias=True)), rel=1e-10)

    def detached(model, batch):
        return classify(model, batch).detach()

    with pytest.raises(OptionError, match="does not depend on the weights"):
        diffusion(tmp_path, Problem(problem.model, problem.data, detached))
