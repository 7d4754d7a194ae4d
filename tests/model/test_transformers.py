"""Runs of the transformers Trainer through the command line: names on disk are not those in memory.

The truth is another way in: the library's own `from_pretrained`, in float64, one backward pass a
sample.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from trajscope import Problem, diffusion, open_results
from trajscope.model.mapping import loaded_state, map_parameters

pytestmark = pytest.mark.slow  # processes, problems, pages: seconds each

transformers = pytest.importorskip("transformers")

SMALL = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "vocab_size": 31, "max_position_embeddings": 16, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip
EXPERTS = {"num_key_value_heads": 2, "num_local_experts": 3, "num_experts_per_tok": 2}

PROBLEM = """
import torch
import transformers

import trajscope

SMALL = {small}


def make_model():
    torch.manual_seed(0)
    return {make}


def make_data():
    torch.manual_seed(1)
    return [{{"input_ids": row, "labels": row}} for row in torch.randint(1, 31, (12, 8))]


def make_problem():
    return trajscope.Problem(make_model(), make_data(), lambda model, batch: model(**batch).loss)
"""
MAKE = {
    "pythia": "transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(**SMALL))",
    # The library's own way through the experts refuses float64.
    "mixtral": "transformers.MixtralForCausalLM(transformers.MixtralConfig(**SMALL, "
    f"**{EXPERTS}, experts_implementation='eager'))",
    "lora": "adapted(transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(**SMALL)))",
}
ADAPTED = """

def adapted(model):
    from peft import LoraConfig, get_peft_model

    return get_peft_model(model, LoraConfig(r=2, target_modules=["query_key_value"]))
"""


@pytest.fixture(params=MAKE)
def run(request, tmp_path):
    """A folder with a run and its problem, that file's names, and the library's own loading."""
    kind = request.param
    if kind == "lora":
        pytest.importorskip("peft")
    text = PROBLEM.format(small=SMALL, make=MAKE[kind]) + (ADAPTED if kind == "lora" else "")
    (tmp_path / "problem.py").write_text(text)
    names: dict = {}
    exec(compile(text, "problem.py", "exec"), names)
    train(names["make_model"](), names["make_data"](), tmp_path / "run")

    def opened(path):
        if kind == "lora":
            from peft import PeftModel

            base = names["make_model"]().get_base_model()
            # As the base was before it was adapted.
            plain = type(base)(base.config)
            clean = {
                name.replace("base_layer.", ""): tensor
                for name, tensor in base.state_dict().items()
                if "lora_" not in name
            }
            plain.load_state_dict(clean)
            return PeftModel.from_pretrained(plain, path, is_trainable=True)
        options = {"experts_implementation": "eager"} if kind == "mixtral" else {}
        return transformers.AutoModelForCausalLM.from_pretrained(path, **options)

    return tmp_path, names, opened


def train(model, data, folder):
    arguments = transformers.TrainingArguments(
        str(folder), max_steps=12, save_steps=4, per_device_train_batch_size=4, learning_rate=1e-2,
        report_to=[], use_cpu=True, disable_tqdm=True, logging_steps=4, optim="sgd",
    )  # fmt: skip
    transformers.Trainer(model=model, args=arguments, train_dataset=data).train()


def oracle(model, data, loss):
    """Trace, eigenvalues and mean loss of D over the trained weights, in float64."""
    model = model.double().eval()
    trained = [p for p in model.parameters() if p.requires_grad]
    rows, losses = [], []
    for sample in data:
        model.zero_grad()
        found = loss(model, {name: tensor[None] for name, tensor in sample.items()})
        found.backward()
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
        rows.append(torch.cat([part.flatten() for part in parts]).numpy())
        losses.append(found.item())
    centred = np.array(rows) - np.mean(rows, 0)
    values = np.linalg.svd(centred, compute_uv=False) ** 2 / len(rows)
    return values[:-1], np.mean(losses), len(centred[0])


@pytest.mark.filterwarnings("ignore")
def test_a_run_of_the_trainer_has_the_noise_that_the_librarys_own_loading_gives(run):
    folder, names, opened = run
    command = [Path(sys.executable).parent / "trajscope", "diffusion", "run", "--problem"]
    command += ["problem.py:make_problem", "--dtype", "float64", "--at", "4,12", "-o", "out"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "tensors have different names in memory" in " ".join(done.stdout.split())
    found = open_results(folder / "out" / "results.zarr")["diffusion"].to_dataset()
    problem = names["make_problem"]()
    for step in (4, 12):
        model = opened(folder / "run" / f"checkpoint-{step}")
        values, loss, size = oracle(model, problem.data, problem.loss)
        row = found.sel(step=step)
        assert found.attrs["n_weights"] == size
        np.testing.assert_allclose(row["eigenvalue"], values, atol=1e-8 * values[0])
        assert row["trace"].item() == pytest.approx(values.sum(), rel=1e-8)
        # The library takes the loss in float32, whatever the model is in.
        assert row["loss"].item() == pytest.approx(loss, rel=2e-7)


@pytest.mark.filterwarnings("ignore")
def test_increments_lie_along_the_same_coordinates_as_gradients(tmp_path):
    # Experts are one tensor in memory and nine on disk; an increment that is a gradient stays one.
    text = PROBLEM.format(small=SMALL, make=MAKE["mixtral"])
    names: dict = {}
    exec(compile(text, "problem.py", "exec"), names)
    problem = names["make_problem"]()
    model = problem.model.eval()
    for step in range(2):
        model.save_pretrained(tmp_path / f"checkpoint-{step}")
        with torch.no_grad():
            for number, parameter in enumerate(model.parameters()):
                steps = torch.arange(parameter.numel(), dtype=torch.float32) % 7 + number
                parameter.add_(0.01 * steps.reshape(parameter.shape))
    from trajscope.model.checkpoints import open_checkpoints

    checkpoints = open_checkpoints(tmp_path, model, by=None)
    mapping = map_parameters(model, checkpoints.read(0), checkpoints.groups)
    for number, (name, parameter) in enumerate(model.named_parameters()):
        weights = checkpoints.part(mapping.sources[name], (0, 2), (1, parameter.numel()))
        expected = 0.01 * (np.arange(1, parameter.numel()) % 7 + number)
        np.testing.assert_allclose(np.diff(weights, axis=0)[0], expected, atol=1e-6)


CONFIGS = {
    "GPTNeoX": {}, "Llama": {}, "Bert": {}, "Phi": {}, "Gemma2": {"head_dim": 8},
    "Mixtral": EXPERTS, "Qwen2Moe": {"num_experts": 3, "moe_intermediate_size": 8},
    "Qwen3Moe": {"num_experts": 3, "moe_intermediate_size": 8, "head_dim": 8},
    "Olmoe": {"num_experts": 3, "num_experts_per_tok": 2},
    "ViT": {"image_size": 8, "patch_size": 4},
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_what_save_pretrained_writes_fills_the_same_model(name, sharded, tmp_path):
    config = getattr(transformers, f"{name}Config")(**{**SMALL, **CONFIGS[name]})
    kind = getattr(transformers, f"{name}Model")
    torch.manual_seed(0)
    model, blank = kind(config), kind(config)
    model.save_pretrained(tmp_path, max_shard_size="8KB" if sharded else "1GB")
    from safetensors.numpy import load_file

    arrays = {
        key: array
        for path in tmp_path.glob("*.safetensors")
        for key, array in load_file(path).items()
    }
    mapping = map_parameters(blank, arrays, dict.fromkeys(arrays, "all"))
    state = loaded_state(blank, mapping, arrays, torch.device("cpu"), torch.float32)
    for key, parameter in model.named_parameters():
        assert torch.equal(state[key], parameter)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slice
def test_a_model_within_another_module_is_found_with_its_names_on_disk(tmp_path):
    class Wrapped(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.inner = model

        def forward(self, **batch):
            return self.inner(**batch)

    text = PROBLEM.format(small=SMALL, make=MAKE["mixtral"])
    names: dict = {}
    exec(compile(text, "problem.py", "exec"), names)
    problem = names["make_problem"]()
    for step in range(2):
        problem.model.save_pretrained(tmp_path / f"checkpoint-{step}")
    wrapped = Problem(Wrapped(names["make_model"]()), problem.data, problem.loss)
    options = {"at": [1], "every": 0, "samples": 4}
    one, other = (diffusion(tmp_path, each, **options) for each in (problem, wrapped))
    np.testing.assert_allclose(one["trace"], other["trace"], rtol=1e-6)
