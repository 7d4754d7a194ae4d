"""Gradient noise on the screen, on the page and in summary.json."""

import json
import re

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from noise_results import noise, with_noise

from trajscope.report import open_results, summary, write_report
from trajscope.report.figures.gradient_noise import FIGURES, draw_spectra
from trajscope.report.files.completeness import mark_of
from trajscope.report.files.marks import marked_page
from trajscope.report.page.gradient_noise import diffusion_section
from trajscope.report.page.gradient_noise_alone import is_alone
from trajscope.report.page.render import render
from trajscope.report.screen.gradient_noise import diffusion_lines


def section(found):
    return str(diffusion_section(xr.DataTree.from_dict({"/diffusion": found})))


def cells(html, label):
    row = re.search(rf'<th scope="row">{re.escape(label)}</th>(.*?)</tr>', html, re.DOTALL)[1]
    return re.findall(r"<td[^>]*>(.*?)</td>", row)


def test_the_screen_has_a_column_for_each_checkpoint_in_80_columns():
    lines = diffusion_lines(noise(), width=80, unicode=True)
    assert all(len(line) <= 80 for line in lines)
    table = {line[:28].strip(): line[28:].split() for line in lines if line[28:].strip()}
    assert table["step"] == ["200", "400", "1,000"]
    assert table["largest eigenvalue"] == ["1.00", "1.10", "1.20"]
    assert table["directions for 90%"] == ["7", "8", "9"]
    assert table["rank / d, float32 ε"] == ["0.17%", "0.28%", "0.39%"]
    text = " ".join(" ".join(lines).split())
    assert "51 of 60,000 samples, network in eval mode" in text
    assert "the spectra differ by at most 4% of the trace" in text
    assert "the overlap of the 9 leading eigenvectors is at least 0.90 (1: identical " in text
    assert "The loss goes from 2.00 to 1.00, and falls: p = 0.0012" in text
    assert "1/beta = eta/(2b) = 0.000100" in text
    assert "Warning rank_eps32 says little." in text


def test_where_all_directions_lead_no_overlap_is_told():
    found = noise()
    found["eigenspace_overlap"].attrs["n_directions"] = found.attrs["n_weights"]
    text = " ".join(" ".join(diffusion_lines(found, width=80, unicode=True)).split())
    assert "the spectra differ by at most 4% of the trace." in text
    assert "overlap" not in text


def test_of_many_checkpoints_the_first_and_the_last_are_shown_and_the_rest_counted():
    steps = tuple(range(0, 2000, 100))
    lines = diffusion_lines(noise(steps=steps), width=80, unicode=True)
    shown = next(line for line in lines if line.startswith("step")).split()
    assert (shown[1], shown[-1], len(shown)) == ("0", "1,900", 5)
    assert any("16 more checkpoints in between" in line for line in lines)


def test_a_terminal_without_unicode_gets_ascii():
    lines = diffusion_lines(noise(), width=60, unicode=False)
    assert all(line.isascii() for line in lines)
    table = [line for line in lines if line.startswith(("step ", "|mean", "rank", "(eta/b)"))]
    assert {len(line) for line in table} == {28 + 2 * 12}
    assert "|mean gradient| / sqrt d " in " ".join(table)


def test_the_section_has_the_numbers_of_every_checkpoint_and_what_to_compare_them_with():
    html = section(noise())
    assert cells(html, "largest eigenvalue")[:3] == ["1.00", "1.10", "1.20"]
    assert cells(html, "participation ratio")[3] == "900 if D were isotropic"
    assert cells(html, "rank / d, float32 ε")[3] == "threshold 0.00011 λ_max"
    assert cells(html, "(η/b) mean eigenvalue")[:1] == ["0.000200"]
    assert "Eigenvalues of D: 9 of 900 directions hold 90% of the trace" in html
    assert "Gradient norm: 0.25 of its first value; trend p = 0.0012" in html
    assert html.count("<svg") == 2
    assert html.count("Compare with:") == 2
    for plot in FIGURES:
        assert f'id="{plot.name}"' in html


def test_a_result_without_words_for_its_numbers_is_shown_by_their_names():
    old = noise().drop_attrs()
    old.attrs = {name: value for name, value in noise().attrs.items() if name != "numbers"}
    html = section(old)
    assert cells(html, "lambda max") == ["1.00", "1.10", "1.20", ""]
    assert "noise scale" in html
    assert any(line.startswith("rank eps32 ") for line in diffusion_lines(old, unicode=True))


def test_words_of_a_stranger_for_a_number_are_escaped():
    hostile = noise()
    for name in ("label", "long_name", "compare_with"):
        hostile["trace"].attrs[name] = "<script>alert(1)</script>\x1b[31m"
    html = section(hostile)
    assert "<script>alert" not in html
    assert "\x1b" not in html
    assert not any("\x1b" in line for line in diffusion_lines(hostile, unicode=True))


def test_layers_come_with_their_share_of_the_trace_and_escaped_names():
    hostile = "<script>alert(1)</script>\x1b[31m"
    html = section(noise(sizes={"all": 900, "conv1": 100, hostile: 800}))
    assert "<script>alert" not in html
    assert "\x1b" not in html
    assert html.index("&lt;script&gt;") < html.index("conv1")  # more of the trace


@pytest.mark.parametrize(
    ("options", "absent"),
    [
        ({"with_curve": False}, "Gradient norm and loss: not drawn"),
        ({"with_rate": False, "steps": (5,)}, None),
        ({"mode": "train"}, None),
    ],
)
def test_what_was_not_measured_is_said_or_left_out(options, absent):
    html = section(noise(**options))
    if absent:
        assert absent in html
        assert "--every above 0" in html
    if "with_rate" in options:
        assert "mean eigenvalue</th>" in html
        assert "(η/b)" not in html
        assert "Between two" not in html
    if "mode" in options:
        assert "51 batches of 32 out of 60,000 samples, network in train mode" in html


def test_eigenvalues_that_are_no_numbers_are_not_drawn():
    found = noise()
    found["eigenvalue"][:] = np.nan
    found["group_eigenvalue"][:] = np.nan
    html = section(found)
    assert "Eigenvalues of D: not drawn" in html
    found = noise()
    found["eigenvalue"][1] = np.nan
    assert "Eigenvalues of D: 9 of 900" in section(found)


def test_without_it_the_section_says_how_to_get_it(results):
    assert "give them with --problem" in render(results)
    assert summary(results)["diffusion"] is None


def test_the_page_holds_the_section_and_stays_the_same_from_the_store(results, tmp_path):
    page = write_report(with_noise(results, noise()), tmp_path)
    text = page.read_text()
    assert 'id="noise-spectrum"' in text
    again = open_results(tmp_path / "results.zarr")
    assert marked_page(render(again.load()), mark_of(tmp_path / "results.zarr")) == text


def test_the_summary_has_every_number_as_json(results):
    told = summary(with_noise(results, noise()))["diffusion"]
    json.dumps(told, allow_nan=False)
    assert told["steps"] == [200, 400, 1000]
    assert [each["lambda_max"] for each in told["checkpoints"]] == [1, 1.1, 1.2]
    assert told["groups"]["fc1"]["n_weights"] == 800
    assert len(told["groups"]["fc1"]["checkpoints"]) == 3
    assert told["trends"]["loss"]["p_value"] == 0.0012
    assert told["temperature"] == 1e-4
    assert told["eigenspace_overlap"][0] == [1, 0.9, 0.9]
    assert (told["mode"], told["n_samples"], told["n_data"]) == ("eval", 51, 60_000)


def test_a_result_of_gradient_noise_alone_is_a_page_of_its_own(results, tmp_path):
    empty = xr.Dataset(attrs={"reason": "Only gradient noise."})
    parts = {node.path: node.to_dataset(inherit=False) for node in results.subtree}
    parts |= {f"/{name}": empty for name in ("reductions", "observables", "tests", "verdict")}
    alone = xr.DataTree.from_dict(parts | {"/diffusion": noise()})
    assert is_alone(alone)
    text = write_report(alone, tmp_path).read_text()
    assert "<h1>Gradient noise</h1>" in text
    assert "http" not in re.sub(r"http-equiv|http://www.w3.org", "", text)
    assert summary(alone)["observables"]["path_length"] is None


def with_budget(found, **changes):
    """The result with a noise budget of batches with and without replacement."""
    data = {
        "budget_ratio": ("sampling", [1.04, np.nan]),
        "budget_ratio_low": ("sampling", [0.97, np.nan]),
        "budget_ratio_high": ("sampling", [1.12, np.nan]),
        "budget_predicted_trace": ("sampling", [2e-5, 1e-5]),
        "budget_measured_trace": 2.08e-5,
        "budget_drift": 0.25,
        "budget_angle": ("direction", [3.2, 8.0, 30.0]),
        "budget_angle_expected": ("direction", [2.9, 7.0, 20.0]),
        "budget_cosine": 0.93,
        "budget_cosine_expected": 0.96,
    }
    attributes = {
        "budget_mode": "train", "budget_updates": 10, "budget_momentum": 0.9,
        "budget_steps": [10, 20, 30, 40, 50], "budget_guard": ["shuffled", "sampling_unknown"],
        "budget_words": ["No noise budget for batches without replacement: why.", "Two of them."],
    }  # fmt: skip
    result = found.assign(data | changes).assign_coords(sampling=["with", "without"])
    return result.assign_attrs(attributes)


def test_the_budget_is_told_on_the_screen_and_the_page_in_the_same_words():
    found = with_budget(noise())
    lines = diffusion_lines(found, width=80, unicode=True)
    assert all(len(line) <= 80 for line in lines)
    html = section(found)
    screen = " ".join(" ".join(lines).split())
    page = " ".join(re.sub(r"<[^>]+>", " ", html).split())
    for words in (
        "Measured / predicted increment variance over 10 updates: 1.04 (95% CI 0.970 to 1.12). "
        "Prediction: gradient noise in train mode, sampling with replacement.",
        "The drift, 25% of the mean squared increment, is subtracted.",
        "cosine 0.93 (expected if equal, for this many increments: 0.96); angles between their "
        "leading directions: 3, 8, 30 degrees (expected: 3, 7, 20).",
        "No noise budget for batches without replacement: why.",
    ):
        assert words in screen
        assert words.replace("'", "&#39;") in page
    assert "batches without replacement: 1 if" not in screen
    caption = re.search(r"<figcaption>(Trace of .*?)</figcaption>", html)[1]
    assert "at 5 checkpoints" in caption
    assert "<b>Compare with:</b> 1, where the movement is the noise" in caption
    row = re.search(r"with replacement</th>(.*?)</tr>", html)[1]
    assert re.findall(r"<td>(.*?)</td>", row)[:2] == ["1.04", "0.970 to 1.12"]
    row = re.search(r"without replacement</th>(.*?)</tr>", html)[1]
    assert re.findall(r"<td>(.*?)</td>", row)[:2] == ["unknown", "unknown"]


def test_where_settings_are_missing_one_line_says_which():
    words = "No noise budget: ... Give --lr and --batch-size."
    found = noise().assign_attrs(budget_guard=["settings_missing"], budget_words=[words])
    assert words in section(found)
    assert "noise-budget-table" not in section(found)
    assert any(words in line for line in diffusion_lines(found, width=80, unicode=True))


def test_the_summary_holds_the_budget_by_way_of_sampling(results):
    told = summary(with_noise(results, with_budget(noise())))["diffusion"]
    json.dumps(told, allow_nan=False)
    budget = told["budget"]
    assert budget["ratio"] == {"with": 1.04, "without": None}
    assert budget["predicted_trace"] == {"with": 2e-5, "without": 1e-5}
    assert budget["measured_trace"] == 2.08e-5
    assert budget["angle"] == [3.2, 8.0, 30.0]
    assert budget["guard"] == ["shuffled", "sampling_unknown"]
    assert (budget["mode"], budget["updates"]) == ("train", 10)
    assert "budget_ratio" not in told
    assert summary(with_noise(results, noise()))["diffusion"]["budget"] == {}


def test_a_result_with_a_budget_is_the_same_from_the_store(results, tmp_path):
    text = write_report(with_noise(results, with_budget(noise())), tmp_path).read_text()
    again = open_results(tmp_path / "results.zarr")
    assert marked_page(render(again.load()), mark_of(tmp_path / "results.zarr")) == text


def test_a_sketch_is_never_taken_for_an_exact_result():
    errors = {"trace": 0.005, "lambda_max": -0.03}
    found = noise().assign_attrs(sketch=512)
    found = found.assign(
        {f"sketch_{name}_error": ("step", [each, 0.0, 0.0]) for name, each in errors.items()}
    )
    words = (
        "Approximate: gradients projected onto 512 random directions. Measured error: 0.5% in the "
        "trace, 3.0% in the largest eigenvalue."
    )
    lines = " ".join(" ".join(diffusion_lines(found, width=80, unicode=True)).split())
    assert words in lines
    assert words in section(found)
    assert "Approximate" not in section(noise())


def test_the_mean_level_is_on_the_axis_where_it_lies_below_all_eigenvalues():
    found, figure = noise(), Figure()
    found["eigenvalue_mean"][:] = float(found["eigenvalue"].min()) / 1000
    draw_spectra(figure, found)
    low, high = figure.axes[0].get_ylim()
    assert low < float(found["eigenvalue_mean"][-1]) < high
