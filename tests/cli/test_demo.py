import json
import os
import re
from functools import partial

import pytest

from tests.cli.running import in_process
from trajscope import open_results
from trajscope.demo import training
from trajscope.inference.decision.settings import CODES


@pytest.mark.slow
def test_a_short_demo_leaves_a_report_a_summary_and_results_with_a_verdict(
    trajscope, tmp_path, monkeypatch
):
    monkeypatch.setattr(training, "train_demo", partial(training.train_demo, epochs=80))
    assert trajscope("demo", tmp_path / "demo", "--quiet") == (0, "", "")
    report = tmp_path / "demo" / "report"
    numbers = json.loads((report / "summary.json").read_text())
    assert numbers["trajectory"]["checkpoints"] == 81
    code = numbers["verdict"]["code"]
    assert code in CODES
    assert open_results(report / "results.zarr")["verdict"].attrs["code"] == code
    assert (report / "report.html").read_text().rstrip().endswith("</html>")


@pytest.mark.slow
def test_the_demo_trains_analyzes_and_can_be_run_again(tmp_path):
    # A name that the encoding lacks: it is shown with a question mark.
    arguments = ("demo", "Δ mo", "--seed", "1")
    surroundings = os.environ | {"PYTHONIOENCODING": "latin-1"}
    first = in_process(*arguments, cwd=tmp_path, env=surroundings)
    assert (first.code, first.err) == (0, "")
    shown = first.out.splitlines()
    assert shown[0] == "$ trajscope analyze '? mo/checkpoints' -o '? mo/report'"
    assert "Found     501 checkpoints, safetensors" in shown
    assert "Weights   1,242 weights in 6 tensors, float32" in shown
    report = tmp_path / "Δ mo" / "report"
    numbers = json.loads((report / "summary.json").read_text())
    mark = numbers.pop("result")
    assert numbers["trajectory"]["checkpoints"] >= 300

    again = in_process(*arguments, "--quiet", cwd=tmp_path)
    assert again == (0, "", "")
    told = json.loads((report / "summary.json").read_text())
    assert told.pop("result") != mark  # it has a date
    assert told == numbers


def test_a_folder_with_other_things_in_it_is_refused_and_kept(trajscope, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    done = trajscope("demo", tmp_path)
    assert (done.code, done.out) == (2, "")
    assert re.search(
        r"is expected to be new, empty, or an earlier demo.* choose another folder", done.err
    )
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
