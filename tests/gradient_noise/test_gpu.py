"""The same numbers on a CUDA device, within its memory: skipped where there is none."""

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from tests.gradient_noise.networks import NETWORKS, classification, language
from tests.gradient_noise.oracle import classify, found, write_run
from trajscope import Problem

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def compared(problem, folder, *, exact, **options):
    """The result on the GPU held to that on the CPU; `exact` is relative to lambda_max."""
    write_run(folder, problem.model)
    cpu, gpu = (found(folder, problem, device=device, **options) for device in ("cpu", "cuda"))
    largest = float(cpu["lambda_max"])
    np.testing.assert_allclose(gpu["eigenvalue"], cpu["eigenvalue"], atol=exact * largest)
    np.testing.assert_allclose(gpu["trace"], cpu["trace"], rtol=exact)
    np.testing.assert_allclose(gpu["loss"], cpu["loss"], rtol=max(exact, 1e-9))
    assert gpu["rank_eps32"] == cpu["rank_eps32"]
    assert gpu.attrs["device"].startswith("cuda")
    assert not gpu.attrs["deterministic"]
    return cpu, gpu


@pytest.mark.parametrize("n_samples", [12, 260])
@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "recurrent"])
def test_every_layer_has_the_numbers_of_the_cpu(name, n_samples, tmp_path):
    # Sums in another order, in float64.
    compared(classification(name, n_samples), tmp_path, exact=1e-11)


@pytest.mark.parametrize("tied", [True, False])
def test_a_language_model_has_the_numbers_of_the_cpu(tied, tmp_path):
    compared(language(60, tied=tied), tmp_path, exact=1e-11)


def test_float32_gradients_differ_in_their_last_digits_only(tmp_path):
    # No TensorFloat-32: its products have three digits.
    compared(classification("convolution", 100), tmp_path, exact=1e-5, dtype="float32")


def test_a_sketch_and_a_budget_have_the_numbers_of_the_cpu(tmp_path):
    problem = classification("linear", 90)
    weights = np.random.default_rng(0).standard_normal((17, 21)).cumsum(axis=0)
    run = xr.DataArray(weights, {"step": np.arange(17)}, ("step", "weight"))
    options = {
        "lr": 0.1,
        "batch_size": 5,
        "momentum": 0.0,
        "sampling": "replacement",
        "samples": 30,
    }
    cpu, gpu = (found(run, problem, device=device, **options) for device in ("cpu", "cuda"))
    for name in ("budget_measured_trace", "budget_predicted_trace", "budget_cosine"):
        np.testing.assert_allclose(gpu[name], cpu[name], rtol=1e-9)
    cpu, gpu = (found(run, problem, device=device, sketch=10) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(gpu["trace"], cpu["trace"], rtol=1e-9)
    np.testing.assert_allclose(gpu["sketch_trace_error"], cpu["sketch_trace_error"], atol=1e-9)


def test_the_peak_on_the_device_stays_within_the_limit(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Unflatten(1, (100, 8)), nn.Conv1d(100, 4000, 1), nn.ReLU(),
                          nn.Flatten(), nn.Linear(32_000, 10))  # fmt: skip
    problem = Problem(model, (torch.randn(150, 800), torch.randint(10, (150,))), classify)
    folder = write_run(tmp_path, model)
    found(folder, problem, device="cuda", dtype="float32", samples=5)  # libraries load
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    limit = torch.cuda.memory_allocated() + (260 << 20)
    result = found(folder, problem, device="cuda", dtype="float32", memory=limit)
    assert result.attrs["blocks"] > 1
    assert torch.cuda.max_memory_allocated() <= limit
