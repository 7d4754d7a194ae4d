import numpy as np
import pytest

from trajscope.inference.window import Window, longest_even_part


@pytest.fixture
def increments():
    return np.random.default_rng(1).standard_normal((40, 3)) + 0.2


def test_evenly_spaced_increments_are_exchangeable_themselves(increments):
    assert Window(increments).exchangeable is increments


def test_unevenly_spaced_increments_lose_their_drift_and_their_length(increments):
    lengths = np.linspace(0.5, 1.5, 40)
    drift = increments.sum(axis=0) / lengths.sum()
    expected = [(y - drift * dt) / dt**0.5 for y, dt in zip(increments, lengths, strict=True)]
    np.testing.assert_allclose(Window(increments, lengths=lengths).exchangeable, expected)


def test_the_path_is_the_principal_components_of_the_sums(increments):
    x = np.concatenate([np.zeros((1, 3)), increments.cumsum(axis=0)])
    u, s, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(Window(increments).path), np.abs(u * s), atol=1e-9)


def test_a_later_and_a_coarser_window_are_those_of_these_checkpoints(increments):
    x = np.concatenate([np.zeros((1, 3)), increments.cumsum(axis=0)])
    window = Window(increments, x)
    np.testing.assert_allclose(window.after(7).increments, np.diff(x[7:], axis=0))
    np.testing.assert_allclose(window.coarser(3).increments, np.diff(x[::3], axis=0))


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (range(0, 50, 5), range(0, 50, 5)),
        ([1, 2, 4, 8, 16, 20, 24, 28, 32], [4, 8, 16, 20, 24, 28, 32][2:]),
        ([0, 10, 20, 21, 30, 40, 50, 53], [0, 10, 20, 30, 40, 50]),
        ([0, 1, 2, 3, 10, 20, 30, 40, 50, 60], [0, 10, 20, 30, 40, 50, 60]),
        ([0.1, 0.2, 0.3, 0.45, 0.5], [0.1, 0.2, 0.3]),
        ([3, 7], [3, 7]),
    ],
)
def test_the_longest_evenly_spaced_part_is_found(steps, expected):
    steps = np.array(list(steps))
    found = steps[longest_even_part(steps)]
    assert len(found) == len(list(expected))
    assert np.allclose(np.diff(found), np.diff(found)[0])
