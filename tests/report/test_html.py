import base64
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr
from judged_results import judge, with_verdict
from simulated_results import brownian, make_results

import trajscope
from trajscope.errors import ResultsError
from trajscope.report import open_results, write_report
from trajscope.report.figures.catalogue import FIGURES
from trajscope.report.page.render import render

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "\x1b[31mred",
    "\u202etxt.exe",
    "$x$",
    "[red]",
    "{{7*7}}",
    "' onload='alert(3)",
    '" onload="alert(4)',
    "line\nbreak",
    "half\udcff",
)
SECTIONS = [
    "verdict",
    "read",
    "evidence",
    "layers",
    "norms",
    "spectra",
    "noise",
    "theory",
    "methods",
]
ABSENT = {"variance-ratio", "circulation", "standings", "exponents", "training-log"}
MEASURED = [plot.name for plot in FIGURES if plot.name not in ABSENT]
VOID = {"wbr", "meta", "link", "img", "br", "hr", "input", "path", "circle", "use", "rect", "line"}


class Page(HTMLParser):
    """A page taken apart: every element in order, with its attributes and its text."""

    def __init__(self, source):
        super().__init__()
        self.elements = []
        self.open = []
        self.mistakes = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        element = {
            "tag": tag,
            "attrs": dict(attrs),
            "text": "",
            "in": [e["tag"] for e in self.open],
        }
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open[-1]["tag"] != tag:
            self.mistakes.append(tag)
        else:
            self.open.pop()

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, tag, **attrs):
        wanted = {name.rstrip("_"): value for name, value in attrs.items()}
        return [
            e for e in self.elements if e["tag"] == tag and wanted.items() <= e["attrs"].items()
        ]


@pytest.fixture(scope="module")
def page(results):
    return Page(render(results))


def hostile_results():
    tensors = {f"{i}{name}.{name}": 100 // len(HOSTILE) for i, name in enumerate(HOSTILE)}
    tensors["rest"] = 100 - sum(tensors.values())
    results = make_results(brownian(20, 100), tensors=tensors)
    told = results["trajectory"].attrs
    everything = "".join(HOSTILE)
    told |= {"source": everything, "run": everything, "step_source": everything}
    told |= {"format": everything, "warnings": list(HOSTILE)}
    told["left_out"] = [{"name": name, "reason": name} for name in HOSTILE]
    told["skipped"] = [{"path": name, "reason": everything} for name in HOSTILE]
    stored = results["trajectory"]["tensor"].size * [everything]
    results["trajectory"].coords["stored_dtype"] = ("tensor", stored)
    results = with_verdict(
        results,
        everything,
        sentence=f"{everything}. {everything}",
        unseen=[everything],
        proposal=everything,
        evidence={everything: 0.5, "brownian": 0.5},
        gates=[{"test": everything, "question": everything, "answer": everything}],
    )
    results["tests"].attrs["method"] = everything
    for name in ("test", "test_label", "null_label"):
        results["tests"].coords[name] = ("test", [everything] * results["tests"].sizes["test"])
    results["diffusion"].attrs["reason"] = everything
    results.attrs |= {"command": everything, "fingerprint": everything, "seed": everything}
    results.attrs |= {"versions": {everything: everything}, "config": {everything: everything}}
    results.attrs |= {"trajscope": everything, "timings": {everything: 1.0}, "path": everything}
    return results


def test_the_page_is_well_formed(page):
    assert page.mistakes == []
    assert page.open == []


def test_there_is_one_h1_and_it_is_the_headline(page):
    (heading,) = page.all("h1")
    assert heading["text"].startswith("300 checkpoints: path length ")


def test_the_sections_stand_in_the_order_of_the_design(page):
    assert [e["attrs"]["id"] for e in page.all("section")] == SECTIONS


def test_what_could_not_be_shown_stands_in_the_block_of_the_verdict_unfolded(page):
    (heading,) = [e for e in page.all("h2") if "Not detectable" in e["text"]]
    assert "section" in heading["in"]
    assert "details" not in heading["in"]
    order = [
        e["attrs"].get("id") or e["text"] for e in page.elements if e["tag"] in {"section", "h2"}
    ]
    assert order.index("Not detectable in this window") < order.index("read")


def test_every_figure_has_a_heading_and_is_drawn_or_says_why_not(page):
    figures = [e for e in page.all("figure") if e["attrs"]["id"] != "known"]
    names = [e["attrs"]["id"] for e in figures]
    assert sorted(names) == sorted(plot.name for plot in FIGURES)
    assert set(names[-len(ABSENT) :]) == ABSENT
    drawings = [e for e in page.all("svg") if e["attrs"].get("role") == "img"]
    assert len(drawings) == len(MEASURED) + 1
    absent = page.all("div", class_="absent")
    assert len(absent) == len(ABSENT)
    assert all("To see it:" in e["text"] for e in absent)


def test_every_drawing_is_named_by_its_title(page):
    titles = {e["attrs"]["id"]: e["text"] for e in page.all("title") if "id" in e["attrs"]}
    for drawing in page.all("svg", role="img"):
        assert titles[drawing["attrs"]["aria-labelledby"]]
    assert any("grows as lag to the power" in text for text in titles.values())


def test_other_drawings_are_hidden_from_those_who_cannot_see_them(page):
    silent = [e for e in page.all("svg") if e["attrs"].get("role") != "img"]
    assert all(e["attrs"].get("aria-hidden") == "true" for e in silent)


def test_every_caption_says_what_to_compare_with(page):
    captions = page.all("figcaption")
    assert len(captions) == len(MEASURED) + 1
    assert all("Compare with:" in e["text"] for e in captions)


def test_ids_are_unique_and_every_reference_finds_its_own(page):
    ids = [e["attrs"]["id"] for e in page.elements if "id" in e["attrs"]]
    assert len(ids) == len(set(ids))
    source = " ".join(" ".join(filter(None, e["attrs"].values())) for e in page.elements)
    used = set(re.findall(r"url\(#([^)]+)\)", source))
    used |= {e["attrs"]["href"][1:] for e in page.elements if e["attrs"].get("href", "")[:1] == "#"}
    used |= {e["attrs"]["data-copy"] for e in page.elements if "data-copy" in e["attrs"]}
    assert used <= set(ids)


def test_the_script_is_allowed_by_its_own_hash_and_no_other(page):
    (policy,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    rules = dict(rule.split(" ", 1) for rule in policy["attrs"]["content"].split("; "))
    assert rules["default-src"] == "'none'"
    (script,) = [e for e in page.all("script") if "type" not in e["attrs"]]
    digest = base64.b64encode(hashlib.sha256(script["text"].encode()).digest()).decode()
    assert rules["script-src"] == f"'sha256-{digest}'"


def test_nothing_is_fetched(page, results):
    source = render(results)
    targets = [
        value
        for element in page.elements
        for name, value in element["attrs"].items()
        if name in {"src", "srcset", "href", "xlink:href", "action", "poster", "data"}
    ]
    assert all(target.startswith("#") or target == "data:," for target in targets)
    assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org)", source)


def test_hostile_names_are_shown_and_never_obeyed():
    source = render(hostile_results())
    page = Page(source)
    assert page.mistakes == []
    assert len(page.all("script")) == 2
    assert page.all("img") == []
    handlers = [e for e in page.elements if any(name.startswith("on") for name in e["attrs"])]
    assert handlers == []
    for forbidden in ("\x1b", "\u202e", "\udcff"):
        assert forbidden not in source
    text = "".join(e["text"] for e in page.all("body"))
    for shown in (
        "{{7*7}}",
        "[red]",
        "$x$",
        "\\u001b[31mred",
        "\\u202etxt.exe",
        "line\\u000abreak",
    ):
        assert shown in text
    source.encode("utf-8")


def test_the_same_result_gives_the_same_bytes(results):
    assert render(results) == render(results.copy(deep=True))


def test_drawings_name_colours_by_role_so_that_one_serves_light_and_dark(page, results):
    drawings = re.findall(r"<svg viewBox[^>]*class=\"drawing\".*?</svg>", render(results), re.S)
    assert len(drawings) == len(MEASURED) + 1
    for drawing in drawings:
        assert set(re.findall(r"#[0-9a-fA-F]{6}\b", drawing)) <= {"#ffffff", "#000000"}
        assert "var(--observed)" in drawing
        assert "font-family" not in drawing
        assert "DejaVu" not in drawing


def test_both_themes_declare_every_colour_that_is_used(results):
    source = render(results)
    used = set(re.findall(r"var\((--[\w-]+)\)", source))
    for theme in re.findall(r":root[^{]*\{(color-scheme[^}]*)\}", source):
        assert used <= set(re.findall(r"(--[\w-]+):", theme))


def test_only_a_null_may_be_filled_and_no_band_is_invented(results):
    assert "var(--band)" not in re.sub(r"<style>.*?</style>", "", render(results), flags=re.S)


def test_the_embedded_curves_are_the_measured_ones(page, results):
    (element,) = page.all("script", type="application/json")
    tables = json.loads(element["text"])
    assert set(tables) == set(MEASURED)
    found = tables["displacement-growth"]["mean_squared_displacement"]
    expected = results["observables"]["mean_squared_displacement"][0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_array_equal(tables["displacement-growth"]["lag_checkpoints"], range(300))
    for columns in tables.values():
        assert len({len(column) for column in columns.values()}) == 1


@pytest.mark.slow
def test_a_long_run_with_many_layers_stays_under_two_megabytes():
    tensors = {f"model.layers.{i}.self_attention.query_projection.{i}": 2 for i in range(300)}
    source = render(make_results(brownian(1000, 600), tensors=tensors))
    assert len(source.encode()) < 2_000_000
    page = Page(source)
    assert "The 20 groups with the most weights are shown; 280 more are below." in source
    layers, norms, river = 20 + 300 + 2, 21 + 301 + 2, 1 + 3
    assert len(page.all("tr")) == layers + norms + river
    assert "lie in 400 bins" in source
    assert "One checkpoint in 3 is drawn." in source


@pytest.mark.parametrize("n_steps", [2, 3, 4, 7, 8, 20])
def test_a_short_run_keeps_the_place_of_every_figure(n_steps):
    page = Page(render(make_results(brownian(n_steps, 100))))
    figures = [e["attrs"]["id"] for e in page.all("figure") if e["attrs"]["id"] != "known"]
    assert sorted(figures) == sorted(plot.name for plot in FIGURES)


def test_a_curve_too_short_to_have_a_shape_says_how_many_checkpoints_it_takes():
    source = render(make_results(brownian(5, 100)))
    assert "5 checkpoints were read; this curve has no shape with fewer than 8." in source


def test_a_run_in_which_nothing_moves_is_reported_without_curves():
    page = Page(render(make_results(np.ones((20, 100)))))
    assert len(page.all("svg", role="img")) == 1  # the processes with known answers
    assert "No weight moved, so there is no curve." in page.all("figure")[0]["text"]


def test_a_curve_that_is_zero_throughout_is_not_drawn():
    line = make_results(np.arange(20.0)[:, None] * np.ones(100))
    text = Page(render(line)).all("figure", id="periodogram")[0]["text"]
    assert "Every value of it is zero or unknown in this run." in text


def test_a_curve_that_the_result_does_not_hold_is_named(results):
    bare = results.copy()
    bare["observables"] = bare["observables"].to_dataset().drop_vars("increment_fft_sd")
    assert "This result does not hold increment_fft_sd." in render(bare)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_a_run_of_any_scale_and_spacing_can_be_drawn(scale):
    steps = np.cumsum(np.arange(1, 61))
    source = render(make_results(scale * brownian(60, 100), steps=steps))
    assert source.count('role="img"') == len(MEASURED) + 1
    assert "unevenly spaced by 2 to 60" in source


def test_one_group_says_how_to_get_layers():
    results = make_results(brownian(20, 100))
    results["observables"] = results["observables"].to_dataset().isel(group=[0])
    assert "All weights were measured as one group." in render(results)


def test_titles_are_at_most_ninety_characters_and_hold_a_number(results, confined, circulating):
    for case in (results, confined, circulating):
        found = Page(render(case))
        for title in (e["text"] for e in found.all("title") if "id" in e["attrs"]):
            if not title.startswith("Mean squared displacement of a random walk, a confined"):
                assert len(title) <= 90
                assert re.search(r": .*\d", title)


def test_the_words_claim_no_more_than_was_measured(results, confined, circulating):
    for case in (results, confined, circulating):
        text = "".join(e["text"] for e in Page(render(case)).all("main"))
        assert not re.search(r"(?i)\bproves?\b|\bis brownian\b|\bsignifican|\bfails\b", text)


def test_a_thing_that_is_no_result_is_refused():
    with pytest.raises(ResultsError, match="the parts trajectory"):
        render(xr.DataTree())


def test_write_report_leaves_a_page_a_summary_and_a_store(results, tmp_path):
    path = write_report(results, tmp_path / "out")
    assert path == tmp_path / "out" / "report.html"
    assert sorted(entry.name for entry in path.parent.iterdir()) == [
        "report.html", "results.zarr", "summary.json",
    ]  # fmt: skip
    assert open_results(tmp_path / "out" / "results.zarr").identical(results)


def test_a_report_made_again_from_the_store_is_the_same_and_so_is_the_store(results, tmp_path):
    before = write_report(results, tmp_path).read_bytes()
    store = tmp_path / "results.zarr"
    kept = open_results(store).load()
    assert write_report(open_results(store), tmp_path).read_bytes() == before
    assert open_results(store).identical(kept)


def test_what_was_changed_in_an_opened_result_reaches_its_store(results, tmp_path):
    write_report(results, tmp_path)
    opened = open_results(tmp_path / "results.zarr")
    opened["diffusion"] = xr.DataTree(xr.Dataset(attrs={"reason": "changed"}))
    write_report(opened, tmp_path)
    assert open_results(tmp_path / "results.zarr")["diffusion"].attrs["reason"] == "changed"


def chromium(page, profile, *flags):
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("chromium is not installed")
    return subprocess.run(
        [
            found, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", f"--user-data-dir={profile}", "--hide-scrollbars",
            "--enable-logging=stderr", *flags, page.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip


def test_a_single_layer_keeps_its_name():
    text = render(judge(brownian(64, 10), tensors={"x": 10}))
    assert re.search(r"<p>x: \w+\.</p>", text)
    assert "In words, one group" in text


def test_a_browser_opens_the_page_runs_its_script_and_obeys_no_name(tmp_path):
    path = write_report(hostile_results(), tmp_path / "out")
    shown = chromium(path, tmp_path / "profile", "--dump-dom")
    page = Page(shown.stdout)
    (root,) = page.all("html")
    assert root["attrs"]["class"] == "scripted"  # set by the script that the policy allows
    assert page.all("img") == []
    assert len(page.all("script")) == 2
    assert "CONSOLE" not in shown.stderr


def test_every_figure_has_its_numbers_as_text(results):
    page = render(judge(brownian(64, 100)))
    drawn = re.findall(r"<svg [^>]*role=.img.*?</svg>", page, re.DOTALL)
    assert len(drawn) > 10
    for figure in drawn:
        (title,) = re.findall(r"<title[^>]*>(.*?)</title>", figure)
        told = " ".join([title, *re.findall(r"<desc[^>]*>(.*?)</desc>", figure)])
        assert re.search(r"\d", told), title
    (turns,) = (each for each in drawn if 'id="turns-title"' in each)
    (told,) = re.findall(r'aria-describedby="turns-numbers".*?<desc[^>]*>(.*?)</desc>', turns)
    assert re.match(r"step: 62 values, first 1,?100, last 7,?200, least .* largest [\d.]+\.$", told)


# The layer table reaches beyond its box, or anything beyond the window: told in the page's title.
MEASURE = """<script>
const boxes = [...document.querySelectorAll(".scroll")];
const wide = boxes.filter(e => e.scrollWidth > e.clientWidth + 1);
const out = [...document.querySelectorAll("body *")].filter(e =>
  e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".scroll,.wide,svg"));
document.title = "beyond " + wide.length + " " + out.length;
</script></body>"""


@pytest.mark.parametrize(("width", "tables"), [(390, None), (800, None), (1200, 0), (1400, 0)])
def test_nothing_reaches_beyond_the_page_and_the_layer_table_fits_a_desk(width, tables, tmp_path):
    path = write_report(judge(brownian(64, 100)), tmp_path / "out")
    text = path.read_text(encoding="utf-8")
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    path.write_text(bare.replace("</body>", MEASURE), encoding="utf-8")
    shown = chromium(path, tmp_path / "profile", f"--window-size={width},900", "--dump-dom")
    (beyond,) = re.findall(r"<title>beyond (\d+) (\d+)</title>", shown.stdout)
    assert int(beyond[1]) == 0
    if tables is not None:
        assert int(beyond[0]) == tables


def test_a_browser_draws_the_page(results, tmp_path):
    from PIL import Image

    path = write_report(results, tmp_path / "out")
    picture = tmp_path / "page.png"
    chromium(path, tmp_path / "profile", "--window-size=1200,900", f"--screenshot={picture}")
    with Image.open(picture) as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 24)}
    assert image.size == (1200, 900)
    assert {(0x00, 0x67, 0xA6), (0xFD, 0xFD, 0xFB), (0x1B, 0x1D, 0x21)} <= colours


def test_a_run_of_equal_increments_has_a_page(tmp_path):
    line = np.arange(40.0, dtype="f4")[:, None] * np.array([1.0, 2.0], "f4")
    page = write_report(trajscope.analyze(line, n_surrogates=199), tmp_path)
    assert "undefined, since all increments are equal" in page.read_text(encoding="utf-8")
