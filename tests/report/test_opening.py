import re

import numpy as np
import pytest
from simulated_results import brownian, make_results, ornstein_uhlenbeck

from trajscope.errors import ResultsError
from trajscope.report import opening
from trajscope.report.opening import blind_spots, headline, key_numbers
from trajscope.report.words import Window

FORBIDDEN = re.compile(r"\b(proves?|is Brownian|significant\w*|fails?)\b", re.I)


def test_the_headline_is_one_sentence_of_measured_numbers():
    x = np.zeros((11, 100))
    x[:, 0] = [0, 3, 0, 3, 0, 3, 0, 3, 0, 3, 3]  # a path of 27 that ends 3 from its start
    found = headline(make_results(x))
    assert found.sentence == (
        "In 11 checkpoints the run walked a path of 27.0 and ended 3.00 from its start."
    )
    assert found.word == "no verdict"


def test_a_run_that_overflows_is_described_without_a_number():
    results = make_results(brownian(20, 100))
    results["observables"]["path_length"][:] = np.inf
    assert headline(results).sentence == "20 checkpoints were read, but their path has no length."


@pytest.mark.parametrize("checkpoints", [2, 5, 19, 20, 300, 99_000])
def test_what_could_not_be_seen_is_said_for_every_length_with_a_number_each(checkpoints):
    spots = blind_spots(Window(checkpoints, 0, 1, 100, "step"))
    assert 2 <= len(spots) <= 4
    assert all(re.search(r"\d", spot) for spot in spots)
    assert not any(FORBIDDEN.search(spot) for spot in spots)


def test_the_slowest_visible_time_is_a_tenth_of_the_window():
    slow = blind_spots(Window(300, 0, 29_900, 100, "step"))[0]
    assert "30 checkpoints (3,000 steps)" in slow
    # The claim beside it: the mean over ten correlation times of an AR(1) process.
    mean = ornstein_uhlenbeck(300, 4000, tau=30).mean(axis=0)
    relative = mean.std() * np.sqrt(1 - np.exp(-2 / 30))
    assert relative == pytest.approx(0.45, abs=0.04)


@pytest.mark.parametrize("known", [0, 1, 5])
def test_a_report_that_does_not_say_what_it_cannot_show_is_not_made(known, monkeypatch):
    monkeypatch.setattr(opening, "BLIND_SPOTS", opening.BLIND_SPOTS[:1] * known)
    with pytest.raises(ResultsError, match="two to four are expected"):
        blind_spots(Window(300, 0, 1, 1, "step"))


def test_a_straight_line_gives_the_reference_of_a_straight_line():
    line = make_results(np.arange(40.0)[:, None] * np.ones(100))
    for number in key_numbers(line):
        assert float(number.value.rstrip("%")) == float(number.straight_line.rstrip("%"))


def test_a_random_walk_gives_nearly_the_reference_of_a_random_walk():
    walk = key_numbers(make_results(brownian(400, 2000), tensors={"w": 2000}))
    found = [float(number.value.rstrip("%").replace("−", "-")) for number in walk]
    expected = [float(n.random_walk.removeprefix("about ").rstrip("%")) for n in walk]
    np.testing.assert_allclose(found, expected, rtol=0.12, atol=0.02)
