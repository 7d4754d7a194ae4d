"""A diffusion part of a result made from numbers, without a network."""

import numpy as np
import xarray as xr

from trajscope.gradient_noise.result import described
from trajscope.gradient_noise.spectrum.numbers import NUMBERS

STEPS = (200, 400, 1000)
SIZES = {"all": 900, "conv1": 100, "fc1": 800}


def noise(*, steps=STEPS, sizes=SIZES, with_curve=True, with_rate=True, mode="eval"):
    """As `trajscope.diffusion` returns it: eigenvalues 1 / k^2 that grow with the step."""
    groups, n_steps = list(sizes), len(steps)
    component = np.arange(1, 51)
    values = np.array([[(1 + 0.1 * s) / component**2.0 for s in range(n_steps)] for _ in groups])
    data = {}
    for name, dims, array in (
        ("eigenvalue", ("component",), values),
        *((number.name, (), 1.5 + np.arange(len(groups) * n_steps).reshape(len(groups), -1))
          for number in NUMBERS),
    ):  # fmt: skip
        data[name] = (("step", *dims), array[0])
        data[f"group_{name}"] = (("group", "step", *dims), array)
    data["directions_90"] = ("step", 7.0 + np.arange(n_steps))
    data["lambda_max"] = ("step", values[0, :, 0])
    data["loss"] = ("step", 0.5 / (1 + np.arange(n_steps)))
    data["group_size"] = ("group", np.array(list(sizes.values())))
    d = sizes["all"]
    data["rank_eps32_threshold"], data["rank_eps64_threshold"] = d * 2.0**-23, d * 2.0**-52
    if n_steps > 1:
        pairs = ("step", "step_other")
        data["spectrum_distance"] = (pairs, 0.04 * (1 - np.eye(n_steps)))
        overlap = 0.9 + 0.1 * np.eye(n_steps)
        data["eigenspace_overlap"] = (pairs, overlap, {"n_directions": 9})
    if with_curve:
        data["checkpoint_loss"] = ("checkpoint", np.linspace(2, 1, 20))
        data["checkpoint_gradient_norm"] = ("checkpoint", np.linspace(0.4, 0.1, 20))
        for series in ("loss", "gradient_norm"):
            fields = {"slope": -0.01, "slope_low": -0.02, "slope_high": -0.005, "p_value": 0.0012}
            fields |= {"correlation_time": 0.5, "n_points": 10}
            data |= {f"{series}_trend_{name}": value for name, value in fields.items()}
    if with_rate:
        data["temperature"], data["temperature_without_replacement"] = 1e-4, 9e-5
        data["noise_scale"] = ("step", 2e-4 * np.ones(n_steps))
    coordinates = {"step": np.array(steps), "group": groups}
    coordinates |= {"step_other": np.array(steps)} if n_steps > 1 else {}
    coordinates |= {"checkpoint": np.arange(20.0) * 50} if with_curve else {}
    attributes = {
        "mode": mode, "dtype": "float32", "device": "cpu", "deterministic": True, "seed": 0,
        "n_weights": d, "n_samples": 51, "n_data": 60_000, "batch_size": 32, "seconds": 1.0,
        "warnings": ["rank_eps32 says little."],
    }  # fmt: skip
    return described(xr.Dataset(data, coordinates, attributes))


def with_noise(results, found):
    """The result with its diffusion part replaced."""
    parts = {node.path: node.to_dataset(inherit=False) for node in results.subtree}
    return xr.DataTree.from_dict(parts | {"/diffusion": found})
