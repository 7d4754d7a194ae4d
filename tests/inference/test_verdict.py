"""Verdicts on processes with known answers, and how often the tests speak falsely."""

import numpy as np
import pytest

from trajscope.inference.decision.settings import CODES, Decision, DecisionSettings
from trajscope.inference.decision.verdict import decide
from trajscope.inference.statistics.window import Window
from trajscope.simulate import brownian, double_well, ornstein_uhlenbeck

N_RUNS = 40


def window(path):
    centred = path - path.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    return Window(np.diff(path, axis=0), (u * s)[:, :20])


def verdict(path, seed=0, **options) -> Decision:
    return decide(
        window(np.asarray(path)), DecisionSettings(n_surrogates=199, seed=seed, **options)
    )


def autoregressive(phi, seed, n_steps=200, d=10):
    noise = np.random.default_rng(seed).standard_normal((n_steps + 300, d))
    y = np.zeros_like(noise)
    for t in range(1, len(y)):
        y[t] = phi * y[t - 1] + noise[t]
    return y[300:].cumsum(axis=0)


def step_in_noise(seed):
    y = np.random.default_rng(seed).standard_normal((199, 10))
    y[100:] *= 2
    return y.cumsum(axis=0)


def cycle(seed):
    t = 2 * np.pi * np.arange(200) / 20
    noise = 0.2 * np.random.default_rng(seed).standard_normal((200, 2))
    return np.stack([np.cos(t), np.sin(t)], axis=1) + noise


def relaxing(seed, tau):
    start = np.random.default_rng([seed, 1]).standard_normal(10)
    start[:3] += 5
    return ornstein_uhlenbeck(200, taus=[tau] * 10, start=start, seed=seed)


def well(n_modes):
    return lambda seed: ornstein_uhlenbeck(200, taus=[5] * n_modes, seed=seed)


def stirred(strength):
    return lambda seed: double_well(200, strength=strength, interval=0.5, seed=seed)


KNOWN = {
    "brownian": (lambda s: brownian(200, 10, seed=s), {"brownian"}, 0.9),
    "persistent increments": (lambda s: autoregressive(0.5, s), {"brownian"}, 0.9),
    "momentum": (lambda s: autoregressive(0.9, s), {"brownian", "too_short"}, 0.8),
    "drift": (lambda s: brownian(200, 100, seed=s, drift=0.1), {"drifting"}, 0.95),
    "step in noise": (step_in_noise, {"noise_scale_changes"}, 0.95),
    "well": (well(10), {"confined"}, 0.9),
    "100 equal modes": (well(100), {"confined"}, 0.9),
    "relaxing, over": (lambda s: relaxing(s, 10), {"drifting", "too_short"}, 0.8),
    "double well, no current": (stirred(0), {"confined"}, 0.85),
    "double well, current": (stirred(1.5), {"circulating"}, 0.8),
    "coherent cycle": (cycle, {"oscillating", "circulating"}, 0.9),
}


@pytest.mark.parametrize("name", KNOWN)
def test_verdict_on_a_process_with_a_known_answer(name):
    make, right, share = KNOWN[name]
    # Seeds from 2,000: none was looked at while the tests were chosen.
    codes = [verdict(make(2000 + run), seed=run).code for run in range(N_RUNS)]
    n_right = sum(code in right for code in codes)
    # Two binomial standard errors below the share asked for.
    assert n_right / N_RUNS >= share - 2 * np.sqrt(share * (1 - share) / N_RUNS), codes


def test_codes_are_those_that_are_known():
    path = brownian(60, 5, seed=0)
    assert verdict(path).code in CODES


def test_same_seed_same_evidence():
    path = double_well(120, strength=1.0, interval=0.5, seed=1)
    one, other = verdict(path, seed=4), verdict(path, seed=4)
    assert one.code == other.code
    assert one.evidence == other.evidence


@pytest.mark.parametrize("n_steps", [2, 3, 31])
def test_few_checkpoints_are_too_short(n_steps):
    assert verdict(brownian(n_steps, 5, seed=0)).code == "too_short"


def test_a_path_that_never_moves_is_too_short():
    assert verdict(np.ones((100, 3))).code == "too_short"


def test_one_weight_is_judged_without_a_plane():
    judged = verdict(ornstein_uhlenbeck(200, taus=[2], seed=3))
    assert judged.code in CODES
    assert "circulation" not in judged.evidence


def test_no_number_is_missing_where_it_is_given():
    for n_steps in (32, 33, 50):
        judged = verdict(brownian(n_steps, 3, seed=n_steps))
        assert all(np.isfinite(value) for value in judged.evidence.values())


def test_a_path_that_jumps_to_and_fro_without_noise_is_confined_whatever_its_direction():
    # Every stretch of it is alike but for the last digits, in which half of these differ.
    for seed in range(8):
        direction = np.random.default_rng(seed).standard_normal((1, 6))
        path = direction * (np.arange(100) % 2)[:, np.newaxis]
        assert decide(Window(np.diff(path, axis=0)), DecisionSettings(199)).code == "confined"


@pytest.mark.parametrize(("damping", "code"), [(0.95, "confined"), (0.3, "oscillating")])
def test_a_line_is_compared_with_ringing_that_the_window_resolves(damping, code):
    # Ringing of radius .95 lasts 19.5 checkpoints: 60 hold three of these, and seven are needed.
    turn = 2 * np.pi * np.arange(60) / 6
    noise = 0.3 * np.random.default_rng(0).standard_normal((60, 2))
    found = verdict(np.stack([np.cos(turn), np.sin(turn)], axis=1) + noise, damping=damping)
    assert found.code == code
    assert ("ringing_time" in found.evidence) == (code == "confined")
