import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trajectories import trajectories
from trajscope.kernels.checksum import add_checksums, bits_in_use, trailing_zeros

MASK = (1 << 64) - 1


def multiplier(place):
    """As in the paper of splitmix64, with Python's whole numbers."""
    z = ((place + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return (z ^ (z >> 31)) | 1


def naive_checksum(row, first=0):
    words = np.frombuffer(np.ascontiguousarray(row).tobytes(), np.uint32).tolist()
    start = first * row.itemsize // 4
    return sum(word * multiplier(start + place) for place, word in enumerate(words)) & MASK


def checksums(x, unit, *, first=0, cuts=()):
    total = np.zeros((len(x), -(-x.shape[1] // unit)), np.uint64)
    for start, stop in zip((0, *cuts), (*cuts, x.shape[1]), strict=True):
        add_checksums(total, x[:, start:stop], first=first + start, offset=start, unit=unit)
    return total


@given(x=trajectories(), unit=st.integers(1, 9), first=st.integers(0, 1 << 40), data=st.data())
def test_units_are_summed_as_by_whole_numbers_however_they_are_cut(x, unit, first, data):
    cuts = sorted(data.draw(st.sets(st.integers(0, x.shape[1]), max_size=4)))
    found = checksums(x, unit, first=first, cuts=cuts)
    for row, sums in zip(x, found.tolist(), strict=True):
        for number, value in enumerate(sums):
            part = row[number * unit : (number + 1) * unit]
            assert value == naive_checksum(part, first + number * unit)


def test_weights_that_change_places_change_the_sum():
    x = np.array([[1, 2, 3, 4], [2, 1, 3, 4], [1, 2, 4, 3]], np.float32)
    assert len(set(checksums(x, 4)[:, 0].tolist())) == 3


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_coarse_numbers_have_as_many_sums_as_states(dtype):
    rng = np.random.default_rng(0)
    x = rng.integers(-8, 8, (20_000, 64)).astype(dtype)
    assert len(np.unique(checksums(x, 64))) == len(np.unique(x, axis=0))


def test_columns_of_a_larger_block_need_not_lie_side_by_side():
    x = np.random.default_rng(0).standard_normal((5, 24))
    assert (checksums(x[:, ::2], 4) == checksums(x[:, ::2].copy(), 4)).all()


@pytest.mark.parametrize(
    ("dtype", "narrow", "zeros"),
    [("f4", "f2", 13), ("f8", "f2", 42), ("f8", "f4", 29), ("f4", "bfloat16", 16)],
)
def test_bits_in_use_tell_a_narrower_dtype(dtype, narrow, zeros):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    wide = np.random.default_rng(0).standard_normal((2, 500)).astype(dtype)
    kind = ml_dtypes.bfloat16 if narrow == "bfloat16" else np.dtype(narrow)
    wide[1] = wide[1].astype(kind).astype(dtype)
    assert trailing_zeros(bits_in_use(wide)).tolist() == [0, zeros]


def test_zeros_use_no_bits():
    assert trailing_zeros(bits_in_use(np.zeros((1, 3), np.float32))).tolist() == [-1]
