"""The state of an optimizer is no weight, however deep and under whatever name it is kept."""

import inspect

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from trajscope.checkpoints.series import find_series
from trajscope.checkpoints.weights import choose_weights

OPTIMIZERS = {
    name: kind
    for name, kind in sorted(vars(torch.optim).items())
    if inspect.isclass(kind) and issubclass(kind, torch.optim.Optimizer)
    if kind is not torch.optim.Optimizer
}
SETTINGS = {
    "Adam": {"amsgrad": True},
    "AdamW": {"amsgrad": True, "lr": torch.tensor(0.01), "capturable": False, "foreach": False},
    "RMSprop": {"momentum": 0.9, "centered": True},
    "SGD": {"momentum": 0.9},
}


class Net(nn.Module):
    """A model with layers that are called as an optimizer's things are."""

    def __init__(self, sparse):
        super().__init__()
        self.embedding = nn.Embedding(5, 4, sparse=sparse)
        self.opt = nn.Linear(4, 4, bias=False)
        self.state = nn.ModuleList([nn.Linear(4, 3, bias=False)])


def trained(name):
    net = Net(sparse=name == "SparseAdam")
    own = [net.embedding.weight] if name == "SparseAdam" else net.parameters()
    optimizer = OPTIMIZERS[name](own, **{"lr": 0.01} | SETTINGS.get(name, {}))

    def loss():
        optimizer.zero_grad()
        found = net.state[0](net.opt(net.embedding(torch.arange(5)))).square().sum()
        found.backward()
        return found

    optimizer.step(loss)
    return net, optimizer


def stepwise(model, optimizer):
    return {"step": torch.tensor(3.0), "model": model, "optimizer": optimizer}


LAYOUTS = {
    "at the top": lambda model, opt: {"model": model, "optimizer": opt},
    "beside unknown names": lambda model, opt: {"generator": model, "solver": opt},
    "two deep": lambda model, opt: {"model": model, "trainer": {"optimizer": opt}},
    "with the model": lambda model, opt: {"state": {"model": model, "opt": opt}, "epoch": 1},
    "with a model of any name": lambda model, opt: {"all": {"gen": model, "solver": opt}},
    "a list": lambda model, opt: {"model": model, "optimizers": [opt, opt]},
    "a list of any name": lambda model, opt: {"gen": model, "solvers": [opt, opt]},
    "a tuple": lambda model, opt: (model, opt),
    "a GAN": lambda model, opt: {"net_g": model, "optim_g": opt, "opt_D": opt, "gOptimizer": opt},
    "in camels": lambda model, opt: {"gen": model, "optG": opt, "optimizerD": opt},
    "within the model": lambda model, opt: {"model": {"net": model, "inner": {"solver": opt}}},
}


def read(tmp_path, write):
    """The weights of two checkpoints that `write` writes."""
    for step in (1, 2):
        write(tmp_path, step)
    return choose_weights(find_series(tmp_path))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_all_of_the_model_is_read_and_nothing_of_the_optimizer(name, layout, tmp_path):
    if name == "Muon" and not hasattr(torch.optim, "Muon"):
        pytest.skip("this torch has none")
    net, optimizer = trained(name)
    content = LAYOUTS[layout](net.state_dict(), optimizer.state_dict())
    weights = read(tmp_path, lambda at, step: torch.save(content, at / f"step_{step}.pt"))
    own = {each.name.rpartition("/")[2] for each in weights.tensors}
    assert own == set(dict(net.named_parameters()))
    assert len(weights.tensors) == len(own)


def test_state_by_the_names_of_parameters_is_none_either(tmp_path):
    net, optimizer = trained("RMSprop")
    names = list(dict(net.named_parameters()))
    by_name = {names[at]: kept for at, kept in optimizer.state_dict()["state"].items()}
    content = {"state": {"gen": net.state_dict(), "solver": {"state": by_name}}}
    weights = read(tmp_path, lambda at, step: torch.save(content, at / f"step_{step}.pt"))
    assert {each.name.rpartition("/")[2] for each in weights.tensors} == set(names)


@pytest.mark.parametrize("prefix", ["app.optim", "trainer.solver", "optimizer"])
def test_state_in_dotted_names_is_none_either(prefix, save, tmp_path):
    net, optimizer = trained("RMSprop")
    for step in (1, 2):
        tensors = {name: each.numpy() for name, each in net.state_dict().items()}
        for at, kept in optimizer.state_dict()["state"].items():
            for slot, each in kept.items():
                tensors[f"{prefix}.state.{at}.{slot}"] = each.numpy()
        save(f"step_{step}.safetensors", tensors)
    weights = choose_weights(find_series(tmp_path))
    assert {each.name for each in weights.tensors} == set(net.state_dict())


@pytest.mark.parametrize("owner", ["optimizer", "trainer/optimizer", "d_optimizer", "own/solver"])
def test_numbered_variables_of_a_keras_optimizer_are_none(owner, tmp_path):
    def write(at, step):
        with h5py.File(at / f"step_{step}.weights.h5", "w") as file:
            for name in ("layers/dense/vars/0", "layers/state/0/vars/0"):
                file[name] = np.ones((3, 4), "f4")
            file[f"{owner}/vars/0"] = np.int64(3)
            file[f"{owner}/vars/1"] = np.float32(0.1)
            for number in range(2, 6):
                file[f"{owner}/vars/{number}"] = np.ones((3, 4), "f4")

    weights = read(tmp_path, write)
    names = [each.name for each in weights.tensors]
    assert names == ["layers/dense/vars/0", "layers/state/0/vars/0"]


@pytest.mark.parametrize("slot", ["mu", "nu", "trace"])
def test_the_tree_of_optax_is_none(slot, save, tmp_path):
    for step in (1, 2):
        kernel = np.ones((3, 4), "f4")
        save(
            f"step_{step}.safetensors",
            {"dense/kernel": kernel, f"train/opt_state/0/{slot}/dense/kernel": kernel,
             f"opt_state.0.{slot}.dense.kernel": kernel},
        )  # fmt: skip
    weights = choose_weights(find_series(tmp_path))
    assert [each.name for each in weights.tensors] == ["dense/kernel"]


def test_an_optimizer_of_the_users_own_is_known_by_the_shapes_it_keeps(tmp_path):
    net = Net(sparse=False)
    state = {at: {"mine": torch.ones_like(each)} for at, each in enumerate(net.parameters())}
    content = {"gen": net.state_dict(), "solver": {"state": state}}
    weights = read(tmp_path, lambda at, step: torch.save(content, at / f"step_{step}.pt"))
    assert {each.name for each in weights.tensors} == {f"gen/{name}" for name in net.state_dict()}


@pytest.mark.parametrize("names", [("w", "b"), ("fc.weight",)])
def test_layers_by_number_in_a_state_are_weights(names, tmp_path):
    layers = {at: {name: torch.ones(2, 3) for name in names} for at in range(2)}
    content = {"state": layers, "head": {"w": torch.ones(2, 3)}}
    weights = read(tmp_path, lambda at, step: torch.save(content, at / f"step_{step}.pt"))
    names_read = {each.name for each in weights.tensors}
    assert names_read == {"head/w"} | {f"state/{at}/{name}" for at in range(2) for name in names}


def test_models_by_number_in_a_state_are_weights(tmp_path):
    content = {"state": {at: {"fc.weight": torch.ones(2, 3), "out.bias": torch.ones(3)}
                         for at in (0, 1)}}  # fmt: skip
    weights = read(tmp_path, lambda at, step: torch.save(content, at / f"step_{step}.pt"))
    assert len(weights.tensors) == 4
