"""Transforms compiled for this processor, against the definitions in float64 and SciPy's."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import naive
from tests.measure.passes import RESOLUTION, plan_of, sums_of
from tests.trajectories import brownian, trajectories
from trajscope.kernels.compiled.prime import is_fast, powers_of_root
from trajscope.kernels.compiled.transform import (
    Transform,
    is_possible,
    padded_width,
    transform,
)
from trajscope.kernels.curves import curve_moments
from trajscope.kernels.spread import sampled
from trajscope.measure.executor import executor
from trajscope.measure.groups import Groups, size_of
from trajscope.measure.paths import PATHS
from trajscope.measure.plan import Segment, cut

pytest.importorskip("llvmlite")
rng = np.random.default_rng(0)


def definition(x, length):
    """``|sum_t x_t e^{-2 pi i t k / length}|^2`` at k = 0..length/2."""
    k, t = np.arange(length // 2 + 1)[:, np.newaxis], np.arange(len(x))
    return np.abs(np.exp(-2j * np.pi * (k * t % length) / length) @ x.astype(np.float64)) ** 2


# Every radix, first, in the middle and last; loops (17, 37); primes by convolution (53, 61, 199).
@pytest.mark.parametrize(
    "length", [2, 3, 4, 5, 6, 7, 11, 13, 16, 24, 37, 53, 61, 74, 199, 210, 286, 323, 999]
)
def test_power_is_that_of_the_definition(length):
    x = rng.standard_normal((length, 48)).astype(np.float32)
    found = np.full((length // 2 + 1, 48), np.nan, np.float32)
    Transform(length, length).power(x, found)
    expected = definition(x, length)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * expected.max())


# Zeros behind one, two and three quarters of a first pass of four, and behind one of two.
@pytest.mark.parametrize(
    ("length", "n_rows"),
    [(2, 1), (6, 2), (12, 2), (12, 4), (12, 7), (12, 11), (50, 26), (400, 200)],
)
def test_rows_that_are_not_given_are_zero(length, n_rows):
    x = rng.standard_normal((n_rows, 16)).astype(np.float32)
    found = np.full((length // 2 + 1, 16), np.nan, np.float32)
    Transform(length, n_rows).power(x, found)
    expected = definition(x, length)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * expected.max())


def test_a_wave_has_power_at_its_frequency_alone():
    t = np.arange(120)[:, np.newaxis]
    x = np.cos(2 * np.pi * t * np.arange(16) / 120).astype(np.float32)
    found = np.empty((61, 16), np.float32)
    Transform(120, 120).power(x, found)
    expected = np.zeros((61, 16))
    np.fill_diagonal(expected, 3600)
    expected[0, 0] = 14400  # a constant is not halved
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_powers_of_a_primitive_root_are_all_numbers_but_zero():
    assert powers_of_root(7) == (1, 3, 2, 6, 4, 5)
    assert sorted(powers_of_root(199)) == list(range(1, 199))


def test_lengths_are_fast_by_their_factors_or_those_of_one_less():
    assert [n for n in (47, 53, 999, 199, 167, 2 * 53) if is_fast(n)] == [47, 53, 999, 199]


@pytest.mark.parametrize(
    "shapes", [((8, 16), (4, 16)), ((9, 16), (5, 16)), ((8, 15), (5, 15)), ((8, 32), (5, 16))]
)
def test_arrays_of_other_shapes_are_refused(shapes):
    of_rows = Transform(8, 8)
    with pytest.raises(ValueError, match="float32"):
        of_rows.power(*(np.zeros(shape, np.float32) for shape in shapes))


def test_arrays_that_are_not_float32_or_have_gaps_are_refused():
    of_rows, out = Transform(8, 8), np.zeros((5, 16), np.float32)
    with pytest.raises(ValueError, match=r"x: .*float64"):
        of_rows.power(np.zeros((8, 16)), out)
    with pytest.raises(ValueError, match="x: "):
        of_rows.power(np.zeros((8, 32), np.float32)[:, ::2], out)


def test_widths_are_whole_pairs_of_groups():
    assert [padded_width(n) for n in (0, 1, 16, 17)] == [0, 16, 16, 32]


def test_threads_compile_a_transform_once(monkeypatch):
    made, init = [], Transform.__init__
    monkeypatch.setattr(
        Transform, "__init__", lambda self, *given, **by: made.append(1) or init(self, *given, **by)
    )
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: transform(135, 135), range(4)))
    assert len(made) == 1


def test_coefficients_of_another_length_are_refused():
    x, power = np.zeros((8, 16), np.float32), np.zeros((4, 16), np.float32)
    both = Transform(16, 8, of_both=True)
    with pytest.raises(ValueError, match="coefficients: 7 rows, not 8"):
        both.both(x, x.copy(), power, x[:1], x[:1], np.zeros((7, 4), np.float32))


@given(trajectories())
@settings(max_examples=40)
def test_sums_are_those_of_scipy_at_any_magnitude(x):
    compiled, plain = curve_moments(x, compiled=True), curve_moments(x)
    for name, expected in plain.items():
        scale = np.abs(expected).max(initial=0.0)
        if name == "power":  # of equal increments only the rounding is left
            scale = np.sum(naive.increments(x.astype(np.float64)) ** 2)
        np.testing.assert_allclose(compiled[name], expected, rtol=0, atol=1e-5 * scale)


def test_a_series_loses_no_digits_to_a_large_or_a_still_one_beside_it():
    x = brownian(122, 48, dtype=np.float32)
    x[:, 8:16] *= np.float32(1e9)  # paired with 0..7
    x[:, 24:32] = 0.3
    x[:, 40:48] = np.arange(122)[:, np.newaxis]
    compiled, wide = curve_moments(x, compiled=True), x.astype(np.float64)
    assert compiled["n_amplitudes"] == 32
    assert compiled["n_autocorrelations"] == 40
    amplitudes = naive.fft_amplitudes(wide[:, :40])
    np.testing.assert_allclose(compiled["amplitude"], amplitudes.sum(axis=0), rtol=1e-6)
    expected = naive.autocorrelations(wide).sum(axis=0)
    np.testing.assert_allclose(compiled["autocorrelation"], expected, rtol=0, atol=1e-4)


@given(st.integers(2, 60), st.integers(1, 40))
@settings(max_examples=20)
def test_any_numbers_of_checkpoints_and_weights(n_steps, n_weights):
    x = brownian(n_steps, n_weights, dtype=np.float32)
    compiled, plain = curve_moments(x, compiled=True), curve_moments(x)
    for name, expected in plain.items():
        np.testing.assert_allclose(
            compiled[name], expected, rtol=1e-5, atol=1e-5 * n_weights, err_msg=name
        )


def test_narrow_last_pieces_and_samples():
    x = brownian(122, 9_001, dtype=np.float32)
    x[:, 17] = 3.0
    x[:, 9_000] *= 1e-30  # squares of it vanish: the last piece is scaled and taken again
    chosen = sampled(0, 9_001, share=0.1, seed=2)
    compiled, plain = curve_moments(x, chosen, compiled=True), curve_moments(x, chosen)
    for name, expected in plain.items():
        scale = np.abs(expected).max()
        np.testing.assert_allclose(compiled[name], expected, rtol=0, atol=1e-6 * scale)


def test_threads_do_not_share_what_they_work_on():
    runs = [brownian(201, 3000, dtype=np.float32, seed=seed) for seed in range(4)]
    alone = [curve_moments(x, compiled=True) for x in runs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda x: curve_moments(x, compiled=True), runs * 3))
    for number, sums in enumerate(together):
        for name, expected in alone[number % 4].items():
            np.testing.assert_array_equal(sums[name], expected)


@pytest.mark.parametrize("installed", ["yes", "no", "too old"])
def test_a_pass_of_many_numbers_finds_the_same(installed, monkeypatch):
    x = brownian(121, 300, dtype=np.float32)
    expected = sums_of(x, plan_of("gram", 300))
    calls, run = [], Transform._run
    monkeypatch.setattr(Transform, "_run", lambda *given: calls.append(1) or run(*given))
    if installed == "no":
        monkeypatch.setitem(sys.modules, "llvmlite", None)
    if installed == "too old":
        monkeypatch.setattr("llvmlite.binding.llvm_version_info", (15, 0, 7))
    is_possible.cache_clear()
    found = sums_of(x, replace(plan_of("gram", 300), is_compiled=True))
    is_possible.cache_clear()
    assert bool(calls) == (installed == "yes")
    for group, sums in expected.items():
        for name, values in sums.items():
            scale = np.abs(values).max()
            np.testing.assert_allclose(found[group][name], values, rtol=0, atol=1e-6 * scale)


@pytest.mark.parametrize(
    ("n_weights", "memory", "is_compiled"),
    [(2**15, 2**30, False), (2**20, 2**30, True), (2**20, 2**28, False)],
)
def test_transforms_are_compiled_for_many_numbers_where_there_is_room(
    n_weights, memory, is_compiled
):
    weights = xr.Variable(("step", "weight"), np.broadcast_to(np.float32(0), (101, n_weights)))
    segments = (Segment(0, 0, n_weights, RESOLUTION),)
    with executor(None, None) as threads:
        size = size_of(weights, Groups(("all",), segments), threads, memory)
    assert size.is_compiled == is_compiled
    size = replace(size, resident=0, n_weights=300, memory=2**33)  # that all paths are possible
    plans = [cut(size, segments, path, 1) for path in PATHS]
    assert [plan.is_compiled for plan in plans] == [is_compiled, False, is_compiled]
