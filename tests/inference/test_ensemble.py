import numpy as np
from scipy.stats import binom

from tests.trajectories import brownian
from trajscope.inference.comparison.ensemble import POOLED, pooled
from trajscope.inference.decision.settings import DecisionSettings
from trajscope.inference.decision.verdict import decide
from trajscope.inference.statistics.window import Window

RARE = 5e-4


def asked_of(x, seed, n_surrogates=99):
    settings = DecisionSettings(n_surrogates=n_surrogates, alpha=0.05, seed=seed)
    return decide(Window(np.diff(x, axis=0)), settings).statistics


def test_pooled_tests_of_equal_walks_keep_their_level():
    p_values = {test: [] for test in POOLED}
    for ensemble in range(80):
        runs = [asked_of(brownian(40, 8, 1000 + 4 * ensemble + k), ensemble) for k in range(4)]
        for test in POOLED:
            p_values[test].append(pooled([run[test] for run in runs]))
    for test, found in p_values.items():
        rejected = int((np.array(found) <= 0.05).sum())
        assert rejected <= binom.ppf(1 - RARE, len(found), 0.05), test


def test_runs_of_any_length_and_size_are_pooled():
    runs = [
        asked_of(scale * brownian(n, 8, n), 0) for n, scale in ((40, 1), (90, 1e6), (200, 1e-6))
    ]
    for test in POOLED:
        assert 0 < pooled([run[test] for run in runs]) <= 1


def test_one_run_is_its_own_ensemble():
    asked = asked_of(brownian(60, 8), 0)
    for test in POOLED:
        rank = (asked[test] >= asked[test][0]).mean()
        assert abs(pooled([asked[test]]) - rank) <= 0.01
