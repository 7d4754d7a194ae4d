"""Every figure of the page in matplotlib, from its record."""

import doctest
import re

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt

import trajscope
from tests.report.noise_results import noise, with_noise
from trajscope.report.content.curves import curves
from trajscope.report.figures.catalogue import FIGURES
from trajscope.report.figures.parts import PARTS
from trajscope.report.figures.record import PartPlot

RECORDS = [*FIGURES, *PARTS]
NAMES = [record.name.replace("-", "_") for record in RECORDS]


@pytest.fixture(scope="module", autouse=True)
def quiet_backend():
    with mpl.rc_context({"backend": "agg"}):
        yield
    plt.close("all")


@pytest.fixture(scope="module")
def results():
    """A result that holds every part that a run can have."""
    run = trajscope.simulate.rotating_ornstein_uhlenbeck(
        128, rate=0.15, angular_velocity=0.45, seed=1
    ).assign_coords(learning_rate=0.1)
    found = with_noise(trajscope.analyze(run, n_surrogates=199, windows=2), noise())
    phase = {"checkpoints": 64, "code": "brownian", "opens_with": None}
    found["verdict"].attrs["phases"] = [
        phase | {"first_step": 0, "last_step": 64}, phase | {"first_step": 64, "last_step": 127}
    ]  # fmt: skip
    found["spectra"] = xr.DataTree(spectra())
    found["dynamics"] = xr.DataTree(ratios())
    return found


def spectra():
    values = np.array([[3.0, 1.0, 0.5], [4.0, 1.0, 0.2]])
    per_step = {
        "singular_value": (("step", "matrix", "rank"), values[:, np.newaxis]),
        "spectral_norm": (("step", "matrix"), values[:, :1]),
        "random_edge": (("step", "matrix"), np.full((2, 1), 2.0)),
        "n_above_edge": (("step", "matrix"), np.ones((2, 1))),
        "rows": ("matrix", [3]),
        "columns": ("matrix", [4]),
    }
    return xr.Dataset(per_step, {"step": [0, 127], "matrix": ["fc.weight"]})


def ratios():
    names = {"variance_ratio": 1.0, "variance_ratio_low": 0.5, "variance_ratio_high": 2.0}
    columns = {name: ("direction", np.full(3, value)) for name, value in names.items()}
    eigenvalues = ("direction", np.array([9.0, 3.0, 1.0]))
    return xr.Dataset(columns | {"hessian_eigenvalue": eigenvalues, "volume_ratio": ((), 1.0)})


@pytest.fixture(scope="module")
def compared():
    one, other = np.random.default_rng(0).standard_normal((2, 64, 20)).cumsum(axis=1)
    return trajscope.compare(one, other, n_surrogates=199)


OF_COMPARISONS = {"joint_components", "distance"}


def test_every_figure_of_the_page_has_a_function():
    assert trajscope.plot.__all__ == NAMES
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_goes_onto_given_axes_and_nowhere_else(results, compared, name):
    results = compared if name in OF_COMPARISONS else results
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
def test_without_axes_a_figure_is_made_and_drawn_without_a_warning(results, compared, name):
    results = compared if name in OF_COMPARISONS else results
    ax = getattr(trajscope.plot, name)(results)
    ax.figure.canvas.draw()
    record = RECORDS[NAMES.index(name)]
    seen = record.part(results) if isinstance(record, PartPlot) else curves(results)
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


def test_curves_of_a_comparison_are_drawn_over_one_another(compared):
    ax = trajscope.plot.displacement_growth(compared)
    assert ax.figure.get_suptitle().startswith("Mean squared displacement: grows as lag")
    drawn = [line.get_ydata()[0] for line in ax.child_axes[0].lines if len(line.get_xdata()) == 63]
    assert drawn[0] == pytest.approx(1.0)
    assert len(drawn) == 2
    plt.close(ax.figure)


def test_other_figures_of_a_comparison_are_drawn_run_by_run(compared):
    with pytest.raises(trajscope.ResultsError, match=r"results\['cases/1'\]") as refused:
        trajscope.plot.norm(compared)
    (remedy,) = re.findall(r"\['(.*)'\]", str(refused.value))
    plt.close(trajscope.plot.norm(compared[remedy]).figure)


def test_an_unknown_figure_is_told_with_the_known_ones():
    with pytest.raises(AttributeError, match="no figure 'nothing': it has updates, "):
        trajscope.plot.nothing  # noqa: B018
