"""One small problem for every kind of layer."""

import torch
from torch import nn

from tests.gradient_noise.oracle import classify
from trajscope import Problem


class Attention(nn.Module):
    """A causal language model whose positions are broadcast over the batch, head tied or not."""

    def __init__(self, tied):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(11, 8), nn.Embedding(5, 8)
        self.norm = nn.LayerNorm(8)
        self.mix = nn.Linear(8, 24)
        self.head = nn.Linear(8, 11, bias=False)
        if tied:
            self.head.weight = self.tokens.weight

    def forward(self, tokens):
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1])[None])
        q, k, v = self.mix(self.norm(x)).split(8, dim=-1)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.head(x + mixed)


class Twice(nn.Module):
    """One layer passed twice, and a weight that is also used without its layer."""

    def __init__(self):
        super().__init__()
        self.shared, self.head = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        hidden = torch.tanh(self.shared(torch.tanh(self.shared(x))))
        return self.head(hidden) + hidden @ self.head.weight.T


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.cell(x)[0][:, -1])


def _images(*layers):
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(3)), (2, 6, 6)


def _vectors(*layers):
    return nn.Sequential(*layers), (6,)


NETWORKS = {
    "linear": lambda: _vectors(nn.Linear(6, 3)),
    "without bias": lambda: _vectors(nn.Linear(6, 7, bias=False), nn.Tanh(), nn.Linear(7, 3)),
    "batch norm": lambda: _vectors(nn.Linear(6, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 3)),
    "convolution": lambda: _images(nn.Conv2d(2, 3, 3), nn.ReLU()),
    "strided": lambda: _images(nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 0)), nn.Tanh()),
    "dilated": lambda: _images(nn.Conv2d(2, 3, 3, dilation=2, bias=False), nn.Tanh()),
    "in groups": lambda: _images(nn.Conv2d(2, 4, 3, groups=2), nn.Tanh()),
    "padding of words": lambda: _images(nn.Conv2d(2, 3, 3, padding="same"), nn.Tanh()),
    "reflected": lambda: _images(nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), nn.Tanh()),
    "whole image": lambda: _images(nn.Conv2d(2, 6, 6), nn.Tanh()),
    "batch norm of images": lambda: _images(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU()),
    "group norm": lambda: _images(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.ReLU()),
    "transposed": lambda: _images(nn.ConvTranspose2d(2, 3, 3), nn.ReLU()),
    "one-dimensional": lambda: (
        nn.Sequential(nn.Conv1d(2, 3, 3), nn.PReLU(), nn.Flatten(), nn.LazyLinear(3)),
        (2, 9),
    ),
    "positions": lambda: (nn.Sequential(nn.Linear(4, 3), nn.Flatten(), nn.Linear(6, 3)), (2, 4)),
    "few positions": lambda: (
        nn.Sequential(nn.Linear(20, 15), nn.Tanh(), nn.Flatten(), nn.Linear(30, 3)),
        (2, 20),
    ),
    "twice": lambda: (Twice(), (6,)),
    "recurrent": lambda: (Recurrent(), (7, 4)),
}
"""Each a function to (network, shape of a sample)."""


def classification(name, n_samples, seed=0):
    """The problem of `NETWORKS` called so, its batch norm with statistics of its own."""
    torch.manual_seed(seed)
    model, shape = NETWORKS[name]()
    inputs = torch.randn(n_samples, *shape)
    model.train()
    model(inputs)  # gives lazy layers their sizes, batch norm its statistics
    return Problem(model.eval(), (inputs, torch.randint(3, (n_samples,))), classify)


def language(n_samples, *, tied, seed=0):
    """A causal language model; batches are mappings, as transformers has them."""
    torch.manual_seed(seed)
    tokens = torch.randint(11, (n_samples, 5))
    data = [{"input_ids": row, "labels": row} for row in tokens]

    def loss(model, batch):
        logits = model(batch["input_ids"])[:, :-1]
        return nn.functional.cross_entropy(logits.flatten(0, 1), batch["labels"][:, 1:].flatten())

    return Problem(Attention(tied), data, loss)
