"""Weights that never move are left out of transforms and products, and of nothing else."""

import numpy as np
import pytest

from tests.measure.passes import PATH, cut_at, observables_of, plan_of, sums_of
from tests.measure.test_observables import TOLERANCE, expected_of
from tests.trajectories import brownian
from trajscope.measure import span
from trajscope.measure.reductions import CURVES
from trajscope.measure.span import WHOLE, NonFiniteError
from trajscope.measure.still import moving_weights

EVERY_PATH = pytest.mark.parametrize("components", PATH)
LAYERS = (0, 7, 20, 33, 60)


def frozen_in_parts(dtype=np.float32):
    """A whole layer, most of the next, and every third weight of the last stand still."""
    x = brownian(80, 60, dtype=dtype)
    still = np.zeros(60, dtype=bool)
    still[7:31] = still[33::3] = True
    x[:, still] = x[0, still]
    return x


def passed(x, components, width=None):
    """Sums of layers that lie side by side, and of the one that is in two places."""
    tasks = cut_at(LAYERS, (0, 1, 2, 0), task_ends=())
    return sums_of(x, plan_of(components, x.shape[1], tasks=tasks, width=width))


@EVERY_PATH
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_observables_of_a_run_with_frozen_weights_match_their_definitions(components, dtype):
    x = frozen_in_parts(dtype)
    sums = passed(x, components)
    groups = {0: np.r_[0:7, 33:60], 1: np.arange(7, 20), 2: np.arange(20, 33), WHOLE: np.arange(60)}
    for group, columns in groups.items():
        actual = observables_of(sums[group], len(x))
        for name, expected in expected_of(x[:, columns].astype(np.float64)).items():
            scale = max(np.nanmax(np.abs(expected), initial=0.0), 1e-3)
            atol = TOLERANCE.get(name, 1e-5) * scale
            np.testing.assert_allclose(actual[name], expected, rtol=0, atol=atol, err_msg=name)


@EVERY_PATH
def test_sums_are_those_of_a_pass_that_leaves_nothing_out(components, monkeypatch):
    # Blocks of 17 weights are cut elsewhere than layers, and one of them has no weight that moves.
    width = None if PATH[components].needs_one_block else 17
    x = frozen_in_parts(np.float64)
    actual = passed(x, components, width)
    monkeypatch.setattr(span, "moving_weights", lambda *_: None)
    expected = passed(x, components, width)
    assert actual.keys() == expected.keys()
    for group, sums in expected.items():
        assert actual[group].keys() == sums.keys()
        for name, values in sums.items():
            pair = [actual[group][name], values]
            if name in ("factor", "dual_scores"):  # axes have no sign
                pair = [matrix @ matrix.T for matrix in pair]
            scale = np.abs(pair[1]).max(initial=0.0)
            np.testing.assert_allclose(*pair, rtol=1e-9, atol=1e-9 * scale, err_msg=name)


@EVERY_PATH
def test_transforms_see_only_weights_that_move(components, monkeypatch):
    seen = []

    def sums(piece, of=CURVES.sums):
        seen.append(piece.values.shape[1])
        return of(piece)

    monkeypatch.setitem(CURVES.__dict__, "sums", sums)
    passed(frozen_in_parts(), components)
    # Of each layer the first weight stays, moving or not.
    assert sum(seen) == 7 + 1 + 3 + 18 + 1


def test_the_weights_that_move_are_found_one_by_one():
    x = frozen_in_parts()
    x[-1, 7] += 1  # moves at the last step only
    x[5, 8] += 1  # comes back
    found = moving_weights(x, np.array([0, 40]))
    expected = [i for i in range(60) if len(set(x[:, i].tolist())) > 1 or i == 40]
    assert found.numbers.tolist() == expected
    np.testing.assert_array_equal(found.press(x.copy()), x[:, expected])


def test_nothing_is_moved_where_nearly_all_weights_move_or_there_are_few_checkpoints():
    assert moving_weights(brownian(80, 60), np.array([0])) is None
    assert moving_weights(frozen_in_parts()[:10], np.array([0])) is None


@EVERY_PATH
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_frozen_weight_that_is_not_finite_is_found(components, value):
    x = frozen_in_parts()
    x[:, 9] = value
    with pytest.raises(NonFiniteError):
        passed(x, components)
