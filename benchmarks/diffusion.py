"""Time the spectrum of the diffusion matrix against other ways to it, in the same run.

    python benchmarks/diffusion.py                    # full size, half an hour
    python benchmarks/diffusion.py --scale 0.01       # the same on few samples
    python benchmarks/diffusion.py --before FOLDER    # beside another checkout of trajscope

Every row runs in a process of its own, on as many threads as the table says, after a warm-up on
four of the samples: seconds from weights in a file to all eigenvalues, and peak resident memory
above what was there before. The rows of a case run in turn, again and again (``--runs``), and the
table has the medians, with the least and the most; a ratio is the median of the ratios within each
turn, since machines change their speed from minute to minute. The peers get the same model, and the
samples as they want them: in one batch, or in chunks. What they leave of the way is done for them
as fast as NumPy and SciPy can: the Gram matrix of gradients in float64, parameter by parameter, its
centring as H K H, the eigenvalues. (ViViT has a Gram matrix of its own, in float32.) A peer that
fails, or is not installed, is named with its reason. The row "limit" is what no exact way can do
without: plain backward passes in batches of 64, the eigenvalues, and the products in float64 of
gradients that cost less than those of their factors.

`nox -s peers` installs the peers and runs this. They come without their dependencies, which would
replace torch:

    pip install --no-deps backpack-for-pytorch vivit-for-pytorch opacus unfoldNd einops opt_einsum

The table is printed as Markdown.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import textwrap
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

EPS32, EPS64 = 2.0**-23, 2.0**-52
_PANEL = 4096


@dataclass(frozen=True)
class Case:
    """A network and a number of samples.

    Attributes
    ----------
    make :
        ``n_samples -> (model, inputs, targets)``.
    """

    name: str
    title: str
    n_samples: int
    make: Callable[[int], tuple[Any, Any, Any]]


@dataclass(frozen=True)
class Row:
    """One way to the eigenvalues: ``(model, inputs, targets, folder) -> (component,)``, descending.

    `folder` holds the model's weights as checkpoints.
    """

    name: str
    run: Callable[[Any, Any, Any, Path], np.ndarray]


@dataclass(frozen=True)
class Figures:
    """What one row needed and found; `mib` is the peak of memory above what was there before."""

    seconds: float
    cpu_seconds: float
    mib: float
    ranks: list[int]
    trace: float


def small_lenet(n_samples: int) -> tuple[Any, Any, Any]:
    """The small-lenet of arXiv:1710.11029 on random images: 13,338 weights."""
    import torch
    from torch import nn

    def block(n_in: int, n_out: int, pool: int) -> list[Any]:
        layers = nn.Conv2d(n_in, n_out, 5), nn.BatchNorm2d(n_out), nn.ReLU()
        return [*layers, nn.MaxPool2d(pool), nn.Dropout(0.1)]

    torch.manual_seed(0)
    head = nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, 10)
    model = nn.Sequential(*block(1, 8, 3), *block(8, 16, 2), nn.Flatten(), *head)
    inputs = torch.randn(max(n_samples, 64), 1, 28, 28)
    with torch.no_grad():
        model(inputs[:64])  # statistics of batch norm
    return model.eval(), inputs[:n_samples], torch.randint(10, (n_samples,))


def large_mlp(n_samples: int) -> tuple[Any, Any, Any]:
    """A perceptron 784-784-512-10: 1,022,490 weights."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(784, 784), nn.ReLU(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10)
    )
    return model.eval(), torch.randn(n_samples, 784), torch.randint(10, (n_samples,))


def language_model(n_samples: int) -> tuple[Any, Any, Any]:
    """A GPT-2 type of 3 layers on 64 tokens, its head tied to its embedding: 1,738,400 weights."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x: Any) -> Any:
            parts = self.qkv(self.norm1(x)).chunk(3, dim=-1)
            q, k, v = (part.unflatten(-1, (4, -1)).transpose(-3, -2) for part in parts)
            mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(mixed.transpose(-3, -2).flatten(-2))
            return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))

    class LanguageModel(nn.Module):
        def __init__(self, words: int = 5000, length: int = 64, width: int = 160) -> None:
            super().__init__()
            self.tokens, self.positions = nn.Embedding(words, width), nn.Embedding(length, width)
            self.blocks = nn.Sequential(*(Block(width) for _ in range(3)))
            self.norm = nn.LayerNorm(width)
            self.head = nn.Linear(width, words, bias=False)
            self.head.weight = self.tokens.weight

        def forward(self, tokens: Any) -> Any:
            places = torch.arange(tokens.shape[1])[None]
            x = self.blocks(self.tokens(tokens) + self.positions(places))
            return self.head(self.norm(x)).transpose(1, 2)

    torch.manual_seed(0)
    tokens = torch.randint(5000, (n_samples, 65))
    return LanguageModel().eval(), tokens[:, :-1], tokens[:, 1:]


CASES = (
    Case("lenet", "small-lenet, 13,338 weights", 2000, small_lenet),
    Case("mlp", "784-784-512-10, 1,022,490 weights", 1000, large_mlp),
    Case("gpt", "GPT-2 type, 1,738,400 weights, 64 tokens", 256, language_model),
)


def trajscope_diffusion(
    model: Any, inputs: Any, targets: Any, folder: Path, **options: Any
) -> np.ndarray:
    """Run trajscope.diffusion on the checkpoints."""
    from torch.nn.functional import cross_entropy

    import trajscope

    problem = trajscope.Problem(
        model, (inputs, targets), lambda model, batch: cross_entropy(model(batch[0]), batch[1])
    )
    found = trajscope.diffusion(
        folder, problem, at=[1], by="none", every=0, device="cpu", **options
    )
    return found["eigenvalue"].to_numpy()[0]


def trajscope_within(model: Any, inputs: Any, targets: Any, folder: Path) -> np.ndarray:
    """Run trajscope.diffusion within 800 MiB above what there is, with a folder for the rest."""
    from trajscope.measure.resources import resident_bytes

    options = {"memory": resident_bytes() + (800 << 20), "work_dir": folder / "work"}
    return trajscope_diffusion(model, inputs, targets, folder, **options)


def torch_func(model: Any, inputs: Any, targets: Any, _: Path) -> np.ndarray:
    """Map torch.func.grad over the samples, in chunks of 32 that fill one matrix."""
    import torch
    from torch.func import functional_call, grad, vmap
    from torch.nn.functional import cross_entropy

    weights = {name: tensor.detach() for name, tensor in model.named_parameters()}

    def loss(weights: Any, x: Any, y: Any) -> Any:
        return cross_entropy(functional_call(model, weights, (x[None],)), y[None])

    each = vmap(grad(loss), in_dims=(None, 0, 0))
    d = sum(tensor.numel() for tensor in weights.values())
    rows = torch.empty(len(inputs), d)
    chunk = 32 if d > 1e5 else 256
    for start in range(0, len(inputs), chunk):
        found = each(weights, inputs[start : start + chunk], targets[start : start + chunk])
        parts = [found[name].flatten(1) for name in weights]
        torch.cat(parts, dim=1, out=rows[start : start + chunk])
    return of_gradients([rows])


def backpack_batchgrad(model: Any, inputs: Any, targets: Any, _: Path) -> np.ndarray:
    """Let BackPACK's BatchGrad extension fill grad_batch."""
    import torch
    from backpack import backpack, extend
    from backpack.extensions import BatchGrad

    model, loss = extend(model), extend(torch.nn.CrossEntropyLoss(reduction="sum"))
    with backpack(BatchGrad()):
        loss(model(inputs), targets).backward()
    parts = []
    for name, parameter in model.named_parameters():
        if not hasattr(parameter, "grad_batch"):
            raise RuntimeError(f"no per-sample gradient for {name}")
        parts.append(parameter.grad_batch.flatten(1))
        del parameter.grad_batch
    return of_gradients(parts)


def vivit_gram(model: Any, inputs: Any, targets: Any, _: Path) -> np.ndarray:
    """Let ViViT's hook sum the Gram matrix during BackPACK's backward pass, in float32."""
    import torch
    from backpack import backpack, extend
    from backpack.extensions import BatchGrad
    from vivit.extensions.hooks import GramBatchGrad

    model, loss = extend(model), extend(torch.nn.CrossEntropyLoss(reduction="sum"))
    hook = GramBatchGrad(free_grad_batch=True)
    with backpack(BatchGrad(), extension_hook=hook):
        loss(model(inputs), targets).backward()
    return of_gram(hook.get_result().double().numpy())


def opacus_hooks(model: Any, inputs: Any, targets: Any, _: Path) -> np.ndarray:
    """Let Opacus' hooks fill grad_sample; it records in train mode only."""
    import torch
    from opacus.grad_sample import GradSampleModule

    wrapped = GradSampleModule(model.train(), loss_reduction="sum")
    for module in wrapped.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    torch.nn.functional.cross_entropy(wrapped(inputs), targets, reduction="sum").backward()
    parts = [parameter.grad_sample.flatten(1) for parameter in wrapped.parameters()]
    if any(len(part) != len(inputs) for part in parts):
        raise RuntimeError("a parameter has not one gradient per sample")
    return of_gradients(parts)


def limit(model: Any, inputs: Any, targets: Any, folder: Path) -> np.ndarray:
    """Do what no exact way can do without, in batches of 64; the eigenvalues mean nothing."""
    import torch

    del folder
    for start in range(0, len(inputs), 64):
        some = slice(start, start + 64)
        torch.nn.functional.cross_entropy(model(inputs[some]), targets[some]).backward()
    made = MADE[sum(parameter.numel() for parameter in model.parameters())]
    if made:
        panel = torch.randn(len(inputs), min(made, _PANEL))
        return of_gradients([panel] * max(made // _PANEL, 1))
    gram = np.random.default_rng(0).standard_normal((len(inputs),) * 2)
    return of_gram(gram + gram.T)


def of_gradients(parts: list[Any]) -> np.ndarray:
    """Eigenvalues of D from per-sample gradients, each part (sample, weight), in float64."""
    from scipy.linalg.blas import dsyrk

    n = len(parts[0])
    gram = np.zeros((n, n), order="F")
    for rows in parts:
        for start in range(0, rows.shape[1], _PANEL):
            some = rows[:, start : start + _PANEL].double().numpy()
            gram = dsyrk(1.0, some.T, beta=1.0, c=gram, trans=1, lower=1, overwrite_c=1)
    return of_gram(np.tril(gram) + np.tril(gram, -1).T)


def of_gram(gram: np.ndarray) -> np.ndarray:
    """Eigenvalues of D from inner products of gradients, (sample, sample)."""
    mean = gram.mean(axis=0)
    centred = gram - mean - mean[:, np.newaxis] + mean.mean()
    return np.linalg.eigvalsh(centred / len(gram))[::-1][:-1]


MADE = {13_338: 3_866, 1_022_490: 0, 1_738_400: 1_738_400}
"""By the weights of a case, those whose gradients cost less than products of their factors."""
OWN = ("trajscope", "trajscope in 800 MiB")
BEFORE = "trajscope before"
LIMIT = "limit"
ROWS = (
    Row(OWN[0], trajscope_diffusion),
    Row(OWN[1], trajscope_within),
    Row(BEFORE, trajscope_diffusion),
    Row("torch.func vmap", torch_func),
    Row("BackPACK", backpack_batchgrad),
    Row("ViViT", vivit_gram),
    Row("Opacus", opacus_hooks),
    Row(LIMIT, limit),
)


def write_checkpoints(model: Any, folder: Path) -> None:
    """Write the model's weights twice, since a trajectory has at least two checkpoints."""
    from safetensors.torch import save_file

    state = dict(model.state_dict())
    state.pop("head.weight", None)  # tied
    for step in (0, 1):
        save_file(state, folder / f"step-{step}.safetensors", metadata={"step": str(step)})


def run_row(row: Row, case: Case, n_samples: int, threads: int) -> None:
    """Run one row in this process and print its figures."""
    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, inputs, targets = case.make(n_samples)
        write_checkpoints(model, folder)
        row.run(model, inputs[:4], targets[:4], folder)
        model, inputs, targets = case.make(n_samples)
        before, busy, started = peak_bytes(reset=True), time.process_time(), time.perf_counter()
        values = np.maximum(row.run(model, inputs, targets, folder), 0)
        seconds, busy = time.perf_counter() - started, time.process_time() - busy
        peak = peak_bytes() - before
    d = sum(parameter.numel() for parameter in model.parameters())
    ranks = [int((values > values[0] * d * eps).sum()) for eps in (EPS32, EPS64)]
    print(json.dumps(asdict(Figures(seconds, busy, peak / 2**20, ranks, float(values.sum())))))


def peak_bytes(*, reset: bool = False) -> int:
    """Peak resident memory of this process, since its start or the last reset.

    On Linux from /proc: the figure of getrusage begins with what the parent held when it forked,
    and cannot be reset. It is all there is elsewhere.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    if reset:
        Path("/proc/self/clear_refs").write_text("5")  # 5: the peak becomes what is held now
    lines = status.read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def timed(row: Row, case: Case, options: argparse.Namespace, threads: int) -> Figures | str:
    """Figures of one row from a fresh process, or why there are none."""
    n_samples = max(int(options.scale * case.n_samples), 8)
    command = [sys.executable, __file__, "--row", row.name, "--case", case.name]
    command += ["--n-samples", str(n_samples), "--threads", str(threads)]
    limit = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    if row.name == BEFORE:
        limit["PYTHONPATH"] = str(Path(options.before).resolve())
    done = subprocess.run(
        command, env=os.environ | limit, capture_output=True, text=True, check=False
    )
    if done.returncode < 0:
        return f"killed by signal {-done.returncode}"
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1] if lines else f"ended with {done.returncode}"
        return textwrap.shorten(reason, 110, placeholder=" ...")
    return Figures(**json.loads(done.stdout.splitlines()[-1]))


def report(case: Case, options: argparse.Namespace, threads: int, rows: tuple[Row, ...]) -> None:
    """Print one case as a Markdown table of medians, then the ratios."""
    n_samples = max(int(options.scale * case.n_samples), 8)
    title = f"{case.title}, N = {n_samples}, {threads} thread{'s' * (threads > 1)}"
    print(f"\n### {title}, {options.runs} runs in turn\n")
    print("| way | seconds (least to most) | CPU s | memory, MiB | rank eps32 / eps64 | trace |")
    print("|---|---|---|---|---|---|", flush=True)
    found: dict[str, list[Figures]] = {}
    failed: dict[str, str] = {}
    for _ in range(options.runs):
        for row in rows:
            if row.name in failed:
                continue
            figures = timed(row, case, options, threads)
            if isinstance(figures, str):
                failed[row.name] = figures
                found.pop(row.name, None)
            else:
                found.setdefault(row.name, []).append(figures)
    for row in rows:
        print(_line(row.name, found.get(row.name, []), failed.get(row.name, "")), flush=True)
    print()
    print("\n".join(_ratios(found)), flush=True)


def _line(name: str, runs: list[Figures], reason: str) -> str:
    if not runs:
        return f"| {name} | {reason.replace('|', '/')} | | | | |"
    seconds, busy, mib = (
        [getattr(each, field) for each in runs] for field in ("seconds", "cpu_seconds", "mib")
    )
    ranks = " / ".join(map(str, runs[0].ranks))
    numbers = f"{ranks} | {runs[0].trace:.6g}" if name != LIMIT else " | "
    return (
        f"| {name} | {np.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f}) "
        f"| {np.median(busy):.2f} | {np.median(mib):.0f} | {numbers} |"
    )


def _ratios(found: dict[str, list[Figures]]) -> list[str]:
    """Sentences that hold the rows of trajscope, and the limit, against the others."""
    peers = [name for name in found if name not in (*OWN, BEFORE, LIMIT)]
    if not peers:
        return []
    fastest = min(peers, key=lambda name: np.median([each.seconds for each in found[name]]))
    leanest = min(peers, key=lambda name: np.median([each.mib for each in found[name]]))
    lines = []
    for name in OWN:
        if name not in found:
            continue
        lines.append(
            f"- {name}: {_ratio(found, fastest, name):.2f} × as fast as {fastest}, with "
            f"1/{_ratio(found, leanest, name, 'mib'):.1f} of the memory of {leanest}"
        )
        if BEFORE in found:
            lines[-1] += f"; {_ratio(found, BEFORE, name):.2f} × as fast as the build before"
    if LIMIT in found:
        most = _ratio(found, fastest, LIMIT)
        lines.append(f"- no exact way can be more than {most:.2f} × as fast as {fastest}")
    return lines


def _ratio(found: dict[str, list[Figures]], one: str, other: str, field: str = "seconds") -> float:
    """The median over turns of how many times as much `one` took as `other`."""
    pairs = zip(found[one], found[other], strict=True)
    return float(np.median([getattr(a, field) / max(getattr(b, field), 1e-9) for a, b in pairs]))


def main() -> None:
    """Run every row of every case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the samples")
    parser.add_argument("--cases", default="lenet,mlp,gpt", help="which cases, such as mlp,gpt")
    parser.add_argument("--rows", default="", help="which rows, such as trajscope,ViViT")
    parser.add_argument("--threads", default="1", help="numbers of threads, such as 1,2")
    parser.add_argument("--runs", type=int, default=5, help="how often each row runs, in turn")
    parser.add_argument("--before", default="", help="a checkout of another build, as a row")
    for hidden in ("--row", "--case"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--n-samples", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        row = next(row for row in ROWS if row.name == options.row)
        case = next(case for case in CASES if case.name == options.case)
        run_row(row, case, options.n_samples, int(options.threads))
        return
    names = [name.strip() for name in options.rows.split(",") if name.strip()]
    rows = tuple(row for row in ROWS if not names or row.name in names)
    rows = tuple(row for row in rows if row.name != BEFORE or options.before)
    for threads in map(int, options.threads.split(",")):
        for case in CASES:
            if case.name in options.cases.split(","):
                report(case, options, threads, rows)


if __name__ == "__main__":
    main()
