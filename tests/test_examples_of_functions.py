"""Every public function shows a runnable example, and it is run."""

import doctest
import inspect

import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt

import trajscope
from trajscope import plot, simulate

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def is_function(value):
    """Whether it is called: a function or a class, but no exception."""
    is_failure = inspect.isclass(value) and issubclass(value, BaseException)
    return callable(value) and not is_failure


PUBLIC = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in (trajscope, simulate, plot)
    for name in module.__all__
    if is_function(getattr(module, name))
}


def examples(name):
    return doctest.DocTestFinder(recurse=False).find(PUBLIC[name], name, globs={})


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_function_shows_an_example_that_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (found,) = examples(name)
    assert found.examples, f"{name} shows no example"
    told = []
    with mpl.rc_context({"backend": "agg"}):
        runner = doctest.DocTestRunner(optionflags=OPTIONS)
        failed, _ = runner.run(found, out=told.append)
    plt.close("all")
    assert failed == 0, "".join(told)
