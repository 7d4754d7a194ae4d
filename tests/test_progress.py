"""A bar where a notebook runs, and nowhere else."""

import sys
import types

import numpy as np
import pytest

import trajscope
from trajscope.progress import shown


@pytest.fixture
def notebook(monkeypatch):
    """What a kernel offers, and all that was displayed, in order."""
    told = []

    class Handle:
        def update(self, content):
            told.append(content)

    def display(content, display_id):
        assert display_id
        told.append(content)
        return Handle()

    ipython, shown_there = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    shown_there.HTML, shown_there.display = str, display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", shown_there)
    return told


def test_in_a_notebook_an_analysis_shows_a_bar_that_is_gone_at_the_end(notebook):
    walk = np.random.default_rng(0).standard_normal((40, 9)).cumsum(axis=0)
    trajscope.analyze(walk, n_surrogates=199)
    assert "<progress value=" in notebook[0] or notebook == [""]
    assert notebook[-1] == ""


def test_a_bar_changes_by_whole_percents(notebook):
    advance = shown(None, "one pass")
    for done in range(1001):
        advance(done, 1000)
    assert len(notebook) == 101
    assert notebook[50] == 'one pass <progress value="50" max="100"></progress> 50%'


def test_a_callers_own_function_comes_first(notebook):
    seen = []
    shown(lambda *told: seen.append(told), "one pass")(1, 2)
    assert (seen, notebook) == ([(1, 2)], [])


def test_a_shell_without_a_kernel_shows_nothing(notebook, capsys):
    sys.modules["IPython"].get_ipython = types.SimpleNamespace
    shown(None, "one pass")(1, 2)
    assert notebook == []
    assert capsys.readouterr() == ("", "")
