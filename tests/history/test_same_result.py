"""An analysis that goes on from an earlier one, compared with one from scratch."""

import json

import ml_dtypes
import numpy as np
import pytest
import xarray as xr

from trajscope.analysis.run import analyze
from trajscope.errors import OptionError, TrajscopeWarning

# Far above what a process that has run other tests holds: a limit that narrows the blocks changes
# the last digits.
QUICK = {"n_surrogates": 19, "alpha": 0.1, "memory": "6GiB"}


def assert_same(found, expected):
    for part in ("reductions", "observables", "tests", "verdict", "trajectory"):
        xr.testing.assert_identical(found[part].to_dataset(), expected[part].to_dataset())
    assert found.attrs["path"] == expected.attrs["path"]
    assert found.attrs["fingerprint"] == expected.attrs["fingerprint"]


# Fewer weights than increments: the dual; few checkpoints of many weights: the Gram matrix.
@pytest.mark.parametrize(("n_weights", "way"), [(12, ("fft", "dual")), (9000, ("gram", "gram"))])
@pytest.mark.parametrize(
    ("cut", "dtype"), [(2, np.float32), (23, ml_dtypes.bfloat16), (39, np.float64)], ids=str
)
@pytest.mark.filterwarnings("ignore:.* weights never change")  # of few, rounded to bfloat16
def test_a_run_that_grew_gives_the_same_to_the_last_bit(
    n_weights, way, cut, dtype, make_run, tmp_path
):
    run = make_run(n_weights, dtype).write(*range(cut))
    analyze(run.folder, history=tmp_path / "history", **QUICK)
    run.write(*range(cut, 40))
    expected = analyze(run.folder, **QUICK)
    run.forbid(*range(cut))  # whoever reads an old checkpoint gets other numbers
    found = analyze(run.folder, history=tmp_path / "history", **QUICK)
    assert (found.attrs["path"], found.attrs["components"]) == way
    assert_same(found, expected)
    assert_same(analyze(run.folder, history=tmp_path / "history", **QUICK), expected)


def test_the_sketch_gives_the_same_too(make_run, tmp_path, monkeypatch):
    monkeypatch.setattr("trajscope.measure.paths._LARGEST_DUAL", 8)
    run = make_run(10).write(*range(50))
    analyze(run.folder, history=tmp_path / "history", **QUICK)
    run.write(*range(50, 600))
    expected = analyze(run.folder, **QUICK)
    run.forbid(*range(50))
    found = analyze(run.folder, history=tmp_path / "history", **QUICK)
    assert found.attrs["components"] == "sketch"
    assert_same(found, expected)


@pytest.mark.parametrize(
    "selection",
    [
        {"burn_in": "25%"},
        {"burn_in": 3},
        {"steps": "2::2"},
        {"include": ("out*",)},
        {"exclude": ("fc*",)},
        {"by": "none"},
    ],
    ids=str,
)
def test_any_selection_gives_the_same_when_the_run_grows(selection, make_run, tmp_path):
    run = make_run(40).write(*range(20))
    analyze(run.folder, history=tmp_path / "history", **selection, **QUICK)
    run.write(*range(20, 30))
    expected = analyze(run.folder, **selection, **QUICK)
    run.forbid(*range(6, 20))
    assert_same(analyze(run.folder, history=tmp_path / "history", **selection, **QUICK), expected)


def test_a_diverged_checkpoint_is_left_out_as_before(make_run, tmp_path):
    run = make_run(40).write(*range(12))
    run.spoil(3)
    content = run.path(3).read_bytes().replace(b"\x40" * 4, b"\xff" * 4)
    run.path(3).write_bytes(content)
    for _ in range(2):
        with (
            pytest.warns(TrajscopeWarning, match="1 of 12 checkpoints hold NaN"),
            pytest.warns(TrajscopeWarning, match="unevenly spaced"),
        ):
            found = analyze(run.folder, history=tmp_path / "history", **QUICK)
        assert 3 not in found["observables"]["step"]


def test_a_history_belongs_to_a_folder(tmp_path):
    array = xr.DataArray(np.ones((3, 4)), dims=("step", "weight"))
    with pytest.raises(OptionError, match="history: these options apply to a directory"):
        analyze(array, history=tmp_path / "history")


def test_one_that_cannot_be_kept_is_a_warning(make_run, tmp_path):
    run = make_run(40).write(*range(12))
    (tmp_path / "history").write_text("a file")
    with pytest.warns(TrajscopeWarning, match=r"No history is kept in .*history: "):
        found = analyze(run.folder, history=tmp_path / "history", **QUICK)
    assert_same(found, analyze(run.folder, **QUICK))


def test_the_saved_result_knows_every_file(make_run):
    run = make_run(40).write(*range(4))
    told = analyze(run.folder, **QUICK)["trajectory"]["fingerprint"].values
    run.write(2, at=1_700_000_000)
    again = analyze(run.folder, **QUICK)["trajectory"]["fingerprint"].values
    assert (told == again).tolist() == [True, True, False, True]
    json.dumps(told.tolist())
