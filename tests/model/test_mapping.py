"""Checkpoint and module have to fit: what is missing, left over or of another shape is listed."""

import re

import numpy as np
import pytest
import torch
import xarray as xr
from safetensors.torch import save_file
from torch import nn

import trajscope
from tests.gradient_noise.networks import classification, language
from tests.gradient_noise.oracle import classify, found, truth, write_run
from trajscope import Problem, diffusion
from trajscope.errors import OptionError


def write(folder, state):
    for step in range(2):
        save_file(state, folder / f"step-{step}.safetensors")
    return folder


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_prefixes_of_wrappers_are_understood_in_the_checkpoint(prefix, tmp_path):
    problem = classification("batch norm", 20)
    state = {prefix + name: tensor for name, tensor in problem.model.state_dict().items()}
    result = found(write(tmp_path, state), problem)
    np.testing.assert_allclose(result["trace"], np.trace(truth(problem).matrix), rtol=1e-8)


def test_a_wrapped_module_is_filled_too(tmp_path):
    problem = classification("batch norm", 20)
    wrapped = nn.DataParallel(problem.model)
    result = found(write_run(tmp_path, problem.model), Problem(wrapped, problem.data, problem.loss))
    np.testing.assert_allclose(result["trace"], np.trace(truth(problem).matrix), rtol=1e-8)


def test_missing_and_unexpected_names_are_listed(tmp_path):
    problem = classification("batch norm", 20)
    state = problem.model.state_dict()
    del state["3.bias"], state["1.running_mean"]
    state["4.extra"] = torch.zeros(3)
    message = (
        r"in the module but not in the checkpoint 2: 3\.bias, 1\.running_mean; "
        r"in the checkpoint but not in the module 1: 4\.extra\. Does make_problem build"
    )
    with pytest.raises(OptionError, match=message):
        found(write(tmp_path, state), problem)


def test_another_shape_is_named(tmp_path):
    problem = classification("linear", 20)
    state = problem.model.state_dict() | {"0.weight": torch.zeros(4, 6)}
    message = r"of another shape 1: 0\.weight \(module \(3, 6\), checkpoint \(4, 6\)\)"
    with pytest.raises(OptionError, match=message):
        found(write(tmp_path, state), problem)


@pytest.mark.parametrize("kind", ["linear", "batch norm", "convolution"])
@pytest.mark.parametrize(
    ("old", "new"), [("net.", ""), ("", "net."), ("a.b.", "c."), ("model.0.", "model.")]
)
def test_a_beginning_that_all_names_share_is_exchanged_and_that_is_said(old, new, kind, tmp_path):
    problem = classification(kind, 20)
    expected = truth(problem)
    state = {old + name: tensor for name, tensor in problem.model.state_dict().items()}
    model = problem.model
    for part in reversed(new.split(".")[:-1]):
        model = nn.ModuleDict({part: model})
    problem = Problem(model, problem.data, lambda model, batch: classify(_inner(model), batch))
    result = found(write(tmp_path, state), problem)
    np.testing.assert_allclose(result["trace"], np.trace(expected.matrix), rtol=1e-8)
    (words,) = result.attrs["mapping"]
    assert words.startswith("Names in the checkpoint match the model with ")


def _inner(model):
    return model if isinstance(model, nn.Sequential) else _inner(next(iter(model.values())))


def test_two_networks_of_one_shape_are_not_guessed_between(tmp_path):
    problem = classification("linear", 20)
    state = problem.model.state_dict()
    both = {
        f"{part}.{name}": t.clone() for part in ("actor", "critic") for name, t in state.items()
    }
    message = (
        r"in the checkpoint but not in the module 4.*Problem\(model, data, loss, rename=\.\.\.\)"
    )
    with pytest.raises(OptionError, match=message):
        found(write(tmp_path, both), problem)


@pytest.mark.parametrize("as_function", [False, True])
def test_renamed_tensors_are_found_as_the_problem_says(as_function, tmp_path):
    problem = classification("batch norm", 20)
    state = {f"x{name}": tensor for name, tensor in problem.model.state_dict().items()}
    names = {name: name[1:] for name in state}
    rename = (lambda name: name.removeprefix("x")) if as_function else names
    folder = write(tmp_path, state)
    with pytest.raises(OptionError, match="rename="):
        found(folder, problem)
    given = Problem(problem.model, problem.data, problem.loss, rename)
    result = diffusion(folder, given, at=[1], every=0, dtype="float64")
    np.testing.assert_allclose(result["trace"], [np.trace(truth(problem).matrix)], rtol=1e-8)


@pytest.mark.parametrize(
    ("rename", "message"),
    [
        (
            {"0.wieght": "0.kernel", "0.bias": "0.b"},
            r"1 names that the checkpoint lacks, first '0\.wieght'",
        ),
        ({"0.weight": 3}, r"gives '0\.weight' the name '3', a int"),
        ({"0.weight": "0.bias"}, r"gives 0\.bias and 0\.weight the same name, '0\.bias'"),
        (lambda name: name.x, r"rename of '0\.bias' raised AttributeError"),
        ("0.weight", r"rename is a str; a dict"),
    ],
)
def test_a_senseless_rename_is_refused(rename, message, tmp_path):
    problem = classification("linear", 20)
    folder = write_run(tmp_path, problem.model)
    with pytest.raises(OptionError, match=message):
        diffusion(folder, Problem(problem.model, problem.data, problem.loss, rename))


def test_what_is_not_trained_and_in_no_checkpoint_keeps_the_models_own_values(tmp_path):
    problem = classification("batch norm", 20)
    for name, parameter in problem.model.named_parameters():
        parameter.requires_grad_(name.startswith("3."))
    expected = truth(problem)
    state = {k: v for k, v in problem.model.state_dict().items() if k.startswith("3.")}
    result = diffusion(write(tmp_path, state), problem, at=[1], every=0, dtype="float64")
    np.testing.assert_allclose(result["trace"], [np.trace(expected.matrix)], rtol=1e-8)
    assert result.attrs["n_weights"] == sum(state[k].numel() for k in state)
    assert re.match(r"6 tensors \(\d+ numbers\) that are not trained", result.attrs["mapping"][0])
    # Of a layer that is trained the statistics belong to the checkpoint.
    problem.model[1].requires_grad_(True)
    state |= {k: v for k, v in problem.model.state_dict().items() if k in ("1.weight", "1.bias")}
    with pytest.raises(OptionError, match=r"not in the checkpoint 2: 1\.running_mean"):
        diffusion(write(tmp_path, state), problem)


def test_frozen_weights_that_a_checkpoint_holds_come_from_it(tmp_path):
    problem = classification("batch norm", 20)
    problem.model[0].requires_grad_(False)
    expected = truth(problem)
    result = found(write_run(tmp_path, problem.model), problem)
    np.testing.assert_allclose(result["trace"], np.trace(expected.matrix), rtol=1e-8)
    assert result.attrs["mapping"] == []


def test_tied_weights_may_have_either_name_or_both(tmp_path):
    problem = language(20, tied=True)
    expected = np.trace(truth(problem).matrix)
    state = {name: t.clone() for name, t in problem.model.state_dict().items()}
    for number, left_out in enumerate(["head.weight", "tokens.weight", "none"]):
        folder = tmp_path / str(number)
        folder.mkdir()
        some = {name: tensor for name, tensor in state.items() if name != left_out}
        result = found(write(folder, some), problem)
        np.testing.assert_allclose(result["trace"], expected, rtol=1e-8)
    state["head.weight"] += 1
    (tmp_path / "two").mkdir()
    with pytest.raises(OptionError, match=r"one tensor in the module, two in the checkpoint"):
        found(write(tmp_path / "two", state), problem)


def test_buffers_come_from_the_checkpoint_and_the_module_stays_as_it_was(tmp_path):
    problem = classification("batch norm", 20)
    folder = write_run(tmp_path, problem.model)
    other = classification("batch norm", 20, seed=1).model.train()
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    result = diffusion(folder, Problem(other, problem.data, classify), at=[1], dtype="float64")
    np.testing.assert_allclose(result["trace"], [np.trace(truth(problem).matrix)], rtol=1e-8)
    assert other.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())


def test_an_open_trajectory_and_an_array_give_what_the_directory_gives(tmp_path):
    problem = classification("without bias", 20)
    folder = write_run(tmp_path, problem.model)
    expected = found(folder, problem)
    trajectory = trajscope.open_trajectory(folder, by="tensor")
    result = found(trajectory, problem)
    np.testing.assert_allclose(result["eigenvalue"], expected["eigenvalue"], atol=1e-14)
    assert result["group"].values.tolist()[1] == "0.weight"
    # A file may have its tensors in another order; those of an array are in the module's.
    own = np.concatenate([p.detach().numpy().ravel() for p in problem.model.parameters()])
    flat = xr.DataArray(np.stack([own - 1, own]), dims=("step", "weight"))
    array = found(flat, problem)
    np.testing.assert_allclose(array["eigenvalue"], expected["eigenvalue"], atol=1e-14)
    assert array["group"].values.tolist() == ["all"]
    with pytest.raises(OptionError, match="The array has 40 weights, the problem's model 66"):
        found(flat[:, :40], problem)


def test_a_trajectory_of_some_tensors_reads_the_others_from_the_files(tmp_path):
    problem = classification("batch norm", 20)
    folder = write_run(tmp_path, problem.model)
    trajectory = trajscope.open_trajectory(folder, exclude=["0.bias"])
    result = found(trajectory, problem)
    np.testing.assert_allclose(result["trace"], np.trace(truth(problem).matrix), rtol=1e-8)


def test_a_model_without_trained_parameters_is_refused(tmp_path):
    problem = classification("linear", 20)
    folder = write_run(tmp_path, problem.model)
    problem.model.requires_grad_(False)
    with pytest.raises(OptionError, match="No parameter of the problem's model is trainable"):
        found(folder, problem)
