#!/usr/bin/env bash
# torch 2.13.0, CPU: per-sample gradients by torch.func.vmap(torch.func.grad(...)), by layer.
#
# The documentation of per-sample gradients shows this for feed-forward networks. Of the recurrent
# layers, nn.LSTM can be mapped and nn.GRU, nn.RNN and nn.LSTM(proj_size=...) cannot; the same
# nn.LSTM cannot be mapped in float64, nor where vmap is outside and the gradient is not taken by
# torch.func. nn.Embedding(sparse=True) cannot be mapped, and can be once its attribute `sparse` is
# False. Activation checkpointing cannot be mapped, reentrant or not.
#
# Seen: yes for linear, lstm, dense embedding; for all others an exception (RuntimeError, or
# NotImplementedError for sparse embeddings).
#
# Exits with 1 when any of these changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.utils.checkpoint import checkpoint


class Last(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0]


class Checkpointed(nn.Module):
    def __init__(self, reentrant):
        super().__init__()
        self.layer, self.reentrant = nn.Linear(3, 2), reentrant

    def forward(self, x):
        return checkpoint(self.layer, x, use_reentrant=self.reentrant)


def sequences(kind, **options):
    return Last(kind(3, 4, batch_first=True, **options)), torch.randn(6, 5, 3)


def can_be_mapped(model, inputs, by_torch_func=True):
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def loss(weights, sample):
        return functional_call(model, weights, (sample[None],)).square().sum()

    try:
        if by_torch_func:
            vmap(grad(loss), in_dims=(None, 0))(weights, inputs)
        else:
            leaves = {name: each.requires_grad_() for name, each in weights.items()}
            vmap(lambda sample: loss(leaves, sample))(inputs).sum().backward()
    except Exception as error:
        return type(error).__name__
    return "yes"


torch.manual_seed(0)
words = torch.randint(5, (6, 2))
lstm, inputs = sequences(nn.LSTM)
found = {
    "linear": can_be_mapped(nn.Linear(3, 2), torch.randn(6, 3)),
    "lstm": can_be_mapped(lstm, inputs),
    "lstm, vmap outside of autograd": can_be_mapped(lstm, inputs, by_torch_func=False),
    "lstm in float64": can_be_mapped(lstm.double(), inputs.double()),
    "lstm with projections": can_be_mapped(*sequences(nn.LSTM, proj_size=2)),
    "gru": can_be_mapped(*sequences(nn.GRU)),
    "rnn": can_be_mapped(*sequences(nn.RNN)),
    "dense embedding": can_be_mapped(nn.Embedding(5, 3), words),
    "sparse embedding": can_be_mapped(nn.Embedding(5, 3, sparse=True), words),
    "checkpointing": can_be_mapped(Checkpointed(False), torch.randn(6, 3)),
    "reentrant checkpointing": can_be_mapped(Checkpointed(True), torch.randn(6, 3)),
}
expected = {"linear", "lstm", "dense embedding"}
print(f"torch {torch.__version__}")
for name, answer in found.items():
    print(f"  {name:32} {answer}")
sys.exit(0 if {name for name, answer in found.items() if answer == "yes"} == expected else 1)
PYTHON
