"""Results with tests and a verdict: of real runs, and with every number and word chosen."""

import numpy as np
import xarray as xr
from simulated_results import make_results

from trajscope.analysis.run import analyze
from trajscope.inference.decision.catalogue import NAMES, TESTS
from trajscope.inference.decision.result import described_tests

GATES = [{"test": "length", "question": "long enough?"}] + [
    {"test": test.name, "question": test.question} for test in TESTS if test.question
]


def judge(x, *, tensors=None, **options):
    """A simulated result, with the tests and the verdict that `analyze` gives the same run."""
    results = make_results(x, tensors=tensors)
    trajectory = results["trajectory"].to_dataset()
    trajectory["weights"] = (("step", "weight"), x)
    options = {"n_surrogates": 199, "seed": 0} | options
    found = analyze(trajectory, **options)
    for part in ("observables", "tests", "verdict"):
        results[part] = found[part]
    return results


def with_verdict(results, code="confined", *, n=40, **told):
    """`results` with a verdict that says what is `told`, and tests whose numbers are all chosen."""
    groups = results["observables"]["group"].values
    n_groups = len(groups)
    p = np.full((n_groups, len(NAMES)), 0.5)
    p[:, -3:] = np.nan  # a spectral peak, and what only short windows are asked
    position = np.where(np.isfinite(p), 0.75, np.nan)
    position[:, [bool(test.doubled_of) for test in TESTS]] = np.nan
    scale = np.array([2, 4, 8, 10]) * 100
    frequency = np.arange(1, n // 2) / (n * 100)
    ones = np.ones(n_groups)
    power = np.tile(np.linspace(0.5, 1.5, frequency.size), (n_groups, 1))
    power[:, 3] = 9.0
    ratio = np.tile([0.9, 0.6, 0.3, 0.2], (n_groups, 1))
    time = np.linspace(0, 6, n)
    data = {
        "p_value": (("group", "test"), p),
        "p_adjusted": (("group", "test"), p),
        "position": (("group", "test"), position),
        "critical": (("group", "test"), 2 * position),
        "relative_power": (("group", "frequency"), power),
        "relative_power_low": ("group", 0.01 * ones),
        "relative_power_high": ("group", 6 * ones),
        "variance_ratio": (("group", "scale"), ratio),
        "variance_ratio_null": (("group", "scale"), np.tile([1, 0.95, 0.9, 0.85], (n_groups, 1))),
        "variance_ratio_low": (("group", "scale"), np.tile([0.8, 0.5, -0.1, 0.4], (n_groups, 1))),
        "variance_ratio_high": (("group", "scale"), np.tile([1.2, 1.4, 1.6, 1.8], (n_groups, 1))),
        "diffusion_exponent": ("group", 0.4 * ones),
        "diffusion_exponent_null": ("group", 0.9 * ones),
        "diffusion_exponent_low": ("group", 0.7 * ones),
        "diffusion_exponent_high": ("group", 1.1 * ones),
        "plane_path": (("plane_step", "axis"), np.c_[np.cos(time), np.sin(time)]),
        "signed_area": ("plane_step", time),
        "signed_area_surrogate": (("surrogate", "plane_step"), np.outer([0.1, 0.2, 0.6], time)),
    }
    coords = {"group": groups, "frequency": frequency, "scale": scale} | described_tests()
    attrs = {"n_surrogates": 999, "alpha": 0.01, "seed": 0, "method": "permutations", "stride": 1}
    coords["plane_step"] = 1000 + 100 * np.arange(n)
    gates = [gate | {"answer": "yes", "p_value": 0.5, "finding": "p = 0.5"} for gate in GATES]
    verdict = {
        "code": code,
        "sentence": "Confined: mean-reverting (p = 0.002). No circulation detected.",
        "alpha": 0.01,
        "evidence": {"brownian": 0.002, "drift": 0.5, "correlation_time": 10.0, "circulation": 0.5},
        "unseen": [
            "relaxation slower than 400 steps: looks Brownian",
            "rotation slower than 1",
        ],
        "proposal": "",
        "gates": gates,
    } | told
    results = results.copy()
    results["tests"] = xr.Dataset(data, coords, attrs | {"summary": {"circulation": {}}})
    results["verdict"] = xr.Dataset(
        {
            "code": ("group", [verdict["code"]] * n_groups),
            "sentence": ("group", [verdict["sentence"]] * n_groups),
        },
        {"group": groups},
        verdict,
    )
    return results
