"""The tests and the verdict of every group as labelled arrays."""

import numpy as np
import xarray as xr

from trajscope.inference.course.smooth import noise_if_negligible
from trajscope.inference.decision.catalogue import DOUBLED, NAMES, TESTS
from trajscope.inference.decision.combine import RunDecision
from trajscope.inference.decision.parts import code_of, is_worth_taking_apart, numbers
from trajscope.inference.decision.path import decision_path, detection_limits, guard, unused
from trajscope.inference.decision.phases import Phase
from trajscope.inference.decision.sentences import sentence, stands_still
from trajscope.inference.decision.settings import Decision
from trajscope.inference.decision.told import SMOOTH, in_words, of_noise
from trajscope.inference.decision.words import Run
from trajscope.inference.statistics import brownian
from trajscope.inference.statistics.current import Current
from trajscope.inference.statistics.curves import CURVES, absent, curves
from trajscope.inference.statistics.increments import n_frequencies, scales
from trajscope.schema import (
    AXIS,
    FREQUENCY,
    GROUP,
    IN_LAYER_TABLE,
    IS_DOUBLED,
    IS_USED,
    NULL_LABEL,
    PLANE_STEP,
    SCALE,
    SURROGATE,
    TEST,
    TEST_LABEL,
)


def tests_dataset(decided: RunDecision) -> xr.Dataset:
    """p-values, statistics on a common scale, and curves with their bands, by group."""
    n = decided.windows[0].n_exchangeable
    alpha = decided.settings.alpha
    groups = [
        absent(n)
        if each.draws is None or window.n_exchangeable < n
        else curves(window, each.draws, alpha)
        for window, each in zip(decided.windows, decided.decisions, strict=True)
    ]
    variables: dict[str, xr.Variable] = {
        name: xr.Variable(
            dims,
            np.stack([group[name] for group in groups]),
            {"units": units, "long_name": meaning},
        )
        for name, (dims, units, meaning) in CURVES.items()
    }
    variables |= _p_values(decided) | _of_current(decided)
    run, spacing = decided.run, decided.run.spacing or 1
    word = "checkpoint" if run.spacing is None or run.unit == "index" else run.unit
    coords: dict[str, object] = {
        GROUP: list(decided.names),
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
        TEST_LABEL: ([test.label for test in TESTS], "name of the test in reports"),
        NULL_LABEL: ([test.null_label for test in TESTS], "short name of the null hypothesis"),
        "null_hypothesis": ([test.null for test in TESTS], "null hypothesis"),
        "statistic": ([test.what_is_compared for test in TESTS], "test statistic"),
        "null_draws": ([test.draws for test in TESTS], "how the null distribution is sampled"),
        "rejects": ([test.rejects for test in TESTS], "alternatives that it can detect"),
        IS_DOUBLED: (
            [test.name in DOUBLED for test in TESTS],
            "whether its p-value is doubled, because another test asks the same",
        ),
        IN_LAYER_TABLE: (
            [test.in_layer_table for test in TESTS],
            "whether reports show its statistic for every layer",
        ),
    }
    return {
        name: xr.Variable(TEST, list(values), {"long_name": text})
        for name, (values, text) in told.items()
    }


def _p_values(decided: RunDecision) -> dict[str, xr.Variable]:
    shape = len(decided.names), len(NAMES)
    raw, adjusted, position, critical = (np.full(shape, np.nan) for _ in range(4))
    for row, each in enumerate(decided.decisions):
        for column, test in enumerate(NAMES):
            adjusted[row, column] = each.evidence.get(test, np.nan)
            statistic = each.statistics.get(test)
            if statistic is None:
                continue
            comparable = brownian.standardised(statistic)
            raw[row, column] = brownian.p_value(comparable)
            position[row, column] = comparable[0]
            level = decided.settings.alpha / (2 if test in DOUBLED else 1)
            critical[row, column] = np.quantile(comparable[1:], 1 - level)
        single = dict(zip(NAMES, raw[row], strict=True))
        for column, record in enumerate(TESTS):
            if record.doubled_of:
                raw[row, column] = record.twice_the_smaller(single)
    texts = {
        "p_value": (raw, "p-value of the group alone"),
        "p_adjusted": (
            adjusted,
            "p-value corrected for the number of layers (maxT); uncorrected for all weights",
        ),
        "position": (position, "statistic, median of its null at 0 and 95% quantile at 1"),
        "critical": (
            critical,
            "critical value at the significance level (half of it if doubled), on that scale",
        ),
    }
    found = {
        name: xr.Variable((GROUP, TEST), values, {"units": "1", "long_name": text})
        for name, (values, text) in texts.items()
    }
    long_name = "whether what the test says is of what it asks"
    used = [
        _is_used(each, decided.settings.alpha, "" if row else decided.why_noise_is_unused)
        for row, each in enumerate(decided.decisions)
    ]
    return found | {IS_USED: xr.Variable((GROUP, TEST), used, {"long_name": long_name})}


def _is_used(decision: Decision, alpha: float, why_noise: str) -> list[bool]:
    """Of every test: neither it nor the one that it is a half of is unused."""
    idle = unused(decision, alpha, why_noise)
    nulls = {test.null_label for test in TESTS if test.name in idle}
    return [
        test.name not in idle and (test.name not in DOUBLED or test.null_label not in nulls)
        for test in TESTS
    ]


def _of_current(decided: RunDecision) -> dict[str, xr.Variable]:
    current = decided.current
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
            {**area, "long_name": "signed area of reversible surrogates, in their own planes"},
        ),
    }


def tests_summary(decided: RunDecision, method: str) -> dict[str, dict[str, object]]:
    """Summary of the tests on all weights: p-values and the numbers that go with them."""
    decision, run = decided.decisions[0], decided.run
    p, current = decision.evidence, decided.current
    spacing = run.spacing or 1
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
            "strength": decided.details[0].drift_strength,
        },
        "noise_scale": {
            "p_value": p.get("noise_scale"),
            "change_step": None if change is None else run.steps[round(change)].item(),
            "ratio": p.get("noise_ratio"),
        },
        "circulation": {
            "p_value": p.get("circulation"),
            "p_slow_planes": p.get("slow_planes"),
            "p_all_planes": p.get("all_planes"),
            **_of_turning(current, spacing),
            "guard": guard(decision),
        },
    }


def _of_turning(current: Current | None, spacing: float) -> dict[str, object]:
    """How fast the path turns, per step where checkpoints are evenly spaced."""
    names = (
        "angular_velocity", "radians_per_relaxation", "period", "period_interval",
        "entropy_production", "entropy_interval", "plane",
    )  # fmt: skip
    if current is None:
        return dict.fromkeys(names)
    interval = current.period_interval
    found = (
        current.angular_velocity / spacing,
        current.per_relaxation,
        None if current.period is None else current.period * spacing,
        None if interval is None else [end * spacing for end in interval],
        current.entropy_production / spacing,
        [end / spacing for end in current.entropy_interval],
        current.plane.tolist(),
    )
    return dict(zip(names, found, strict=True))


def _phase(run: Run, phase: Phase) -> dict[str, object]:
    """A phase as plain numbers and words."""
    opens = phase.opens
    return {
        "first_step": run.steps[phase.first].item(),
        "last_step": run.steps[phase.stop - 1].item(),
        "checkpoints": phase.stop - phase.first,
        "code": phase.code,
        "sentence": phase.sentence,
        "opens_with": None if opens is None else opens.kind,
        "p_value": None if opens is None else opens.p_value,
    }


def _smooth_layers(decided: RunDecision) -> list[int]:
    """Numbers of the layers in which no noise is to be seen, where there is none in the whole."""
    if decided.found is None or not decided.found.is_smooth:
        return []
    return [
        layer
        for layer, (decision, window) in enumerate(
            zip(decided.decisions, decided.windows, strict=True)
        )
        if layer and is_worth_taking_apart(decision) and decision.code != "drifting"
        if noise_if_negligible(window.increments, window.rounding) is not None
    ]


def verdict_dataset(decided: RunDecision) -> xr.Dataset:
    """The verdict on every group; that on all weights is in the attributes."""
    still = [stands_still(decided.run, span) for span in decided.spans]
    words = [
        f"{sentence(decision, detail, decided.run.part(*span))} {ends}".rstrip()
        for decision, detail, span, ends in zip(
            decided.decisions, decided.details, decided.spans, still, strict=True
        )
    ]
    codes = [each.code for each in decided.decisions]
    for layer in _smooth_layers(decided):
        codes[layer], words[layer] = "course", f"{SMOOTH} {still[layer]}".rstrip()
    decision, alpha = decided.decisions[0], decided.settings.alpha
    if decided.found is not None:
        share = decided.burn_in / len(decided.run.steps)
        codes[0] = code_of(decision, decided.found, share)
        words[0] = in_words(
            decision, decided.found, decided.run, decided.shares, codes[0], words[0],
            followed=decided.followed,
        )  # fmt: skip
    elif decided.followed is not None:
        words[0] = f"{words[0]} {of_noise(decided.followed, decided.run)}"
    parts = numbers(decision, decided.found, decided.followed, decided.run, decided.shares)
    at_whole, said = decided.epochs
    if said:
        words[0] = f"{words[0]} {said}"
    if isinstance(rest := parts["rest"], dict):
        rest["at_epochs"] = at_whole
    return xr.Dataset(
        {
            "code": (GROUP, codes),
            "sentence": (GROUP, words),
            "still": (GROUP, still),
        },
        {GROUP: list(decided.names)},
        {
            "code": codes[0],
            "sentence": words[0],
            "alpha": alpha,
            **parts,
            "evidence": {name: float(value) for name, value in decision.evidence.items()},
            "unseen": [
                *detection_limits(decision, decided.details[0], decided.run, decided.found),
                *([decided.run.taken] if decided.run.taken else []),
            ],
            "proposal": decided.proposal,
            "phases": [_phase(decided.run, each) for each in decided.phases],
            "gates": decision_path(decision, alpha, decided.found, decided.why_noise_is_unused),
        },
    )
