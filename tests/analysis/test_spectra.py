import json

import numpy as np
import pytest
import xarray as xr

from trajscope import analyze, open_results, save_checkpoint, write_report
from trajscope.analysis.spectra import matrices_of, spectra, steps_of_spectra
from trajscope.errors import OptionError
from trajscope.trajectory import open_trajectory, tensor

SHAPES = {"fc.weight": (6, 9), "fc.bias": (6,), "conv.weight": (5, 2, 3, 3), "head.weight": (8, 3)}


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    state = {name: rng.normal(size=shape).astype("f4") for name, shape in SHAPES.items()}
    for step in range(0, 200, 10):
        state = {k: v + 0.1 * rng.normal(size=v.shape).astype("f4") for k, v in state.items()}
        save_checkpoint(tmp_path / "run", state, step=step)
    return tmp_path / "run"


def test_every_matrix_has_the_singular_values_of_its_decomposition(folder):
    run = open_trajectory(folder)
    found = spectra(run, [20, 100, 190], 1 << 20)
    shapes = zip(found["matrix"].values, found["rows"].values, found["columns"].values, strict=True)
    assert sorted(shapes) == [("conv.weight", 5, 18), ("fc.weight", 6, 9), ("head.weight", 8, 3)]
    assert found.attrs["left_out"] == [
        {"name": "fc.bias", "reason": "a vector or a scalar, not a matrix"}
    ]
    for name in found["matrix"].values:
        for step in (20, 100, 190):
            x = tensor(run, name).sel(step=step).to_numpy().astype(float)
            values = np.linalg.svd(x.reshape(len(x), -1), compute_uv=False)
            own = found.sel(matrix=name, step=step)
            np.testing.assert_allclose(own["singular_value"][: len(values)], values, rtol=1e-9)
            assert np.isnan(own["singular_value"][len(values) :]).all()
            assert own["spectral_norm"] == pytest.approx(values[0])
            assert own["stable_rank"] == pytest.approx(np.sum(values**2) / values[0] ** 2)
    np.testing.assert_allclose(found["overlap_with_last"].isel(step=-1), 1)
    assert np.isnan(found["spectrum_drift"].isel(step=0)).all()


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (None, []),
        ("none", []),
        ("all", list(range(0, 200, 10))),
        ("20%,100%", [40, 190]),
        ([10, "50%"], [10, 90]),
    ],
)
def test_steps_are_named_or_all_or_none(folder, asked, expected):
    assert steps_of_spectra(open_trajectory(folder), asked) == expected


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("15", "--spectra 15: no checkpoint at this step; the nearest is"),
        ("some", "--spectra some: a step"),
        ("120%", "--spectra 120%: from 0% to 100%"),
    ],
)
def test_steps_that_are_not_there_are_refused(folder, asked, message):
    with pytest.raises(OptionError, match=message):
        analyze(folder, spectra=asked)


def test_a_run_without_a_matrix_is_refused(folder):
    with pytest.raises(OptionError, match="none of the 1 tensors is a matrix"):
        analyze(folder, include="fc.bias", spectra="all")


def named(**shapes):
    names = list(shapes)
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    return xr.Dataset(
        coords={
            "tensor": [name.replace("_", ".") for name in names],
            "row_size": ("tensor", sizes),
            "shape": ("tensor", [str(list(shape)) for shape in shapes.values()]),
        }
    )


def test_convolutions_are_unfolded_by_their_name():
    trajectory = named(
        a_weight=(4, 3, 2, 2), a_kernel=(2, 2, 3, 4), a_table=(2, 3, 4), experts_weight=(2, 3, 4),
        a_scale=(), b_weight=(1, 5), c_weight=(1, 2, 3),
    )  # fmt: skip
    found, left = matrices_of(trajectory)
    assert [(each.name, each.shape, each.start) for each in found] == [
        ("a.weight", (4, 12), 0),
        ("a.kernel", (12, 4), 48),
    ]
    assert {each["name"]: each["reason"] for each in left} == {
        "a.table": "3 axes, and not named as a convolution",
        "experts.weight": "3 axes, and not named as a convolution",
        "a.scale": "a vector or a scalar, not a matrix",
        "b.weight": "a vector or a scalar, not a matrix",
        "c.weight": "one row or column when unfolded",
    }


def test_an_analysis_holds_them_on_the_page_and_in_the_summary(folder, tmp_path):
    results = analyze(folder, spectra="0%,100%", n_surrogates=199)
    assert results["spectra"].sizes["step"] == 2
    page = write_report(results, tmp_path / "out").read_text()
    shown = page.replace("<wbr>", "")
    assert "<code>conv.weight</code></th><td>5 × 18</td>" in shown
    assert 'id="matrix-spectrum"' in page
    assert "Unfolded as convolutions, by their names: conv.weight." in page
    told = json.loads((tmp_path / "out/summary.json").read_text())["spectra"]
    assert told["steps"] == [0, 190]
    own = results["spectra"].sel(matrix="fc.weight")
    expected = own["stable_rank"].values.tolist()
    assert told["matrices"]["fc.weight"]["stable_rank"] == pytest.approx(expected)
    assert told["matrices"]["fc.weight"]["spectrum_drift"][0] is None
    again = open_results(tmp_path / "out/results.zarr")
    assert write_report(again, tmp_path / "again").read_text() == page
