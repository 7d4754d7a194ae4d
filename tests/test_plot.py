"""Every figure of the page in matplotlib, from its record."""

import doctest
import re

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt

import trajscope
from tests.report.noise_results import noise, with_noise
from trajscope.report.content.curves import curves
from trajscope.report.figures.catalogue import FIGURES
from trajscope.report.figures.gradient_noise import FIGURES as NOISE_FIGURES

RECORDS = [*FIGURES, *NOISE_FIGURES]
NAMES = [record.name.replace("-", "_") for record in RECORDS]


@pytest.fixture(scope="module", autouse=True)
def quiet_backend():
    with mpl.rc_context({"backend": "agg"}):
        yield
    plt.close("all")


@pytest.fixture(scope="module")
def results():
    run = trajscope.simulate.rotating_ornstein_uhlenbeck(
        128, rate=0.15, angular_velocity=0.45, seed=1
    )
    return with_noise(trajscope.analyze(run, n_surrogates=199), noise())


def test_every_figure_of_the_page_has_a_function():
    assert trajscope.plot.__all__ == NAMES
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_goes_onto_given_axes_and_nowhere_else(results, name):
    figure, (mine, other) = plt.subplots(1, 2)
    given = getattr(trajscope.plot, name)(results, ax=mine)
    assert given is mine
    assert figure.axes == [mine, other]
    panels = mine.child_axes or [mine]
    assert all(panel.has_data() or panel.texts for panel in panels)
    assert not other.has_data()
    assert plt.get_fignums() == [figure.number]
    plt.close(figure)


@pytest.mark.parametrize("name", NAMES)
def test_without_axes_a_figure_is_made_and_drawn_without_a_warning(results, name):
    ax = getattr(trajscope.plot, name)(results)
    ax.figure.canvas.draw()
    record = RECORDS[NAMES.index(name)]
    seen = results["diffusion"].to_dataset() if record in NOISE_FIGURES else curves(results)
    assert ax.figure.get_suptitle() == record.title(seen)
    plt.close(ax.figure)


def test_the_line_drawn_is_the_observable(results):
    ax = trajscope.plot.displacement(results)
    drawn = max(ax.lines, key=lambda line: line.get_linewidth()).get_ydata()
    np.testing.assert_array_equal(drawn, results["observables"]["displacement"].sel(group="all"))
    plt.close(ax.figure)


def test_the_settings_of_matplotlib_are_left_as_they_were(results):
    before = dict(mpl.rcParams)
    plt.close(trajscope.plot.turns(results).figure)
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("name", NAMES)
def test_a_docstring_says_what_is_drawn_and_shows_an_example(name):
    function, record = getattr(trajscope.plot, name), RECORDS[NAMES.index(name)]
    assert function.__name__ == name
    assert record.caption in function.__doc__
    (example,) = doctest.DocTestFinder(recurse=False).find(function, name)
    assert any(f"trajscope.plot.{name}(results)" in each.source for each in example.examples)


def test_what_cannot_be_drawn_is_refused_with_the_remedy(results):
    bare = trajscope.analyze(results["trajectory"].to_dataset().step.values[:, None] * np.ones(5))
    with pytest.raises(trajscope.ResultsError, match=r"Eigenvalues of D cannot be drawn: .* To"):
        trajscope.plot.noise_spectrum(bare)
    with pytest.raises(trajscope.ResultsError, match=r"cannot be drawn: .* To see it: "):
        trajscope.plot.circulation(bare)


def test_a_comparison_is_drawn_run_by_run(results):
    one, other = np.random.default_rng(0).standard_normal((2, 64, 20)).cumsum(axis=1)
    compared = trajscope.compare(one, other, n_surrogates=199)
    with pytest.raises(trajscope.ResultsError, match=r"results\['cases/1'\]") as refused:
        trajscope.plot.turns(compared)
    (remedy,) = re.findall(r"\['(.*)'\]", str(refused.value))
    plt.close(trajscope.plot.turns(compared[remedy]).figure)


def test_an_unknown_figure_is_told_with_the_known_ones():
    with pytest.raises(AttributeError, match="no figure 'nothing': it has norm, "):
        trajscope.plot.nothing  # noqa: B018
