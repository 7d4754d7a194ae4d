import re

import numpy as np
import pytest
import xarray as xr
from judged_results import with_verdict
from simulated_results import brownian, make_results, ornstein_uhlenbeck

from trajscope.errors import ResultsError
from trajscope.report.content.headline import blind_spots, headline, key_numbers

FORBIDDEN = re.compile(r"\b(proves?|is Brownian|significant\w*|fails?)\b", re.I)


def test_the_headline_is_one_sentence_of_measured_numbers():
    x = np.zeros((11, 100))
    x[:, 0] = [0, 3, 0, 3, 0, 3, 0, 3, 0, 3, 3]  # a path of 27 that ends 3 from its start
    found = headline(make_results(x))
    assert found.sentence == (
        "11 checkpoints: path length 27.0, displacement 3.00 from the first to the last."
    )
    assert found.word == "no verdict"


def test_a_run_that_overflows_is_described_without_a_number():
    results = make_results(brownian(20, 100))
    results["observables"]["path_length"][:] = np.inf
    assert headline(results).sentence == "The path length of 20 checkpoints is not finite."


def only_steps(n_steps):
    """As much of an untested result as its blind spots need."""
    steps = xr.Dataset(coords={"step": 100.0 * np.arange(n_steps)}, attrs={"step_unit": "step"})
    return xr.DataTree.from_dict(
        {"/trajectory": steps, "/tests": xr.Dataset(), "/verdict": xr.Dataset()}
    )


@pytest.mark.parametrize("checkpoints", [2, 5, 19, 20, 300, 99_000])
def test_what_could_not_be_seen_is_said_for_every_length_with_a_number_each(checkpoints):
    spots = blind_spots(only_steps(checkpoints))
    assert 2 <= len(spots) <= 4
    assert all(re.search(r"\d", spot) for spot in spots)
    assert not any(FORBIDDEN.search(spot) for spot in spots)


def test_the_slowest_visible_time_is_a_tenth_of_the_window():
    slow = blind_spots(only_steps(300))[0]
    assert "30 checkpoints (3,000 steps)" in slow
    # The claim beside it: the mean over ten correlation times of an AR(1) process.
    mean = ornstein_uhlenbeck(300, 4000, tau=30).mean(axis=0)
    relative = mean.std() * np.sqrt(1 - np.exp(-2 / 30))
    assert relative == pytest.approx(0.45, abs=0.04)


@pytest.mark.parametrize("known", [0, 4])
def test_a_report_that_does_not_say_what_it_cannot_show_is_not_made(known, results):
    judged = with_verdict(results, unseen=["relaxation slower than 400 steps"] * known)
    with pytest.raises(ResultsError, match="two to four are expected"):
        blind_spots(judged)


def test_what_the_tests_could_not_see_takes_the_place_of_the_guess(results):
    assert blind_spots(with_verdict(results)) == (
        "relaxation slower than 400 steps: looks Brownian",
        "rotation slower than 1",
        "oscillations with a period below 2 checkpoints (200 steps): seen as slower ones "
        "(aliasing)",
    )


def test_the_verdict_comes_first_and_what_to_leave_out_beside_it(results):
    found = headline(with_verdict(results, proposal="Leave out the first 40 checkpoints."))
    assert (found.word, found.sentence) == ("confined", "Confined: mean-reverting (p = 0.002).")
    assert found.detail == (
        "No circulation detected. Diffusion exponent 0.40 (Brownian motion of this length: 0.70 to "
        "1.1 in 99% of runs). 999 permutations, α = 0.01."
    )
    assert found.caution == "Leave out the first 40 checkpoints."


def test_key_numbers_of_a_test_say_whether_its_null_is_kept(results):
    numbers = {number.name: number for number in key_numbers(with_verdict(results))}
    assert numbers["Brownian null"].value == "p = 0.002"
    assert numbers["Brownian null"].reference == "rejected at α = 0.01"
    assert numbers["no-drift null"].reference == "not rejected at α = 0.01"
    assert numbers["diffusion exponent"].reference == "Brownian motion of this length: 0.70 to 1.1"


def test_a_circulation_has_its_period_as_a_key_number(results):
    judged = with_verdict(results, "circulating")
    judged["tests"].attrs["summary"] = {"circulation": {"period": 2010.0}}
    assert key_numbers(judged)[-1].reference.endswith("period 2,010 steps")


def references(number):
    walk, line = number.reference.split("; ")
    walk, line = walk.removeprefix("random walk: "), line.removeprefix("straight line: ")
    return float(walk.removeprefix("about ").rstrip("%")), float(line.rstrip("%"))


def test_a_straight_line_gives_the_reference_of_a_straight_line():
    line = make_results(np.arange(40.0)[:, None] * np.ones(100))
    for number in key_numbers(line):
        assert float(number.value.rstrip("%")) == references(number)[1]


def test_a_random_walk_gives_nearly_the_reference_of_a_random_walk():
    walk = key_numbers(make_results(brownian(400, 2000), tensors={"w": 2000}))
    found = [float(number.value.rstrip("%").replace("−", "-")) for number in walk]
    expected = [references(number)[0] for number in walk]
    np.testing.assert_allclose(found, expected, rtol=0.12, atol=0.02)
