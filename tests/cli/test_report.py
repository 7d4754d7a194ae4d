import json
import re
import shutil

import pytest

from tests.cli.running import write_run
from trajscope import open_results
from trajscope.report.files.completeness import write_manifest


@pytest.fixture(scope="module")
def analyzed(tmp_path_factory):
    """OUT of an analysis whose checkpoints are gone."""
    from trajscope import analyze, write_report

    folder = tmp_path_factory.mktemp("analyzed")
    write_run(folder / "run")
    write_report(analyze(folder / "run"), folder / "out")
    shutil.rmtree(folder / "run")
    return folder / "out"


@pytest.fixture
def copy(analyzed, tmp_path):
    return shutil.copytree(analyzed, tmp_path / "copy")


def test_without_the_checkpoints_the_page_is_made_again_the_same(trajscope, copy):
    page = (copy / "report.html").read_bytes()
    numbers = (copy / "summary.json").read_bytes()
    (copy / "report.html").unlink()
    (copy / "summary.json").unlink()
    done = trajscope("report", copy / "results.zarr")
    assert (done.code, done.err) == (0, "")
    assert "12 checkpoints, steps 0 to 110, every 10 steps; 40 weights in 3 tensors" in done.out
    assert f"Report    {copy}/report.html" in done.out
    assert (copy / "report.html").read_bytes() == page
    assert (copy / "summary.json").read_bytes() == numbers


def test_another_folder_gets_all_three_files(trajscope, analyzed, out):
    assert trajscope("report", analyzed / "results.zarr", "-o", out, "--quiet") == (0, "", "")
    assert {path.name for path in out.iterdir()} == {"report.html", "summary.json", "results.zarr"}
    assert open_results(out / "results.zarr").identical(open_results(analyzed / "results.zarr"))
    assert (out / "report.html").read_bytes() == (analyzed / "report.html").read_bytes()


def gone(store):
    shutil.rmtree(store)


def foreign(store):
    shutil.rmtree(store)
    store.mkdir()
    (store / "cat.jpg").touch()


def half_written(store):
    (store / ".zmetadata").unlink()


def cut_short(store):
    text = (store / ".zmetadata").read_text()
    (store / ".zmetadata").write_text(text[: len(text) // 2])


def without_a_part(store):
    described = json.loads((store / ".zmetadata").read_text())
    described["metadata"] = {
        key: value
        for key, value in described["metadata"].items()
        if not key.startswith("observables")
    }
    (store / ".zmetadata").write_text(json.dumps(described))
    write_manifest(store)


def damaged(store):
    chunks = store / "observables" / "mean_squared_displacement"
    for chunk in chunks.glob("[0-9]*"):
        chunk.write_bytes(chunk.read_bytes()[:7])
    write_manifest(store)


def copied_in_part(store):
    for chunk in (store / "trajectory" / "step").glob("[0-9]*"):
        chunk.unlink()


def without_its_end(store):
    (store / "manifest.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (gone, r"results\.zarr does not exist; a results\.zarr folder is expected\. Make one"),
        (foreign, r"is not a result of trajscope: it lacks a readable \.zmetadata"),
        (half_written, r"is not a result of trajscope: it lacks a readable \.zmetadata"),
        (cut_short, r"is not a result of trajscope: it lacks a readable \.zmetadata"),
        (without_a_part, r"not a finished trajscope result: the parts observables are missing"),
        (copied_in_part, r"results\.zarr is .*in part: 1 of its \d+ .*/step/0: it is missing"),
        (without_its_end, r"results\.zarr lacks a readable manifest\.json.* in part, or made by"),
        (damaged, r"results\.zarr is damaged: an array in it cannot be read \(.*Make it again"),
    ],
)
def test_what_is_no_whole_result_is_refused(trajscope, copy, spoil, message):
    spoil(copy / "results.zarr")
    page = (copy / "report.html").read_bytes()
    done = trajscope("report", copy / "results.zarr")
    assert (done.code, done.out) == (2, "")
    assert re.search(message, done.err)
    assert (copy / "report.html").read_bytes() == page


def test_the_folder_above_a_result_is_taken_for_a_slip(trajscope, analyzed):
    done = trajscope("report", analyzed)
    assert done.code == 2
    assert f"Did you mean {analyzed}/results.zarr?" in done.err


def test_an_output_that_cannot_be_is_refused(trajscope, analyzed, tmp_path):
    (tmp_path / "file").touch()
    done = trajscope("report", analyzed / "results.zarr", "-o", tmp_path / "file" / "out")
    assert done.code == 2
    assert re.search(
        r"out is expected to be a folder for the report, but .*file is not a folder", done.err
    )
