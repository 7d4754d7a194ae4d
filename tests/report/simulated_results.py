"""Finished results of simulated runs, their curves computed naively."""

import naive_curves as naive
import numpy as np
import xarray as xr

TENSORS = {"conv1.weight": 24, "conv1.bias": 4, "fc1.weight": 40, "fc2.weight": 30, "fc2.bias": 2}


def brownian(n_steps, n_weights, seed=0):
    return np.random.default_rng(seed).normal(size=(n_steps, n_weights)).cumsum(axis=0)


def ornstein_uhlenbeck(n_steps, n_weights, tau=8.0, seed=0):
    noise = np.random.default_rng(seed).normal(size=(n_steps, n_weights))
    x = np.empty_like(noise)
    x[0] = noise[0] / np.sqrt(1 - np.exp(-2 / tau))
    for t in range(1, n_steps):
        x[t] = np.exp(-1 / tau) * x[t - 1] + noise[t]
    return x


def rotating(n_steps, n_weights, omega=0.25, decay=0.05, seed=0):
    """A rotating Ornstein-Uhlenbeck process in one plane, spread over the weights, plus noise."""
    rng = np.random.default_rng(seed)
    z = np.zeros(n_steps, complex)
    for t in range(1, n_steps):
        z[t] = np.exp(-decay + 1j * omega) * z[t - 1] + rng.normal() + 1j * rng.normal()
    plane = rng.normal(size=(2, n_weights))
    noise = 0.2 * rng.normal(size=(n_steps, n_weights))
    return np.c_[z.real, z.imag] @ plane + noise


def make_results(x, *, spacing=100.0, first=1000.0, tensors=None, steps=None, n_components=10):
    """A result as the analysis builds it, for positions x of shape (step, weight)."""
    tensors = tensors or TENSORS
    n_steps = len(x)
    even = steps is None
    step = first + spacing * np.arange(n_steps) if even else np.asarray(steps, dtype=float)
    layers = list(dict.fromkeys(name.rpartition(".")[0] or name for name in tensors))
    owner = np.repeat([name.rpartition(".")[0] or name for name in tensors], list(tensors.values()))
    masks = [np.ones(x.shape[1], bool)] + [owner == layer for layer in layers]
    observables = observe(
        [x[:, mask] for mask in masks], step, spacing if even else 1.0, even, n_components
    ).assign_coords(group=["all", *layers])
    trajectory = xr.Dataset(
        coords={
            "step": step,
            "path": ("step", [f"step-{int(s):06d}.safetensors" for s in step]),
            "tensor": list(tensors),
            "row_size": ("tensor", list(tensors.values())),
            "group": ("tensor", [name.rpartition(".")[0] or name for name in tensors]),
            "stored_dtype": ("tensor", ["float32"] * len(tensors)),
            "shape": ("tensor", [f"[{size}]" for size in tensors.values()]),
        },
        attrs={
            "source": "runs/tiny-fc/checkpoints",
            "run": "checkpoints",
            "step_unit": "step",
            "step_source": "metadata key 'step'",
            "format": "safetensors",
            "left_out": [
                {"name": "bn2.num_batches_tracked", "reason": "a counter"},
                {"name": "bn2.running_mean", "reason": "a running average"},
                {"name": "bn2.running_var", "reason": "a running average"},
            ],
            "skipped": [
                {"path": "step-030950.safetensors.tmp", "reason": "still being written"},
            ],
            "warnings": ["11 weights never move; left out of normalised curves."],
            "evenly_spaced": even,
            "checkpoints": n_steps,
            "weights": int(x.shape[1]),
        },
    )
    return xr.DataTree.from_dict(
        {
            "/": xr.Dataset(attrs=root_attributes()),
            "/trajectory": trajectory,
            "/reductions": xr.Dataset(),
            "/observables": observables,
            "/tests": xr.Dataset(),
            "/diffusion": xr.Dataset(),
            "/verdict": xr.Dataset(attrs={"code": None}),
        }
    )


def root_attributes():
    return {
        "trajscope": "0.1.0",
        "created": "2026-01-02T03:04:05Z",
        "command": "trajscope analyze runs/tiny-fc/checkpoints --seed 0",
        "seed": 0,
        "config": {"by": "layer", "memory": "2GiB"},
        "fingerprint": "9d41" * 16,
        "versions": {"python": "3.13.1", "numpy": "2.4.6", "xarray": "2026.9.0"},
        "timings": {"read_s": 0.41},
        "path": "gram",
        "warnings": ["11 weights never move; left out of normalised curves."],
    }


def observe(groups, step, spacing, even, n_components):
    """Every observable of every group, by the naive definitions."""
    n_steps = len(step)
    n = n_steps - 1
    k = min(n_components, n)
    clock = "step" if even else "checkpoint"
    curves = [_observe_one(x, k) for x in groups]
    dims = {
        "increment_fft_mean": "frequency", "increment_fft_sd": "frequency",
        "increment_periodogram": "frequency", "autocorrelation_mean": "lag",
        "autocorrelation_sd": "lag", "autocorrelation_sd_error": "lag",
        "mean_squared_displacement": "lag",
        "explained_variance": "component", "displacement": "step",
        "increment_norm": "interval", "increment_cosine": "turn", "norm": "step",
        "relative_increment": "interval", "rotation_angle": "interval",
        "cosine_to_first": "step", "cosine_to_last": "step",
    }  # fmt: skip
    data = {
        name: (("group", dim), np.array([c[name] for c in curves])) for name, dim in dims.items()
    }
    data["principal_component"] = (
        ("group", "step", "component"),
        np.array([c["principal_component"] for c in curves]),
    )
    lengths = [w for w in (2, 4, 8, 16, 32, 64) if 8 <= n_steps // w <= 64]
    walk = naive.river(np.tri(n_steps, n, -1), lengths)
    runs = [naive.river(x, lengths) for x in groups]
    for place, name in enumerate(("river_share", "river_cosine", "hill_energy", "river_speed")):
        data[name] = (("group", "window_length"), np.array([run[place] for run in runs]))
        data[f"{name}_brownian"] = (("window_length",), walk[place])
    for name in ("distance", "cosine"):
        matrices = np.array([c[name] for c in curves])
        data[name] = (("group", "landmark", "landmark_other"), matrices)
    for name in (
        "diffusion_exponent", "path_length", "zero_increment_fraction", "rounding_floor",
        "norm_balance", "increment_rms", "n_weights", "n_moving",
    ):  # fmt: skip
        data[name] = (("group",), np.array([float(c[name]) for c in curves]))
    position, increment, area = naive.phase_portrait(groups[0])
    data["phase_position"] = (("step", "phase_axis"), position)
    data["phase_increment"] = (("interval", "phase_axis"), increment)
    data["phase_area"] = ("phase_axis", area)
    data["phase_area_p"] = ("phase_axis", np.full(len(area), 0.5))
    data["phase_area_low"] = ("phase_axis", np.full(len(area), -1.3))
    data["phase_area_high"] = ("phase_axis", np.full(len(area), -0.7))
    data["autocorrelation_brownian"] = (("lag",), naive.autocorrelation_of_a_random_walk(n_steps))
    data["explained_variance_brownian"] = (
        ("component",),
        naive.explained_variance_of_a_random_walk(n_steps, k),
    )
    return xr.Dataset(
        data,
        coords={
            "frequency": ("frequency", np.arange(1, n // 2 + 1) / (n * spacing),
                          {"units": f"cycles per {clock}"}),
            "lag": ("lag", spacing * np.arange(n_steps), {"units": f"{clock}s"}),
            "component": np.arange(1, k + 1),
            "step": step,
            "interval": step[:-1],
            "turn": step[1:-1],
            "window_length": ("window_length", lengths, {"units": "checkpoints"}),
            "landmark": step[landmarks(n_steps)],
            "landmark_other": step[landmarks(n_steps)],
        },
        attrs={
            "white_noise_band": 2.576 / np.sqrt(n_steps),
            "white_noise_fft_mean": np.sqrt(np.pi) / 2,
            "white_noise_fft_sd": np.sqrt(1 - np.pi / 4),
        },
    )  # fmt: skip


def landmarks(n_steps):
    return np.linspace(0, n_steps - 1, min(n_steps, 64)).round().astype(int)


def _observe_one(x, k):
    n_steps, n_weights = x.shape
    marks = x[landmarks(n_steps)]
    y = np.diff(x, axis=0)
    msd = naive.mean_squared_displacement(x)
    last = max(n_steps // 4, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.arange(1, last + 1)), np.log(msd[1 : last + 1])
        slope = np.polyfit(*logs, 1)[0] if np.all(np.isfinite(logs[1])) and n_steps > 3 else np.nan
        relative = np.linalg.norm(y, axis=1) / np.linalg.norm(x[:-1], axis=1)
    relative[~np.isfinite(relative)] = np.nan
    share, scores = naive.principal_components(x, k)
    pad = k - len(share)
    with np.errstate(all="ignore"):
        fft_mean, fft_sd, power = (
            naive.increment_fft(x) if y.any() else [np.full((len(y)) // 2, np.nan)] * 3
        )
        acf_mean, acf_sd = naive.autocorrelation(x) if y.any() else [np.full(n_steps, np.nan)] * 2
    return {
        "increment_fft_mean": fft_mean,
        "increment_fft_sd": fft_sd,
        "increment_periodogram": power,
        "autocorrelation_mean": acf_mean,
        "autocorrelation_sd": acf_sd,
        "autocorrelation_sd_error": np.zeros_like(acf_sd),
        "mean_squared_displacement": msd,
        "diffusion_exponent": slope,
        "explained_variance": np.pad(share, (0, pad)),
        "principal_component": np.pad(scores, ((0, 0), (0, pad))),
        "path_length": np.linalg.norm(y, axis=1).sum(),
        "displacement": np.linalg.norm(x - x[0], axis=1),
        "increment_norm": np.linalg.norm(y, axis=1),
        "increment_cosine": naive.increment_cosine(x),
        "zero_increment_fraction": (y == 0).mean(),
        "rounding_floor": 1e-9,
        "increment_rms": np.sqrt((y**2).mean()),
        "n_weights": n_weights,
        "n_moving": (np.ptp(x, axis=0) > 0).sum(),
        "norm": np.linalg.norm(x, axis=1),
        "relative_increment": relative,
        "rotation_angle": np.arccos(naive.cosines(x, x).diagonal(offset=1)),
        "cosine_to_first": naive.cosines(x, x[:1])[:, 0],
        "cosine_to_last": naive.cosines(x, x[-1:])[:, 0],
        "distance": naive.distances(marks),
        "cosine": naive.cosines(marks, marks),
        "norm_balance": naive.norm_balance(x),
    }
