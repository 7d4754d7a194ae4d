"""Blocks of weights, chunks of samples, work that goes on after a kill, and the memory limit."""

import copy
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.gradient_noise.networks import classification
from tests.gradient_noise.oracle import classify, found, truth, write_run
from trajscope import Problem, diffusion
from trajscope.errors import OptionError
from trajscope.gradient_noise.spectrum.from_covariance import covariance_by_weight
from trajscope.gradient_noise.spectrum.from_gram import covariance_by_sample
from trajscope.gradient_noise.spectrum.job import Job
from trajscope.gradient_noise.spectrum.memory_plan import Columns, Plan, Room, make_plan
from trajscope.gradient_noise.spectrum.resume import Ledger
from trajscope.model.mapping import Parameter, loaded_state, map_parameters
from trajscope.model.samples import Samples
from trajscope.model.verification import checked_gradients


def make_job(problem, plan=None, groups=None):
    """A job and the state at the problem's own weights, in float64."""
    arrays = {name: tensor.numpy() for name, tensor in problem.model.state_dict().items()}
    names = [name for name, _ in problem.model.named_parameters()]
    mapping = map_parameters(problem.model, arrays, groups or dict.fromkeys(names, "one"))
    indices = np.arange(len(problem.data[0]))
    samples = Samples(problem.data, indices, torch.device("cpu"), torch.float64)
    gradients = checked_gradients(problem, mapping, arrays, samples)
    state = loaded_state(problem.model, mapping, arrays, samples.device, torch.float64)
    room = Room(len(samples), 1 << 30, 1000, 8, chunk=7)
    plan = plan or make_plan(mapping.parameters, {}, room)
    return Job(gradients, samples, plan, 3, 1.0, len(samples), lambda count: None), state


def cut(job, widest):
    """The same job with blocks of at most `widest` weights, no matter where that cuts."""
    flat = [(p, i) for p in job.gradients.mapping.parameters for i in range(p.size)]
    blocks = []
    for start in range(0, len(flat), widest):
        block = []
        for parameter, index in flat[start : start + widest]:
            if block and block[-1].parameter == parameter:
                block[-1] = replace(block[-1], stop=index + 1)
            else:
                block.append(Columns(parameter, index, index + 1))
        blocks.append(tuple(block))
    return replace(job, plan=Plan(False, tuple(blocks), job.plan.chunk, job.plan.chunk))


@pytest.mark.parametrize("widest", [5, 20, 70, 200])
def test_blocks_that_cut_tensors_and_groups_change_nothing(widest):
    problem = classification("batch norm", 30)
    groups = {"0.weight": "a", "0.bias": "b", "1.weight": "c", "1.bias": "c", "3.weight": "a"}
    job, state = make_job(problem, groups=groups | {"3.bias": "b"})
    result = covariance_by_sample(cut(job, widest), state, Ledger(None))
    expected = truth(problem)
    np.testing.assert_allclose(
        result.spectra["all"].eigenvalues, expected.eigenvalues[:29], atol=1e-13
    )
    np.testing.assert_allclose(result.losses, expected.losses, rtol=1e-12)
    assert next(iter(result.spectra)) == "all"
    for group in "abc":
        own = expected.of(lambda name, group=group: (groups | {"3.bias": "b"})[name] == group)
        kept = min(29, own.gradients.shape[1])
        np.testing.assert_allclose(
            result.spectra[group].eigenvalues, own.eigenvalues[:kept], atol=1e-13
        )


class KilledError(Exception):
    pass


def killed_at(job, count):
    """The job, which ends in the middle after so many samples."""
    done = 0

    def advance(more):
        nonlocal done
        done += more
        if done >= count:
            raise KilledError

    return replace(job, advance=advance)


@pytest.mark.parametrize("count", [1, 40, 75, 119])
@pytest.mark.parametrize("way", ["on disk", "recomputed", "by weight"])
def test_a_killed_run_goes_on_where_it_was(way, count, tmp_path, monkeypatch):
    if way == "recomputed":
        no_room = shutil.disk_usage(tmp_path)._replace(free=0)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: no_room)
    problem = classification("batch norm", 30)
    job, state = make_job(problem, groups={"0.weight": "a", "0.bias": "a"})
    if way != "by weight":
        job = cut(job, 30)  # four blocks of 30 weights
        run = covariance_by_sample
    else:
        run = covariance_by_weight
        whole = tuple(Columns(p, 0, p.size) for p in job.gradients.mapping.parameters)
        job, count = replace(job, plan=Plan(True, (whole,), 7, 7)), count // 4
    path = tmp_path / "work.npz"
    with pytest.raises(KilledError):
        run(killed_at(job, max(count, 1)), state, Ledger(path, interval=0))
    passed = []
    counting = replace(job, advance=passed.append)
    result = run(counting, state, Ledger(path, interval=0))
    again = run(job, state, Ledger(None))
    for group, spectrum in again.spectra.items():
        np.testing.assert_array_equal(result.spectra[group].eigenvalues, spectrum.eigenvalues)
    np.testing.assert_array_equal(result.losses, again.losses)
    assert list(tmp_path.iterdir()) == []
    assert sum(passed) == (30 if way == "by weight" else 120)


def test_finished_checkpoints_are_not_gone_through_again(tmp_path):
    problem = classification("batch norm", 30)
    folder = write_run(tmp_path, problem.model)
    calls = []

    def loss(model, batch):
        calls.append(1)
        return classify(model, batch)

    options = {"at": [0, 1], "every": 0, "dtype": "float64", "work_dir": tmp_path / "work"}
    counted = Problem(problem.model, problem.data, loss)
    expected = diffusion(folder, counted, **options | {"work_dir": tmp_path / "other"})
    n_calls = len(calls)
    calls.clear()

    def progress(done, total):
        if done > total / 2:
            raise KilledError

    with pytest.raises(KilledError):
        diffusion(folder, counted, progress=progress, **options)
    assert [path.suffix for path in (tmp_path / "work").iterdir()] == [".npz"]
    calls.clear()
    result = diffusion(folder, counted, **options)
    assert len(calls) < n_calls
    np.testing.assert_array_equal(result["eigenvalue"], expected["eigenvalue"])
    # Nothing is written elsewhere yet: what is finished stays, and nothing else.
    assert len(list((tmp_path / "work").glob("*-done.npz"))) == 2
    assert len(list((tmp_path / "work").iterdir())) == 2


KILLED = """
import os, signal, sys
import numpy as np, torch, xarray as xr
from torch import nn
import trajscope as package

limit = int(sys.argv[1])
torch.manual_seed(0)
torch.set_num_threads(1)
model = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 3))
data = torch.randn(40, 6), torch.randint(3, (40,))
weights = np.random.default_rng(0).normal(size=(3, 93))
run = xr.DataArray(weights, dims=("step", "weight"))
loss = lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1])

for folder in sys.argv[2:]:
    passed = []

    def progress(done, total):
        passed.append(done)
        if limit and done >= limit:
            os.kill(os.getpid(), signal.SIGKILL)

    found = package.diffusion(run, package.Problem(model, data, loss), at=[0, 1, 2], every=0,
                              chunk=7, dtype="float64", work_dir=folder, progress=progress)
    print(passed[0], found["eigenvalue"].values.tobytes().hex())
"""


@pytest.mark.parametrize("other", ["data", "one sample", "loss", "model"])
def test_work_on_another_problem_is_not_taken_up(tmp_path, other):
    problem = classification("batch norm", 30)
    folder = write_run(tmp_path, problem.model)
    model, (inputs, labels), loss = problem.model, problem.data, problem.loss
    if other == "data":
        changed = Problem(model, (inputs * 3, labels), loss)
    elif other == "one sample":
        inputs = inputs.clone()
        inputs[17] *= 100
        changed = Problem(model, (inputs, labels), loss)
    elif other == "loss":
        changed = Problem(model, problem.data, lambda model, batch: 2 * loss(model, batch))
    else:
        again = copy.deepcopy(model)
        again.register_forward_hook(lambda module, inputs, output: output.tanh())
        changed = Problem(again, problem.data, loss)

    def progress(done, total):
        if done > total / 2:
            raise KilledError

    options = {"at": [0, 1], "every": 0, "dtype": "float64"}
    with pytest.raises(KilledError):
        diffusion(folder, problem, progress=progress, work_dir=tmp_path / "work", **options)
    found = diffusion(folder, changed, work_dir=tmp_path / "work", **options)
    expected = diffusion(folder, changed, **options)
    np.testing.assert_array_equal(found["eigenvalue"], expected["eigenvalue"])


def test_finished_work_is_taken_up_whatever_the_memory(tmp_path):
    problem = classification("batch norm", 30)
    folder = write_run(tmp_path, problem.model)
    options = {"at": [0, 1], "every": 0, "work_dir": tmp_path / "work"}
    first = diffusion(folder, problem, chunk=30, **options)
    kept = {path.name for path in (tmp_path / "work").iterdir()}
    again = diffusion(folder, problem, chunk=4, **options)
    assert {path.name for path in (tmp_path / "work").iterdir()} == kept
    np.testing.assert_array_equal(first["eigenvalue"], again["eigenvalue"])


@pytest.mark.slow
def test_a_process_that_was_killed_leaves_work_that_the_next_one_takes_up(tmp_path):
    def run(limit, *folders):
        command = [sys.executable, "-c", KILLED, str(limit), *folders]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    folder, other = tmp_path / "killed", tmp_path / "fresh"
    killed = run(90, folder)  # of 120 samples: in the third checkpoint
    assert killed.returncode == -signal.SIGKILL
    left = sorted(path.name for path in folder.iterdir())
    assert sum(name.endswith("-done.npz") for name in left) == 2
    again, fresh = (line.split() for line in run(0, folder, other).stdout.splitlines())
    assert int(again[0]) == 40  # a finished checkpoint at once; a fresh run starts with a chunk
    assert int(fresh[0]) == 7
    assert again[1] == fresh[1]
    assert {path.name for path in folder.iterdir()} == {path.name for path in other.iterdir()}
    assert all(path.name.endswith("-done.npz") for path in folder.iterdir())


def test_damaged_unfinished_work_is_named(tmp_path):
    path = tmp_path / "work.npz"
    path.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(
        OptionError, match=r"is expected to contain intermediate results .* Remove it"
    ):
        Ledger(path).load()


@pytest.mark.parametrize("memory", [200, 300, 1000])
def test_a_plan_covers_every_weight_once_within_the_memory(memory):
    parameters = [Parameter(f"p{i}", (size,), "one") for i, size in enumerate((90_000, 3, 500_000))]
    room = Room(1000, memory << 20, 1 << 14, 4)
    plan = make_plan(parameters, {"p2": (1, 1000, 1000)}, room)
    covered = {p.name: [] for p in parameters}
    for block in plan.blocks:
        assert 4 * 1000 * sum(columns.stored for columns in block) < memory << 20
        for columns in block:
            covered[columns.parameter.name].append((columns.start, columns.stop))
    for parameter in parameters:
        pieces = covered[parameter.name]
        assert [start for start, _ in pieces] == [0, *(stop for _, stop in pieces[:-1])]
        assert pieces[-1][1] == parameter.size
    assert 1 <= plan.chunk <= 1000


MEMORY = """
import warnings
from pathlib import Path
import torch
from torch import nn
from trajscope.measure.resources import resident_bytes
import trajscope as package
import xarray as xr, numpy as np

torch.set_num_threads(1)
model = nn.Sequential(nn.Unflatten(1, (100, 8)), nn.Conv1d(100, 4000, 1), nn.ReLU(), nn.Flatten(),
                      nn.Linear(32_000, 10))
d = sum(p.numel() for p in model.parameters())
weights = xr.DataArray(np.random.default_rng(0).normal(0, .03, (2, d)).astype("f4"),
                       dims=("step", "weight"))
data = torch.randn(150, 800), torch.randint(10, (150,))
loss = lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1])
problem = package.Problem(model, data, loss)
options = dict(at=[1], every=0)
package.diffusion(weights, problem, samples=5, **options)  # libraries load what they need
limit = resident_bytes() + (260 << 20)
found = package.diffusion(weights, problem, memory=limit, **options)
# Of this program alone: getrusage counts what the parent held when it started this one.
status = Path("/proc/self/status").read_text()
peak = int(status.split("VmHWM:")[1].split()[0]) << 10
print(found.attrs["blocks"], d * 150 * 4, peak - limit + (260 << 20))
"""


@pytest.mark.slow
def test_the_peak_stays_within_the_limit_where_all_gradients_would_not():
    done = subprocess.run(
        [sys.executable, "-c", MEMORY],
        capture_output=True,
        text=True,
        check=True,
        env={"OMP_NUM_THREADS": "1"},
    )
    blocks, gradients, peak = map(int, done.stdout.split())
    assert gradients > 400 << 20
    assert peak < 260 << 20
    assert blocks > 1


def test_no_gradient_of_a_chunk_has_32_mebibytes_but_on_a_gpu():
    weights = [Parameter("small", (1000,), "one"), Parameter("large", (200_000,), "one")]
    room = Room(600, 8 << 30, 1000, 4)
    assert make_plan(weights, {}, room).chunk == (31 << 20) // 800_000
    on_gpu = make_plan(weights, {}, replace(room, is_cuda=True)).chunk
    assert on_gpu == (256 << 20) // (1000 + 3 * 804_000)
    assert make_plan(weights, {}, replace(room, chunk=123)).chunk == 123


def test_a_chunk_has_room_for_both_parts_of_tied_weights_and_their_sum():
    # 8 MB of gradients a sample: an eighth of the room is for chunks.
    size, memory = 2_000_000, 1 << 30
    plan = make_plan([Parameter("tied", (size,), "one")], {}, Room(400, memory, 0, 4))
    assert len(plan.blocks) > 1
    assert 1 < plan.chunk_of_all <= memory // 8 // (3 * 4 * size)


def test_chunks_change_nothing(tmp_path):
    problem = classification("convolution", 20)
    folder = write_run(tmp_path, problem.model)
    results = [found(folder, problem, chunk=chunk) for chunk in (1, 3, 20, 500)]
    for result in results[1:]:
        np.testing.assert_allclose(result["eigenvalue"], results[0]["eigenvalue"], atol=1e-14)
