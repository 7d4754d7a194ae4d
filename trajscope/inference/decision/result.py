"""The tests and the verdict of every group as labelled arrays."""

import numpy as np
import xarray as xr

from trajscope.inference.decision.catalogue import NAMES, TESTS
from trajscope.inference.decision.combine import Judged
from trajscope.inference.decision.path import gates, guard, unseen
from trajscope.inference.decision.words import sentence
from trajscope.inference.statistics import brownian
from trajscope.inference.statistics.curves import CURVES, absent, curves
from trajscope.inference.statistics.increments import n_frequencies, scales
from trajscope.schema import (
    AXIS,
    FREQUENCY,
    GROUP,
    IN_LAYER_TABLE,
    NULL_LABEL,
    PLANE_STEP,
    SCALE,
    SURROGATE,
    TEST,
    TEST_LABEL,
)


def tests_dataset(judged: Judged) -> xr.Dataset:
    """p-values, statistics on a common scale, and curves with their bands, by group."""
    n = judged.windows[0].n_exchangeable
    alpha = judged.question.alpha
    groups = [
        absent(n) if each.draws is None else curves(window, each.draws, alpha)
        for window, each in zip(judged.windows, judged.found, strict=True)
    ]
    variables: dict[str, xr.Variable] = {
        name: xr.Variable(
            dims,
            np.stack([group[name] for group in groups]),
            {"units": units, "long_name": meaning},
        )
        for name, (dims, units, meaning) in CURVES.items()
    }
    variables |= _p_values(judged) | _of_current(judged)
    run, spacing = judged.run, judged.run.spacing or 1
    word = "checkpoint" if run.spacing is None or run.unit == "index" else run.unit
    coords: dict[str, object] = {
        GROUP: list(judged.names),
        **described_tests(),
        FREQUENCY: xr.Variable(
            FREQUENCY,
            np.arange(1, n_frequencies(n) + 1) / (n * spacing),
            {"units": f"cycles per {word}"},
        ),
        SCALE: xr.Variable(SCALE, scales(n) * spacing, {"units": f"{word}s"}),
    }
    return xr.Dataset(variables, coords)


def described_tests() -> dict[str, xr.Variable]:
    """Coordinates along the tests: their names, and of each what a report says of it."""
    told = {
        TEST: (NAMES, "name of the test"),
        TEST_LABEL: ([test.label for test in TESTS], "what reports call it"),
        NULL_LABEL: ([test.null_label for test in TESTS], "its null in a word or two"),
        "null_hypothesis": ([test.null for test in TESTS], "its null"),
        "statistic": ([test.what_is_compared for test in TESTS], "statistic that is compared"),
        "null_draws": ([test.draws for test in TESTS], "what is drawn under the null"),
        "rejects": ([test.rejects for test in TESTS], "departures that it can find"),
        IN_LAYER_TABLE: (
            [test.in_layer_table for test in TESTS],
            "whether reports show its statistic of every layer",
        ),
    }
    return {
        name: xr.Variable(TEST, list(values), {"long_name": text})
        for name, (values, text) in told.items()
    }


def _p_values(judged: Judged) -> dict[str, xr.Variable]:
    shape = len(judged.names), len(NAMES)
    raw, adjusted, position, critical = (np.full(shape, np.nan) for _ in range(4))
    for row, each in enumerate(judged.found):
        for column, test in enumerate(NAMES):
            adjusted[row, column] = each.evidence.get(test, np.nan)
            statistic = each.asked.get(test)
            if statistic is None:
                continue
            comparable = brownian.standardised(statistic)
            raw[row, column] = brownian.p_value(comparable)
            position[row, column] = comparable[0]
            critical[row, column] = np.quantile(comparable[1:], 1 - judged.question.alpha)
        single = dict(zip(NAMES, raw[row], strict=True))
        for column, record in enumerate(TESTS):
            if record.doubled_of:
                raw[row, column] = record.twice_the_smaller(single)
    texts = {
        "p_value": (raw, "p-value of the group alone"),
        "p_adjusted": (adjusted, "p-value among all layers; that of all weights is its own"),
        "position": (position, "statistic, median of its null 0 and 95% quantile 1"),
        "critical": (critical, "quantile of its null at the level of the test, on that scale"),
    }
    return {
        name: xr.Variable((GROUP, TEST), values, {"units": "1", "long_name": text})
        for name, (values, text) in texts.items()
    }


def _of_current(judged: Judged) -> dict[str, xr.Variable]:
    current = judged.current
    if current is None:
        return {}
    area = {"units": "sd^2"}
    return {
        "plane_path": xr.Variable(
            (PLANE_STEP, AXIS),
            current.path,
            {"units": "sd", "long_name": "path in the plane of strongest circulation, whitened"},
        ),
        "signed_area": xr.Variable(
            (PLANE_STEP,), current.area, {**area, "long_name": "signed area swept in this plane"}
        ),
        "signed_area_surrogate": xr.Variable(
            (SURROGATE, PLANE_STEP),
            current.surrogate_areas,
            {**area, "long_name": "the same of reversible surrogates, in their own planes"},
        ),
    }


def tests_summary(judged: Judged, method: str) -> dict[str, dict[str, object]]:
    """The tests on all weights in brief: p-values and the numbers that go with them."""
    found, run = judged.found[0], judged.run
    p, current = found.evidence, judged.current
    spacing = run.spacing or 1
    velocity = None if current is None else current.angular_velocity / spacing
    change = p.get("change")
    return {
        "brownian": {
            "p_value": p.get("brownian"),
            "p_omnibus": p.get("omnibus"),
            "p_confined": p.get("confined"),
            "method": method,
        },
        "drift": {
            "p_value": p.get("slow_drift", p.get("drift")),
            "p_constant": p.get("constant_drift"),
            "p_relaxation": p.get("relaxation"),
            "strength": judged.details[0].drift_strength,
        },
        "noise_scale": {
            "p_value": p.get("noise_scale"),
            "change_step": None if change is None else run.steps[round(change)].item(),
            "ratio": p.get("noise_ratio"),
        },
        "circulation": {
            "p_value": p.get("circulation"),
            "angular_velocity": velocity,
            "period": 2 * np.pi / velocity if velocity else None,
            "entropy_production": None if current is None else current.entropy_production / spacing,
            "plane": None if current is None else current.plane.tolist(),
            "guard": guard(found),
        },
    }


def verdict_dataset(judged: Judged) -> xr.Dataset:
    """The verdict on every group; that on all weights is in the attributes."""
    words = [sentence(*each, judged.run) for each in zip(judged.found, judged.details, strict=True)]
    found, alpha = judged.found[0], judged.question.alpha
    return xr.Dataset(
        {
            "code": (GROUP, [each.code for each in judged.found]),
            "sentence": (GROUP, words),
        },
        {GROUP: list(judged.names)},
        {
            "code": found.code,
            "sentence": words[0],
            "alpha": alpha,
            "evidence": {name: float(value) for name, value in found.evidence.items()},
            "unseen": unseen(found, judged.details[0], judged.run),
            "proposal": judged.proposal,
            "gates": gates(found, alpha),
        },
    )
