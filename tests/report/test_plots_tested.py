import dataclasses
import json
import re

import numpy as np
import pytest
from judged_results import judge, with_verdict
from simulated_results import brownian, make_results, ornstein_uhlenbeck, rotating
from test_html import Page

from trajscope.report import open_results, save_results
from trajscope.report.content.curves import MOST_POINTS, curves
from trajscope.report.content.summary import summary
from trajscope.report.figures.catalogue import FIGURES, in_order, svg
from trajscope.report.figures.increments import noise_change
from trajscope.report.figures.null import drawn_groups, exponents_title, power, variance_ratio_title
from trajscope.report.page.render import render
from trajscope.report.screen.result import screen


@pytest.fixture(scope="module")
def judged():
    return with_verdict(make_results(brownian(40, 100)))


@pytest.fixture(scope="module")
def page(judged):
    return Page(render(judged))


def titles(page):
    return {e["attrs"]["id"]: e["text"] for e in page.all("title") if "id" in e["attrs"]}


def test_every_figure_is_drawn_and_its_title_says_what_to_conclude(page):
    found = titles(page)
    assert len(found) == len(FIGURES)  # the known processes come on top
    (absent,) = page.all("div", class_="absent")
    assert absent["text"].startswith("No log of the trainer")
    assert found["variance-ratio-title"] == (
        "Variance ratio: 0.20 at 10 checkpoints, where Brownian runs give 0.85"
    )
    assert found["periodogram-title"] == (
        "Increment power: outside the Brownian band at 1 of 19 frequencies"
    )
    assert found["circulation-title"] == (
        "Signed area: 6.00 sd²; 3 reversible surrogates reach 0.60 to 3.6"
    )
    assert found["exponents-title"] == (
        "Diffusion exponent: 0.40; Brownian runs of this length give 0.70 to 1.1"
    )
    assert found["standings-title"] == "Every test: noise variance reaches 0.50 times its 99% mark"


@pytest.mark.parametrize(
    ("code", "first"),
    [
        ("too_short", "variance-ratio"), ("noise_scale_changes", "increment-size"),
        ("drifting", "displacement"), ("brownian", "variance-ratio"),
        ("confined", "variance-ratio"), ("circulating", "circulation"),
        ("oscillating", "periodogram"), ("unheard_of", "displacement-growth"),
    ],
)  # fmt: skip
def test_the_figure_beside_the_verdict_is_the_one_that_decided(judged, code, first):
    found = curves(judged)
    found = dataclasses.replace(found, verdict=dataclasses.replace(found.verdict, code=code))
    order = in_order(found)
    assert order[0].name == first
    assert sorted(plot.name for plot in order) == sorted(plot.name for plot in FIGURES)


def test_lengths_and_frequencies_of_the_tests_count_checkpoints(judged):
    np.testing.assert_array_equal(curves(judged).scales, [2, 4, 8, 10])
    np.testing.assert_allclose(curves(judged).tested_frequencies, np.arange(1, 20) / 40)
    coarse = judged.copy()
    coarse["tests"].attrs["stride"] = 4
    np.testing.assert_array_equal(curves(coarse).scales, [8, 16, 32, 40])
    np.testing.assert_allclose(curves(coarse).tested_frequencies, np.arange(1, 20) / 160)


def test_a_ratio_inside_its_band_is_said_to_be(judged):
    inside = judged.copy(deep=True)
    inside["tests"]["variance_ratio_low"][:] = 0.0
    assert variance_ratio_title(curves(inside)) == (
        "Variance ratio: inside the Brownian band at all 4 lengths"
    )


def test_only_what_leaves_the_band_is_orange_and_only_the_null_is_filled(judged):
    plots = {plot.name: plot for plot in FIGURES}
    drawn = svg(plots["variance-ratio"], curves(judged))
    assert "var(--outside)" in drawn
    assert drawn.count("fill: var(--band)") == 1
    inside = judged.copy(deep=True)
    inside["tests"]["variance_ratio_low"][:] = 0.0
    assert "var(--outside)" not in svg(plots["variance-ratio"], curves(inside))


def test_an_excursion_of_one_frequency_survives_in_a_long_spectrum(judged):
    n = 50_000
    long = with_verdict(judged, n=n)
    long["tests"]["relative_power"][:, 3] = 1.0
    long["tests"]["relative_power"][:, 20_000] = 9.0
    plot = next(plot for plot in FIGURES if plot.name == "periodogram")
    assert power(curves(long))[1].size > 100 * MOST_POINTS / 2
    drawn = svg(plot, curves(long))
    assert "var(--outside)" in drawn
    assert len(drawn) < 100_000


def test_the_change_of_the_noise_is_a_step_of_the_run(judged):
    evidence = {"noise_scale": 0.001, "change": 17.0, "noise_ratio": 8.5}
    changed = curves(with_verdict(judged, "noise_scale_changes", evidence=evidence))
    assert noise_change(changed).steps == (1000 + 17 * 100,)
    plot = in_order(changed)[0]
    assert plot.title(changed) == "Increment size: variance rises 8.50-fold at step 2,700"
    assert "var(--outside)" in svg(plot, changed)
    assert noise_change(curves(judged)) is None


@pytest.mark.parametrize(
    ("kind", "places", "title"),
    [
        ("steps", [2600, 3000], "Increment size: variance falls 4.00-fold at step 2,600, 3,000"),
        ("gradual", [], "Increment size: variance falls 4.00-fold gradually"),
    ],
)
def test_the_figure_shows_the_noise_that_the_sentence_tells_of(judged, kind, places, title):
    evidence = {"noise_scale": 0.001, "change": 17.0, "noise_ratio": 0.3}
    results = with_verdict(judged, "noise_scale_changes", evidence=evidence)
    results["verdict"].attrs["noise"] = {"kind": kind, "ratio": 0.25, "change_steps": places}
    changed = curves(results)
    plot = in_order(changed)[0]
    assert plot.title(changed) == title
    assert ("var(--outside)" in svg(plot, changed)) == bool(places)


def test_of_many_groups_those_farthest_from_the_null_are_drawn():
    tensors = {f"layer{i}.weight": 5 for i in range(40)}
    many = with_verdict(make_results(brownian(40, 200), tensors=tensors))
    many["tests"]["diffusion_exponent"][33] = 1.9
    shown = drawn_groups(curves(many))
    assert (shown[0], len(shown)) == (0, 15)
    assert 33 in shown


def test_a_circulation_that_was_not_looked_for_says_why(judged):
    bare = judged.copy()
    names = ["plane_path", "signed_area", "signed_area_surrogate"]
    bare["tests"] = bare["tests"].to_dataset().drop_vars(names)
    bare["verdict"].attrs["evidence"] = {"brownian": 0.5}
    (figure,) = Page(render(bare)).all("figure", id="circulation")
    assert "tested only in a run that is confined" in figure["text"]
    bare["verdict"].attrs |= {
        "code": "too_short",
        "evidence": {"brownian": 0.002, "correlation_time": 56.0},
    }
    (figure,) = Page(render(bare)).all("figure", id="circulation")
    assert "The window holds 0.71 correlation times" in figure["text"]


def test_layers_stand_as_dots_in_bands_with_their_verdicts(judged):
    several = judged.copy(deep=True)
    at = {"group": "fc1", "test": "slow_planes"}
    several["tests"]["p_adjusted"].loc[at] = 0.0005
    several["tests"]["position"].loc[at] = 90.0
    several["verdict"]["code"].loc[{"group": "fc1"}] = "drifting"
    page = Page(render(several))
    rows = [e["text"] for e in page.all("tr")][:4]
    assert "fc1drifting40" in rows[2]
    assert "→ 0.001" in rows[2]
    assert len(page.all("span", class_="dot spoke")) == 1
    assert len(page.all("span", class_="dot")) == 5 * 3 - 1
    assert "1 drifting (fc1); 2 confined." in "".join(e["text"] for e in page.all("section"))


def test_the_columns_of_the_table_of_layers_are_those_that_the_result_names(judged):
    heads = [e["text"] for e in Page(render(judged)).all("th", scope="col")]
    heads.remove("river, p")  # of the table of norms
    assert [head.removesuffix(", p") for head in heads if head.endswith(", p")] == [
        "order of increments", "mean-reverting", "constant drift", "rotation of slow modes",
        "rotation in all planes",
    ]  # fmt: skip


def test_a_result_without_words_for_its_tests_is_reported_by_their_names(judged, tmp_path):
    tests = judged["tests"].to_dataset()
    old = judged.copy()
    old["tests"] = tests.drop_vars([name for name in tests.coords if name not in tests.dims])
    reopened = open_results(save_results(old, tmp_path / "old.zarr")).load()
    page = Page(render(reopened))
    assert titles(page)["standings-title"] == (
        "Every test: noise scale reaches 0.50 times its 99% mark"
    )
    heads = [e["text"] for e in page.all("th", scope="col")]
    assert {"verdict", "noise scale, p", "slow drift, p"} <= set(heads)
    assert any(line.startswith("early excess  ") for line in screen(reopened).splitlines())


def test_a_result_with_the_river_of_all_weights_alone_is_still_shown():
    results = judge(brownian(64, 100))
    now, before = results["tests"].to_dataset(), results.copy()
    names = ("river_p_value", "river_p_any")
    before["tests"] = now.drop_vars(names).assign(
        {name: now[name].isel(group=0, drop=True) for name in names}
    )
    titles_now, titles_before = (titles(Page(render(each))) for each in (results, before))
    assert titles_now == titles_before
    assert summary(before)["observables"] == summary(results)["observables"]


def test_the_route_and_the_evidence_are_on_the_page(page):
    (route,) = page.all("ol", class_="route")
    steps = [e["text"] for e in page.all("li") if "ol" in e["in"]]
    assert "settled?yes, 4.0 correlation times" in steps
    assert "verdictconfined" in steps
    assert "Brownian?" in route["text"]
    (numbers,) = [e for e in page.all("details") if "Numbers behind the verdict" in e["text"]]
    assert "correlation time" in numbers["text"]


def test_numbers_behind_the_figures_of_tests_are_embedded(page):
    (element,) = page.all("script", type="application/json")
    tables = json.loads(element["text"])
    assert tables["variance-ratio"]["length_checkpoints"] == [2, 4, 8, 10]
    assert tables["variance-ratio"]["brownian_mean"] == [1, 0.95, 0.9, 0.85]
    assert tables["circulation"]["surrogate_highest"][-1] == 3.6
    assert tables["standings"]["position"][-1] is None


@pytest.mark.parametrize(
    ("process", "code"),
    [(brownian, "brownian"), (rotating, "circulating"), (ornstein_uhlenbeck, "confined")],
)
def test_a_real_verdict_is_shown_on_the_page_and_on_the_screen_and_survives_the_store(
    process, code, tmp_path
):
    options = {"brownian": {}, "rotating": {"omega": 1.2, "decay": 0.2, "seed": 3}}
    x = process(160, 100, **options.get(process.__name__, {"tau": 2.0}))
    found = judge(0.01 * x)
    assert found["verdict"].attrs["code"] == code
    source = render(found)
    save_results(found, tmp_path / "results.zarr")
    assert render(open_results(tmp_path / "results.zarr").load()) == source
    page = Page(source)
    sentence = found["verdict"].attrs["sentence"].partition(". ")[0]
    assert page.all("h1")[0]["text"].startswith(sentence)
    assert in_order(curves(found))[0].name == page.all("figure")[0]["attrs"]["id"]
    for phrase in found["verdict"].attrs["unseen"]:
        assert phrase[1:] in source.replace("&#39;", "'")
    for title in titles(page).values():
        assert len(title) <= 90 or title.startswith("Mean squared displacement of a random walk")
    low, high = re.findall(r"give ([\d.]+) to ([\d.]+)", exponents_title(curves(found)))[0]
    assert float(low) < float(high)
    shown = screen(found, width=80)
    assert f" {code.upper()}  " in shown
    assert len(shown.splitlines()) <= 30
