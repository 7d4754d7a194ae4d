"""The fuzzed targets on their seeds, cut and mutated a little; nox -s fuzz goes on from here."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, run


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_seed_cut_anywhere_is_read_or_refused(target):
    for seed in target.seeds:
        for length in range(len(seed) + 1):
            run(target, seed[:length])


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@given(data=st.data())
def test_a_seed_with_other_bytes_in_it_is_read_or_refused(target, data):
    seed = data.draw(st.sampled_from(target.seeds))
    at = data.draw(st.integers(0, len(seed)))
    removed, added = data.draw(st.integers(0, 8)), data.draw(st.binary(max_size=8))
    run(target, seed[:at] + added + seed[at + removed :])
