"""Results that hold several cases, on the page: runs that are compared, and windows of a run."""

import json
import re

import numpy as np
import pytest
import xarray as xr
from simulated_results import brownian, ornstein_uhlenbeck
from test_html import Page, chromium

from trajscope import TrajscopeWarning, analyze, compare
from trajscope.report import open_results, write_report
from trajscope.report.content.cases import differences, label_of, overview
from trajscope.report.content.comparison import alike, opening, pairs_found
from trajscope.report.figures.overlays import OVERLAYS
from trajscope.report.figures.palette import ROLES, RUNS
from trajscope.report.figures.runs import dashes_of, role_of, short_names
from trajscope.report.figures.windows import timeline
from trajscope.report.files.completeness import mark_of
from trajscope.report.files.marks import marked_page
from trajscope.report.page.comparison import render_comparison
from trajscope.report.page.folded import folded
from trajscope.report.page.render import render
from trajscope.schema import cases_of

START = np.random.default_rng(9).normal(size=40)
HOSTILE = ("<script>alert(1)</script>", "\u202etxt.exe", "モデル' onload='alert(2)", "x" * 80)
NONE = re.compile(r"\b(nan|NaN|None|inf)\b")
FEW = {"n_surrogates": 199, "seed": 0}


def run_of(x, spacing=100, layers=2):
    """A trajectory of some layers, as an array with names."""
    n_steps, n_weights = x.shape
    sizes = [n_weights // layers] * layers
    names = [f"layer{k}.weight" for k in range(layers)]
    return xr.Dataset(
        {"weights": (("step", "weight"), 0.01 * x + START[:n_weights])},
        coords={
            "step": spacing * np.arange(n_steps),
            "path": ("step", [f"{k}.pt" for k in range(n_steps)]),
            "tensor": names,
            "row_size": ("tensor", sizes),
            "group": ("tensor", [f"layer{k}" for k in range(layers)]),
            "stored_dtype": ("tensor", ["float32"] * layers),
            "shape": ("tensor", [f"[{size}]" for size in sizes]),
        },
        attrs={"source": "runs/one", "run": "one", "step_unit": "step", "format": "safetensors"},
    )


@pytest.fixture(scope="module")
def two():
    runs = run_of(brownian(100, 40)), run_of(3 * ornstein_uhlenbeck(100, 40, 3.0, seed=1))
    return compare(*runs, labels=["slow", "fast"], **FEW)


@pytest.fixture(scope="module")
def page(two):
    return Page(render_comparison(two))


@pytest.fixture(scope="module")
def replicas():
    runs = [run_of(brownian(80, 40, seed=seed)) for seed in range(3)]
    return compare(*runs, labels=["seed-0", "seed-1", "seed-2"], replicas=True, n_surrogates=299)


@pytest.fixture(scope="module")
def mixed():
    """Runs of other lengths and spacings, under hostile names: one too short, one that is still."""
    runs = [
        run_of(brownian(120, 40)),
        run_of(brownian(90, 40, seed=1), spacing=50),
        run_of(brownian(12, 40, seed=2)),
        run_of(np.zeros((70, 40))),
    ]
    with pytest.warns(TrajscopeWarning, match="never change"):
        return compare(*runs, labels=HOSTILE, **FEW)


@pytest.fixture(scope="module")
def windows():
    x = brownian(200, 40)
    x[100:] = x[100] + 4 * (x[100:] - x[100])
    return analyze(run_of(x), windows="0:10000,10000:20000,5000:15000", **FEW)


def text_of(page):
    (main,) = page.all("main")
    return main["text"]


def titles(page):
    return {e["attrs"]["id"]: e["text"] for e in page.all("title") if "id" in e["attrs"]}


def test_the_page_of_a_comparison_is_well_formed_and_its_ids_are_unique(page):
    assert page.mistakes == []
    assert page.open == []
    ids = [e["attrs"]["id"] for e in page.elements if "id" in e["attrs"]]
    assert len(ids) == len(set(ids))
    links = [e["attrs"]["href"][1:] for e in page.all("a")]
    assert set(links) <= set(ids)


def test_what_tells_the_runs_apart_is_said_first(page):
    (heading,) = page.all("h1")
    assert heading["text"] == "The two runs differ."
    (finding,) = [e for e in page.all("li") if "differs" in (e["attrs"].get("class") or "")]
    assert re.match(
        r"fast against slow: increment variance [\d.]+ \([\d.]+ to [\d.]+\) times as large, "
        r"p\s=\s0\.005; variance ratio over the longest time 0\.[\d]+ ",
        finding["text"],
    )
    assert "no difference seen in drift" in finding["text"]
    assert "2 of 2 layers differ: layer0, layer1." in finding["text"]


def test_every_test_that_was_made_stands_in_the_table_with_its_effect(page, two):
    tests = differences(two)
    assert len(tests) == 3 * 4
    (section,) = page.all("section", id="tests")
    assert section["text"].count("fast against slow") == len(tests)
    assert section["text"].count("the variance of an increment is the same") == 1
    assert len(page.all("span", class_="rejected")) == sum(one.rejects for one in tests)


def test_the_overview_has_a_row_for_every_layer_of_every_run(page, two):
    rows = overview(two)
    assert [(row.case, row.group) for row in rows] == [
        (run, group) for run in ("slow", "fast") for group in ("all", "layer0", "layer1")
    ]
    (section,) = page.all("section", id="overview")
    for row in rows:
        assert row.displacement in section["text"]
        assert row.components in section["text"]


def test_every_curve_is_a_figure_of_all_runs_with_a_conclusion(page):
    names = [e["attrs"]["id"] for e in page.all("figure")]
    assert names == [
        "joint-components", "distance", "variance-ratio", "displacement-growth", "periodogram",
        "increment-fft", "autocorrelation", "increment-size", "displacement", "turns",
    ]  # fmt: skip
    assert page.all("div", class_="absent") == []
    found = titles(page)
    assert len(found) == len(names)
    for title in found.values():
        assert len(title) <= 90
        assert re.search(r": .*\d", title)
    assert all("Compare with:" in e["text"] for e in page.all("figcaption"))


def test_a_figure_labels_every_run_beside_the_curves_in_the_colour_of_its_key(two):
    source = render_comparison(two)
    drawings = re.findall(r"<svg viewBox[^>]*class=\"drawing\".*?</svg>", source, re.S)
    assert len(drawings) == len(OVERLAYS) + 2
    for drawing in drawings[2:]:
        assert ">slow<" in drawing
        assert ">fast<" in drawing
        assert "var(--observed)" in drawing
        assert "var(--run-2)" in drawing
        assert set(re.findall(r"#[0-9a-fA-F]{6}\b", drawing)) <= {"#ffffff", "#000000"}
    used = set(re.findall(r"var\((--[\w-]+)\)", source))
    for theme in re.findall(r":root[^{]*\{(color-scheme[^}]*)\}", source):
        assert used <= set(re.findall(r"(--[\w-]+):", theme))


def test_the_size_of_steps_shows_where_curves_are_in_units_of_the_first_run(page, two):
    ratio = [
        float((case["observables"]["increment_norm"].isel(group=0) ** 2).mean())
        for case in cases_of(two)
    ]
    expected = f"1.00 to {ratio[1] / ratio[0]:.3g}"
    assert titles(page)["increment-size-title"] == (
        f"Increment size: mean square {expected} times that of the first run"
    )


def test_a_run_opens_to_what_its_own_page_says_first(page, two):
    details = page.all("details", class_="run")
    assert len(details) == 2
    for case, found in zip(cases_of(two), details, strict=True):
        assert label_of(case) in found["text"]
        assert case["verdict"].attrs["sentence"].partition(". ")[0] in found["text"]
        assert found["text"].count("Not detectable in this window") == 1
        assert "Brownian null" in found["text"]


def test_how_it_was_made_and_the_curves_are_on_the_page(page, two):
    assert "trajscope" in page.all("section", id="methods")[0]["text"]
    (element,) = page.all("script", type="application/json")
    tables = json.loads(element["text"])
    curves = {f"{overlay.plot.name}.{run}" for overlay in OVERLAYS for run in (1, 2)}
    assert set(tables) == curves | {"joint-components", "distance"}
    np.testing.assert_allclose(
        tables["displacement.2"]["displacement"],
        two["cases/2/observables/displacement"].isel(group=0),
        rtol=1e-5,
    )


def test_replicas_are_pooled_in_a_row_and_in_the_figures(replicas):
    source = render_comparison(replicas)
    page = Page(source)
    assert page.mistakes == []
    (section,) = page.all("section", id="overview")
    assert "All runs pooled" in section["text"]
    found = replicas["ensemble"]
    mean, p = float(found["diffusion_exponent_mean"][0]), float(found["p_pooled"][0, 1])
    assert f"{mean:.3g}" in section["text"]
    assert f"{p:.2g}" in section["text"]
    assert "±" in section["text"]
    assert re.search(r"brownian \d+%", section["text"])
    names = [overlay.plot.name for overlay in OVERLAYS]
    assert {name for name in names if ">mean of runs<" in _figure(source, name)} == {
        "variance-ratio", "displacement-growth", "increment-fft", "autocorrelation",
        "increment-size", "displacement",
    }  # fmt: skip


def _figure(source, name):
    return re.search(rf'<figure id="{name}">.*?</figure>', source, re.S)[0]


def test_pairs_of_which_the_same_is_said_share_a_sentence(replicas):
    found = pairs_found(replicas)
    assert [one.who for one in found] == [
        "seed-1 against seed-0", "seed-2 against seed-0", "seed-2 against seed-1",
    ]  # fmt: skip
    (together,) = alike(found)
    assert together.who == "seed-1 against seed-0, seed-2 against seed-0, seed-2 against seed-1"
    assert together.sentence.startswith("no difference seen in increment variance, variance ratio")
    assert opening(replicas).sentence == "3 replicas: brownian 3 of 3."
    assert opening(replicas).detail.startswith(
        "No difference seen between 3 runs, in 3 tested pairs. "
    )


def test_too_few_draws_for_so_many_pairs_are_said_before_no_difference_is(replicas):
    few = replicas.copy(deep=True)
    few["compare"].attrs["n_surrogates"] = 199
    told = opening(few)
    assert told.detail.startswith("3 runs side by side; too few draws to see a difference. ")
    assert "the smallest p of 199 draws is 0.015, above the level" in told.caution
    assert "at least 299 surrogates" in told.caution
    assert opening(replicas).caution == ""
    assert told.caution in text_of(Page(render_comparison(few)))


def test_hostile_labels_are_shown_and_never_obeyed(mixed):
    source = render_comparison(mixed)
    page = Page(source)
    assert page.mistakes == []
    assert len(page.all("script")) == 2
    assert not [e for e in page.elements if any(name.startswith("on") for name in e["attrs"])]
    assert "\u202e" not in source
    for shown in (
        "<script>alert(1)</script>",
        "\\u202etxt.exe",
        "モデル' onload='alert(2)",
        "x" * 80,
    ):
        assert shown in text_of(page)


def test_runs_of_other_lengths_and_spacings_share_axes_in_steps(mixed):
    source = render_comparison(mixed)
    assert "lag, optimizer steps" in source
    assert "frequency, cycles per optimizer step" in source
    assert f"Not drawn: {'x' * 80}. No weight moved, so there is no curve." in source


def test_what_was_not_compared_says_why(mixed):
    page = Page(render_comparison(mixed))
    (table,) = [
        e
        for e in page.all("div", class_="scroll")
        if e["attrs"]["aria-label"].startswith("What was")
    ]
    assert "12 checkpoints of one spacing; 64 are needed." in table["text"]
    assert "No weight moves in one of the runs." in table["text"]
    reasons = [one.sentence for one in pairs_found(mixed) if not one.tested]
    assert "not compared: no weight moves in one of the runs." in reasons


@pytest.mark.parametrize("name", ["two", "replicas", "mixed"])
def test_no_number_is_shown_that_is_none(name, request):
    assert not NONE.search(text_of(Page(render_comparison(request.getfixturevalue(name)))))


def test_finished_results_are_compared_without_a_common_space(tmp_path):
    runs = [analyze(run_of(brownian(80, 40, seed=seed)), **FEW) for seed in range(2)]
    page = Page(render_comparison(compare(*runs, labels=["one", "other"], **FEW)))
    assert page.mistakes == []
    absent = page.all("div", class_="absent")
    assert len(absent) == 2
    assert all("Finished results hold no weights" in e["text"] for e in absent)
    assert len(page.all("svg", role="img")) == len(OVERLAYS)


def test_arrays_without_layers_can_be_compared():
    one, other = np.random.default_rng(0).standard_normal((2, 80, 30)).cumsum(axis=1)
    page = Page(render_comparison(compare(one, other, labels=["one", "other"], **FEW)))
    assert page.all("div", class_="absent") == []


def test_a_report_of_a_comparison_is_its_page_and_comes_again_from_the_store(two, tmp_path):
    path = write_report(two, tmp_path)
    source = path.read_text(encoding="utf-8")
    mark = mark_of(tmp_path / "results.zarr")
    assert source == marked_page(render_comparison(two), mark)
    again = render_comparison(open_results(tmp_path / "results.zarr").load())
    assert marked_page(again, mark) == source


def test_windows_stand_after_the_verdict_with_a_timeline_and_a_table(windows):
    page = Page(render(windows))
    assert page.mistakes == []
    order = [e["attrs"]["id"] for e in page.all("section")]
    assert [name for name in order if name != "phases"][:3] == ["verdict", "windows", "read"]
    (figure,) = page.all("figure", id="timeline")
    ratios = [span.variance / timeline(windows).whole.variance for span in timeline(windows).spans]
    title = titles(page)["timeline-title"]
    assert title.startswith("Windows: ")
    assert f"{min(ratios):.2f} to {max(ratios):.1f} times the run's" in title
    for case in cases_of(windows):
        assert label_of(case) in figure["text"]
        assert case["verdict"].attrs["code"].replace("_", " ") in figure["text"]
    (section,) = page.all("section", id="windows")
    assert all(row.displacement in section["text"] for row in overview(windows))
    assert not NONE.search(section["text"])


def test_windows_lie_where_their_checkpoints_do(windows):
    spans = timeline(windows).spans
    assert [(span.first, span.last) for span in spans] == [(0, 9900), (10000, 19900), (5000, 14900)]
    assert spans[1].variance == pytest.approx(16 * spans[0].variance, rel=0.1)


def test_the_page_of_one_run_knows_no_windows(results):
    source = render(results)
    assert 'href="#windows"' not in source
    assert "--run-2" not in source


def test_more_than_forty_rows_unfold():
    rows = [(case, group) for case in range(20) for group in ("all", "a", "b")]
    found = folded(rows, lambda row: row[1] == "all", most=50)
    assert len(found.shown) == 20
    assert (len(found.all), found.total) == (50, 60)
    few = folded(rows[:40], lambda row: row[1] == "all")
    assert (len(few.shown), few.all) == (40, ())


@pytest.mark.slow
# Layers of one weight come back to where they were: how near decides whether that is said.
@pytest.mark.filterwarnings("ignore:Distances in layer")
def test_twenty_runs_of_forty_layers_fit_on_a_page():
    n = 20
    runs = [run_of(brownian(12, 200, seed=seed)[:, :40], layers=40) for seed in range(n)]
    labels = [f"an-experiment-with-a-name-as-long-as-{'w' * 38}-{k:02d}" for k in range(n)]
    found = compare(*runs, labels=labels, **FEW)
    source = render_comparison(found)
    page = Page(source)
    assert len(source.encode()) < 2_000_000
    assert all(source.count(label) >= 2 for label in labels)
    (key,) = [e for e in page.all("ul") if "key" in e["attrs"].get("class", "")]
    assert all(label in key["text"] for label in labels)
    assert "more: see key" in source
    assert f"All {n * 41} rows, with every layer" in source


def test_long_labels_lose_what_they_share_and_stay_apart():
    assert short_names(["seed-1", "seed-2"]) == ["seed-1", "seed-2"]
    assert short_names(["resnet18-cifar10-seed-1", "resnet18-cifar10-seed-2"]) == ["…1", "…2"]
    alike_in_short = short_names([f"{'a' * 10}{k}{'b' * 10}" for k in range(3)])
    assert len(set(alike_in_short)) == 3
    assert all(len(name) <= 14 for name in alike_in_short)


def test_twenty_runs_have_twenty_lines_by_colour_and_dashes():
    assert len({(role_of(k), dashes_of(k)) for k in range(20)}) == 20
    assert all(dashes_of(k) is None for k in range(4))


@pytest.mark.parametrize("theme", [0, 1])
def test_four_runs_are_told_apart_by_colour_blind_readers(theme):
    colours = [ROLES["observed"][theme], *(pair[theme] for pair in RUNS.values())]
    for kind in BLIND.values():
        seen = [lab(np.clip(kind @ linear(colour), 0, 1)) for colour in colours]
        apart = [np.linalg.norm(a - b) for k, a in enumerate(seen) for b in seen[:k]]
        assert min(apart) > 17


# Machado, Oliveira, Fernandes 2009, doi:10.1109/TVCG.2009.113: linear RGB, severity 1.
BLIND = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                   [0.004733, 0.691367, 0.303900]],
}  # fmt: skip
BLIND = {name: np.array(matrix) for name, matrix in BLIND.items()}


def linear(colour):
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIE 1976 lightness and opponent colours, white D65."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ rgb / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("name", ["mixed", "windows"])
@pytest.mark.slow
def test_a_browser_opens_the_page_without_an_error(name, request, tmp_path):
    path = write_report(request.getfixturevalue(name), tmp_path / "out")
    shown = chromium(path, tmp_path / "profile", "--dump-dom")
    page = Page(shown.stdout)
    (root,) = page.all("html")
    assert root["attrs"]["class"] == "scripted"
    assert "CONSOLE" not in shown.stderr


def test_a_run_beside_itself_has_no_distance_to_draw():
    run = run_of(brownian(80, 40))
    page = Page(render_comparison(compare(run, run, labels=["one", "other"], **FEW)))
    (figure,) = page.all("figure", id="distance")
    assert "All runs lie at the same place at every step they share." in figure["text"]


@pytest.mark.filterwarnings("ignore:40 of 40 weights never change")
def test_runs_and_windows_in_which_nothing_moves_have_a_page():
    still = run_of(np.zeros((80, 40)))
    page = Page(render_comparison(compare(still, still, labels=["one", "other"], **FEW)))
    assert page.all("svg", role="img") == []
    assert page.all("h1")[0]["text"] == "2 runs side by side; no pair could be tested."
    (section,) = Page(render(analyze(still, windows=2, **FEW))).all("section", id="windows")
    assert "No weight moved." in section["text"]


def test_a_finished_result_and_folders_share_a_page():
    runs = [run_of(brownian(80, 40, seed=seed)) for seed in range(3)]
    found = compare(analyze(runs[0], **FEW), *runs[1:], labels=["a", "b", "c"], **FEW)
    page = Page(render_comparison(found))
    (figure,) = page.all("figure", id="distance")
    assert "b – c" in figure["text"]
    assert "a – b" not in figure["text"]
