"""Names of layers in little room: never two alike."""

import html
import re

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from judged_results import judge
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath
from simulated_results import brownian

import trajscope
from trajscope.report.content.curves import curves
from trajscope.report.content.layers import layers
from trajscope.report.content.names import told_apart
from trajscope.report.content.verdict import layers_in_words
from trajscope.report.figures.catalogue import FIGURES, svg

LONG = [
    f"model.language_model.encoder.layers.{block}.attention.{which}_projection_of_the_whole_network"
    for block in range(6)
    for which in ("query", "value")
]


@given(
    st.lists(st.text(st.characters(codec="utf-8"), max_size=60), unique=True), st.integers(9, 30)
)
def test_no_two_names_become_the_same_text(names, limit):
    found = told_apart(names, limit)
    assert len(found) == len(names)
    # Control characters are shown as text that another name may hold as it is.
    assert len(set(found)) == len(found)


def test_short_names_stay_as_they_are():
    assert told_apart(["conv1", "fc2"], 15) == ["conv1", "fc2"]


def test_long_names_keep_what_tells_them_apart():
    found = told_apart(LONG, 24)
    assert found[0] != found[2]
    assert ["0." in found[0], "1." in found[2], "5." in found[-1]] == [True] * 3


@pytest.fixture(scope="module")
def long_names():
    x = brownian(64, len(LONG) * 4)
    trajectory = judge(brownian(64, 100))["trajectory"].to_dataset().isel(tensor=[0] * len(LONG))
    trajectory = trajectory.assign_coords(
        tensor=[f"{name}.weight" for name in LONG],
        group=("tensor", LONG),
        row_size=("tensor", np.full(len(LONG), 4)),
        shape=("tensor", ["[4]"] * len(LONG)),
    )
    trajectory["weights"] = (("step", "weight"), x)
    return trajscope.analyze(trajectory, n_surrogates=199)


def test_every_place_of_a_report_tells_long_names_apart(long_names):
    names = [row.name for row in layers(long_names).all]
    assert len(set(names)) == len(LONG)
    assert "…" not in layers_in_words(long_names) or len(set(told_apart(LONG, 24))) == len(LONG)
    exponents = next(plot for plot in FIGURES if plot.name == "exponents")
    drawn = svg(exponents, curves(long_names))
    for block in range(6):
        assert f">{block}.query_pro" in drawn
        assert f">{block}.value_pro" in drawn


def test_parts_that_all_names_have_are_left_out_before_anything_is_cut():
    names = [f"model.layers.{block}.self_attn.{which}_proj" for block in (9, 15) for which in "qk"]
    assert told_apart(names, 15) == ["9.q_proj", "9.k_proj", "15.q_proj", "15.k_proj"]


@pytest.mark.parametrize("name", ["ж" * 80, "W" * 300, "a.b"])
@pytest.mark.parametrize("figure_name", ["updates", "exponents"])
def test_no_word_leaves_its_figure(long_names, name, figure_name):
    groups = ["all", name, *LONG[1:]]
    renamed = xr.DataTree.from_dict({
        path: node.to_dataset().assign_coords(group=groups) if "group" in node.dims and
        path != "/trajectory" else node.to_dataset()
        for path, node in long_names.to_dict().items() for node in [xr.DataTree(node)]
    })  # fmt: skip
    plot = next(plot for plot in FIGURES if plot.name == figure_name)
    drawn = svg(plot, curves(renamed))
    width = float(re.search(r'viewBox="0 0 (\d+) ', drawn)[1])
    measure, edges = TextToPath(), []
    for x, style, text in re.findall(
        r'<text x="([-\d.]+)" y="[^"]*" style="([^"]*)">([^<]*)<', drawn
    ):
        size = float(re.search(r"font-size: ([\d.]+)px", style)[1])
        font = FontProperties(family="DejaVu Sans", size=size)
        wide = measure.get_text_width_height_descent(html.unescape(text), font, False)[0]
        before = {"start": 0, "middle": wide / 2, "end": wide}
        left = float(x) - before[re.search(r"text-anchor: (\w+)", style)[1]]
        edges += [left, left + wide]
    assert min(edges) > -0.5
    assert max(edges) < width + 0.5
