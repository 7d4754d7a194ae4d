"""What a result shows in a notebook."""

import copy
import pickle
from html.parser import HTMLParser

import numpy as np
import pytest
from simulated_results import brownian, make_results

import trajscope
from trajscope.report.content.results import Results

HOSTILE = "</script><img src=x onerror=alert(1)>\x1b[31m{{7*7}}"


class Seen(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def results():
    return trajscope.analyze(trajscope.simulate.brownian(64, 20, seed=1), n_surrogates=199)


def test_a_notebook_shows_verdict_limits_and_key_numbers_before_the_arrays(results):
    seen = Seen(results._repr_html_())
    sentence = results["verdict"].attrs["sentence"].split(". ")[0]
    order = [
        seen.text.index(word) for word in (sentence, "Brownian null", "cannot show", "All arr")
    ]
    assert order == sorted(order)
    assert {"table", "details", "ul"} <= set(seen.tags)


def test_a_result_that_was_saved_shows_the_same(results, tmp_path):
    trajscope.write_report(results, tmp_path)
    again = trajscope.open_results(tmp_path / "results.zarr")
    assert again._repr_html_().split("<details>")[0] == results._repr_html_().split("<details>")[0]


def test_parts_of_a_result_show_their_arrays_as_xarray_does(results):
    assert "cannot show" not in results["observables"]._repr_html_()
    assert "diffusion_exponent" in results["observables"]._repr_html_()


def test_runs_that_are_compared_show_the_verdict_of_each():
    walks = np.random.default_rng(0).standard_normal((2, 64, 20)).cumsum(axis=1)
    compared = trajscope.compare(*walks, labels=["<b>one</b>", "other"], n_surrogates=199)
    page = compared._repr_html_()
    assert "2 runs compared" in page
    assert "&lt;b&gt;one&lt;/b&gt;" in page
    assert "<b>one</b>" not in page
    assert "cannot show" in compared["cases/1"]._repr_html_()


def test_names_from_files_are_escaped(results):
    told = copy.deepcopy(results)
    told["verdict"].attrs["sentence"] = HOSTILE
    told["trajectory"].coords["tensor"] = [HOSTILE]
    page = told._repr_html_()
    seen = Seen(page)
    assert not {"img", "script"} & set(seen.tags)
    assert "\x1b" not in page.split("<details>")[0]
    assert "49" not in page.split("<table")[0].split("<p>")[1].split("Diffusion exponent")[0]


def test_a_result_without_tests_shows_what_was_measured():
    parts = {node.path: node.to_dataset(inherit=False) for node in
             make_results(brownian(20, 100)).subtree}  # fmt: skip
    assert "path length" in Results.from_dict(parts)._repr_html_()


def test_a_result_is_a_tree_that_can_be_copied_and_sent_to_another_process(results):
    again = pickle.loads(pickle.dumps(results))
    assert type(again) is Results
    assert again.identical(results)
    assert copy.deepcopy(results).identical(results)
