#!/usr/bin/env bash
# torch 2.13.0: torch.func.functional_call with torch.utils.checkpoint(use_reentrant=False).
#
# functional_call lends a module other weights for one forward call. A checkpointed segment runs
# again during the backward pass, and that comes after the call: the segment then runs with the
# module's own weights. The loss is that of the lent weights, the gradient is a mixture of both, and
# nothing is raised.
#
# Seen: relative error of the gradient .623 with the backward pass after the call, 0 with
# the backward pass inside it (a module whose forward() also calls backward()).
#
# Exits with 1 when the two gradients agree, that is when this no longer happens.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy
"$work/venv/bin/python" - <<'PYTHON'
import copy
import sys

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint


class Segment(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 1)

    def forward(self, x):
        def inner(x):
            return self.second(torch.tanh(self.first(x)))

        return checkpoint(inner, x, use_reentrant=False).square().sum()


class WithBackward(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        loss = self.model(x)
        loss.backward()
        return loss.detach()


torch.manual_seed(0)
model, x = Segment(), torch.randn(5, 3)
lent = {name: p.detach() + torch.randn_like(p) for name, p in model.named_parameters()}

loaded = copy.deepcopy(model)
loaded.load_state_dict(lent)
loaded(x).backward()
truth = torch.cat([p.grad.flatten() for p in loaded.parameters()])


def leaves():
    return {name: tensor.clone().requires_grad_() for name, tensor in lent.items()}


def error(weights):
    found = torch.cat([each.grad.flatten() for each in weights.values()])
    return float((found - truth).norm() / truth.norm())


after = leaves()
functional_call(model, after, (x,)).backward()
inside = leaves()
functional_call(WithBackward(model), {f"model.{k}": v for k, v in inside.items()}, (x,))
print(f"torch {torch.__version__}: relative error of the gradient")
print(f"  backward after functional_call:  {error(after):.3g}")
print(f"  backward inside functional_call: {error(inside):.3g}")
sys.exit(0 if error(after) > 0.01 and error(inside) < 1e-6 else 1)
PYTHON
