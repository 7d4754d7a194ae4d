"""Problems: where they come from, what is refused, and the options."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from tests.gradient_noise.networks import classification
from tests.gradient_noise.oracle import classify, found, write_run
from trajscope import Problem
from trajscope.errors import OptionError
from trajscope.model.checkpoints import chosen_steps
from trajscope.model.problem import load_problem

CODE = """
import torch
from torch import nn
from trajscope import Problem
from beside import LABELS

def make_problem():
    loss = lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1])
    return Problem(nn.Linear(4, 3), (torch.ones(len(LABELS), 4), torch.tensor(LABELS)), loss)

def nothing():
    return 3
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "beside.py").write_text("LABELS = [0, 1, 2]\n")
    path = tmp_path / "my_problem.py"
    path.write_text(CODE)
    yield path
    for name in ("my_problem", "beside"):
        sys.modules.pop(name, None)


def test_a_problem_comes_from_a_file_or_from_a_module_of_the_working_directory(file, monkeypatch):
    assert len(load_problem(f"{file}:make_problem").data[1]) == 3
    sys.modules.pop("my_problem")
    monkeypatch.chdir(file.parent)
    assert len(load_problem("my_problem:make_problem").data[1]) == 3


def test_problems_that_cannot_be_had_are_refused(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    for place, message in (
        ("my_problem", "module:function or file.py:function was expected"),
        ("nowhere.py:make_problem", "file nowhere.py not found"),
        ("nowhere:make_problem", "module nowhere not found"),
        (f"{file}:make", r"lacks a function make\. It contains Problem, make_problem, nothing"),
        (f"{file}:nothing", r"returned a int; trajscope\.Problem\(model, data, loss\)"),
    ):
        with pytest.raises(OptionError, match=message):
            load_problem(place)


def test_what_the_users_code_does_not_find_is_named_with_its_line(file):
    (file.parent / "beside.py").unlink()
    message = r"raised ModuleNotFoundError: No module named 'beside' \(.*my_problem.py, line 5\)"
    with pytest.raises(OptionError, match=message):
        load_problem(f"{file}:make_problem")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((3, [1], classify), "model is a int; a torch.nn.Module"),
        ((nn.Linear(1, 1), [1], 3), "loss is a int; a function"),
        ((nn.Linear(1, 1), iter([1]), classify), "data is a list_iterator; an indexable dataset"),
    ],
)
def test_senseless_parts_are_refused(parts, message):
    with pytest.raises(OptionError, match=message):
        Problem(*parts)


class Rows(Dataset):
    def __init__(self, *tensors):
        self.tensors = tensors

    def __len__(self):
        return len(self.tensors[0])

    def __getitem__(self, index):
        inputs, label = (tensor[index] for tensor in self.tensors)
        return {"inputs": inputs, "labels": int(label)}


def test_tensors_a_tensor_dataset_and_a_dataset_of_mappings_are_the_same(tmp_path):
    problem = classification("linear", 25)
    folder = write_run(tmp_path, problem.model)

    def of_mapping(model, batch):
        return classify(model, (batch["inputs"], batch["labels"]))

    results = [
        found(folder, each)
        for each in (
            problem,
            Problem(problem.model, TensorDataset(*problem.data), classify),
            Problem(problem.model, Rows(*problem.data), of_mapping),
        )
    ]
    for result in results[1:]:
        np.testing.assert_array_equal(result["eigenvalue"], results[0]["eigenvalue"])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([("text", 0)] * 3, r"holds 'text', a str; tensors and numbers"),
        ([torch.ones(n) for n in (1, 2, 3)], "cannot be stacked: .*pad or cut them"),
        ((torch.ones(3, 6), torch.ones(4)), "have 3, 4 samples along their first axes"),
        ([], "data is empty"),
    ],
)
def test_data_that_cannot_be_stacked_is_refused(data, message, tmp_path):
    problem = classification("linear", 3)
    folder = write_run(tmp_path, problem.model)
    with pytest.raises(OptionError, match=message):
        found(folder, Problem(problem.model, data, classify))


def test_a_loss_of_another_shape_is_refused(tmp_path):
    problem = classification("linear", 3)
    folder = write_run(tmp_path, problem.model)
    with pytest.raises(OptionError, match=r"returned a Tensor of shape \(1, 3\) for a batch of 1"):
        found(folder, Problem(problem.model, problem.data, lambda model, batch: model(batch[0])))


def test_gradients_that_fail_the_check_name_their_parameter(tmp_path):
    torch.manual_seed(0)
    problem = classification("linear", 9)
    folder = write_run(tmp_path, problem.model)

    def loss(model, batch):
        # Dropout that does not know of eval mode: no two passes agree.
        return classify(model, (torch.dropout(batch[0], 0.5, True), batch[1]))

    with pytest.raises(
        OptionError, match=r"by parameter '0\.\w+' differ from those of a backward pass"
    ):
        found(folder, Problem(problem.model, problem.data, loss))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "test"}, "--mode test: eval or train was expected"),
        ({"dtype": "float16"}, "--dtype float16: float32 or float64"),
        ({"device": "cuda:99"}, "--device cuda:99: torch finds"),
        ({"device": "nonsense"}, "--device nonsense: auto, cpu, cuda"),
        ({"device": "meta"}, "--device meta: float64 products are needed"),
        ({"chunk": 0}, "--chunk 0"),
        ({"every": -1}, "--every -1"),
        ({"samples": 99}, "--samples 99: from 1 to 9 was expected"),
        ({"samples": 0}, "--samples 0"),
        ({"lr": 0.0}, "--lr 0"),
        ({"batch_size": 0}, "--batch-size 0"),
        ({"mode": "train"}, "--mode train: the batch size of training is needed"),
        ({"mode": "train", "batch_size": 9}, "--batch-size 9: from 1 to below 9"),
        ({"mode": "train", "batch_size": 3, "samples": 1}, "--samples 1: in train mode"),
        ({"memory": 1}, r"--memory: the 9 x 9 matrix of 9 samples and 21 weights takes 0\.16 GiB"),
        ({"at": "50%,x"}, "--at x: a step"),
        ({"at": [7]}, "--at 7: no checkpoint at this step; the nearest is 1"),
        ({"at": "120%"}, "--at 120%: from 0% to 100%"),
        ({"at": []}, "--at is empty"),
    ],
)
def test_options_that_cannot_be_had_are_refused(options, message, tmp_path):
    problem = classification("linear", 9)
    folder = write_run(tmp_path, problem.model)
    with pytest.raises(OptionError, match=message):
        found(folder, problem, **options)


def test_shares_of_the_last_step_take_the_nearest_checkpoint():
    steps = np.array([0, 100, 250, 500, 1000])
    assert chosen_steps(steps, ("20%", "40%", "100%")) == [250, 500, 1000]
    assert chosen_steps(steps, "0%, 100, 10%") == [0, 100]
    assert chosen_steps(np.array([0.5, 1.0]), ["0.5"]) == [0.5]


def test_diffusion_is_a_function_with_its_signature_whatever_was_imported():
    code = (
        "import trajscope.gradient_noise.spectrum.products, trajscope, inspect; "
        "assert inspect.isfunction(trajscope.diffusion); "
        "assert 'work_dir' in inspect.signature(trajscope.diffusion).parameters"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
