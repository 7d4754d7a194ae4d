"""Nothing on a page or a screen contradicts the rest of it."""

import re

import numpy as np
import pytest
from judged_results import judge, with_verdict
from simulated_results import brownian, make_results, ornstein_uhlenbeck

from trajscope.inference.decision.catalogue import DOUBLED, TESTS
from trajscope.report.content.headline import key_numbers
from trajscope.report.content.layers import layers
from trajscope.report.content.standings import standings
from trajscope.report.content.verdict import UNUSED, verdict
from trajscope.report.page.render import render
from trajscope.report.screen.result import screen


@pytest.fixture(scope="module")
def settling():
    """A well that is entered from far away: its drift rejects a null that is a random walk."""
    x = ornstein_uhlenbeck(200, 100, tau=12.0, seed=3)
    x[:, :5] += 12 * np.exp(-np.arange(200) / 300)[:, None]
    results = judge(x)
    decided = verdict(results)
    assert decided.code == "confined"
    assert decided.evidence["drift"] <= decided.alpha
    return results


def test_a_drift_that_decides_nothing_is_told_alike_everywhere(settling):
    assert unused(settling) == {"drift"}
    number = next(each for each in key_numbers(settling) if each.name == "no-drift null")
    assert (number.value, "random walk" in number.reference) == ("not used", True)
    page = re.sub(r"<[^>]+>", " ", render(settling))
    assert re.search(r"drifting\?\s+not used: its null is a random walk", page)
    assert "no-drift null p" not in " ".join(page.split())
    (line,) = re.findall(r"^no drift .*$", screen(settling, page="p", width=80), re.MULTILINE)
    assert line.endswith("not used")
    assert "◆" not in line


def unused(results):
    gates = verdict(results).gates
    return {gate.test for gate in gates if gate.finding.startswith(UNUSED)}


def random_walks():
    for seed in range(8):
        yield judge(brownian(80, 100, seed=seed))


def test_the_edge_and_the_p_that_is_shown_agree_with_what_is_rejected():
    beyond = 0
    for results in random_walks():
        decided = verdict(results)
        for one in standings(results["tests"].to_dataset(), decided.alpha):
            # A quantile of 199 draws lies between two of them: only there may they differ.
            if one.spoke:
                assert one.ratio > 0.97
            elif one.test not in {"circulation"}:
                assert one.ratio < 1.03
            if one.test in DOUBLED:
                (combined,) = [test.name for test in TESTS if one.test in test.doubled_of]
                assert one.p_value >= decided.evidence[combined] - 1e-12
                beyond += one.ratio > 0.8
    assert beyond > 0


def test_a_null_that_is_kept_after_doubling_has_no_dot_beyond_its_edge():
    results = with_verdict(make_results(brownian(40, 100)))
    at = {"group": "all", "test": "omnibus"}
    results["tests"]["p_adjusted"].loc[at] = 0.008
    (one,) = [each for each in standings(results["tests"].to_dataset(), 0.01)
              if each.test == "omnibus"]  # fmt: skip
    assert (one.p_value, one.spoke) == (0.016, False)


def test_where_the_noise_changes_nulls_of_steady_noise_decide_nothing():
    x = brownian(200, 100)
    x[100:] = x[99] + brownian(100, 100, seed=1) / 30
    results = judge(x)
    assert verdict(results).code == "noise_scale_changes"
    assert unused(results) == {"brownian", "drift"}
    for number in key_numbers(results)[0], key_numbers(results)[2]:
        assert (number.value, number.reference) == ("not used", "its null is steady noise")
    spoke = [one.test for one in curves_standing(results) if one.spoke]
    assert spoke == ["noise_scale"]


def test_nor_do_they_in_the_table_of_layers():
    x = ornstein_uhlenbeck(200, 100, tau=2.0)
    x[100:] = x[99] + ornstein_uhlenbeck(100, 100, tau=2.0, seed=1) / 30
    found = layers(judge(x))
    order = found.tests.index("order of increments")
    for row in found.all:
        assert row.verdict == "noise scale changes"
        assert not row.dots[order].is_used
        assert not any(dot.spoke for dot in row.dots if dot is not None)


def curves_standing(results):
    return standings(results["tests"].to_dataset(), verdict(results).alpha)
