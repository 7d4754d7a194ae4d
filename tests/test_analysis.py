import warnings
from pathlib import Path

import dask.array
import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from safetensors.torch import save_file

from tests import naive
from tests.measure.passes import lazy
from tests.trajectories import ORDINARY, brownian, late_training, trajectories
from trajscope import OptionError, TrajectoryError, TrajscopeWarning, analyze, open_trajectory
from trajscope.measure.resources import resident_bytes
from trajscope.schema import RESULT_PARTS, check_results

MIB = 1 << 20
LAYERS = {"fc1.weight": (4, 6), "fc1.bias": (4,), "fc2.weight": (3, 4), "fc2.bias": (3,)}


def array_of(x, steps=None):
    coords = {} if steps is None else {"step": steps}
    return xr.DataArray(x, dims=("step", "weight"), coords=coords)


def dataset_of(x, sizes, groups=None, dtypes=None, steps=None):
    names = [f"tensor{number}" for number in range(len(sizes))]
    return xr.Dataset(
        {"weights": (("step", "weight"), x)},
        {
            "step": np.arange(len(x)) if steps is None else steps,
            "tensor": names,
            "row_size": ("tensor", sizes),
            "group": ("tensor", groups or names),
            "stored_dtype": ("tensor", dtypes or ["float32"] * len(sizes)),
        },
        {"step_unit": "step"},
    )


def write_checkpoints(folder, x, steps=None, dtype=torch.float32):
    """One safetensors file per row of x (step, 43), cut into LAYERS."""
    ends = np.cumsum([int(np.prod(shape)) for shape in LAYERS.values()])
    for row, step in zip(x, range(len(x)) if steps is None else steps, strict=True):
        parts = np.split(np.ascontiguousarray(row), ends[:-1])
        tensors = {
            name: torch.from_numpy(part.reshape(shape).copy()).to(dtype)
            for (name, shape), part in zip(LAYERS.items(), parts, strict=True)
        }
        save_file(tensors, folder / f"step-{step}.safetensors")


@pytest.fixture
def folder(tmp_path):
    write_checkpoints(tmp_path, brownian(30, 43, dtype=np.float32), 100 * np.arange(30))
    return tmp_path


def sums_alike(actual, expected):
    xr.testing.assert_identical(actual["observables"].to_dataset(),
                                expected["observables"].to_dataset())  # fmt: skip


def test_a_result_has_every_part_and_is_recognised_as_one():
    results = analyze(array_of(brownian(10, 4)))
    assert tuple(results.children) == RESULT_PARTS
    check_results(results)
    assert results.attrs["seed"] == 0
    assert results.attrs["path"] in ("gram", "fft")
    assert results["verdict"].attrs["code"] == "too_short"


def test_a_path_a_dataset_and_an_array_give_the_same_numbers(folder):
    by_path = analyze(folder, by="none")
    opened = open_trajectory(folder, by="none")
    sums_alike(analyze(opened), by_path)
    array = opened["weights"].drop_vars("path")
    sums_alike(analyze(array.compute()), by_path)
    assert by_path["trajectory"].attrs["checkpoints"] == 30
    assert "weights" not in by_path["trajectory"]


def test_numbers_from_files_match_their_definitions(folder):
    x = brownian(30, 43, dtype=np.float32).astype(np.float64)
    found = analyze(folder)["observables"]
    columns = {"all": slice(0, 43), "fc1": slice(0, 28), "fc2": slice(28, 43)}
    assert list(found["group"].values) == list(columns)
    for group, part in columns.items():
        here = found.to_dataset().sel(group=group)
        for name, expected in {
            "increment_periodogram": naive.periodogram(x[:, part]),
            "mean_squared_displacement": naive.mean_squared_displacement(x[:, part]),
            "displacement": naive.displacement(x[:, part]),
            "path_length": naive.path_length(x[:, part]),
            "explained_variance": naive.explained_variance(x[:, part], 20),
        }.items():
            scale = np.abs(expected).max()
            np.testing.assert_allclose(here[name], expected, rtol=0, atol=1e-5 * scale)


@settings(max_examples=15)
@given(x=trajectories(kinds=ORDINARY))
def test_arrays_match_the_definitions_by_whichever_path_is_taken(x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrajscopeWarning)
        results = analyze(array_of(x))
    found = results["observables"].to_dataset().isel(group=0)
    # The audit may leave out checkpoints of what hypothesis thinks of.
    wide = x[results["trajectory"]["step"].values].astype(np.float64)
    expected = naive.mean_squared_displacement(wide)
    np.testing.assert_allclose(
        found["mean_squared_displacement"], expected, rtol=0, atol=1e-5 * expected.max()
    )
    np.testing.assert_allclose(
        found["explained_variance"], naive.explained_variance(wide, 20), rtol=0, atol=1e-5
    )
    assert found["n_moving"] == naive.n_moving(wide)


@pytest.mark.parametrize(
    "held",
    [lazy, lambda x: array_of(dask.array.from_array(x, chunks=(7, 11))), array_of],
    ids=["lazy", "dask", "in memory"],
)
def test_an_array_gives_the_same_bits_however_it_is_held(held):
    x = late_training(40, 60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrajscopeWarning)
        sums_alike(analyze(held(x), memory="2GiB"), analyze(array_of(x), memory="2GiB"))


def test_worker_processes_give_the_same_bits_from_files(folder):
    sums_alike(analyze(folder, workers=1, memory="2GiB"), analyze(folder, memory="2GiB"))


def test_the_memory_limit_changes_rounding_only():
    x = array_of(late_training(200, 40_000))
    ample = analyze(x, memory="3GiB")["observables"].to_dataset()
    # Leaves about 20 MiB for blocks.
    tight = analyze(x, memory=resident_bytes() + (160 * MIB))["observables"].to_dataset()
    for name, expected in ample.items():
        scale = np.abs(expected).max().item()
        np.testing.assert_allclose(tight[name], expected, rtol=0, atol=1e-5 * scale)


def test_the_seed_decides_nothing_but_what_is_drawn():
    drawn = ["phase_area_low", "phase_area_high", "phase_area_p"]
    x = array_of(brownian(30, 50))
    one, other = (
        analyze(x, seed=seed)["observables"].to_dataset().drop_vars(drawn) for seed in (1, 2)
    )
    xr.testing.assert_identical(one, other)


def test_progress_is_told_from_none_to_all():
    seen = []
    analyze(array_of(brownian(10, 4)), progress=lambda done, total: seen.append((done, total)))
    assert seen[0][0] == 0
    assert seen[-1][0] == seen[-1][1] > 0


# Dtypes and shapes


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.bool_, np.float64])
def test_other_real_dtypes_are_analysed_as_numbers(dtype):
    x = np.random.default_rng(0).integers(0, 2, (12, 30)).astype(dtype)
    found = analyze(array_of(x))["observables"]
    expected = naive.mean_squared_displacement(x.astype(np.float64))
    np.testing.assert_allclose(found["mean_squared_displacement"][0], expected, rtol=1e-6)


def test_float16_arrays_are_widened():
    x = brownian(20, 30).astype(np.float16)
    found = analyze(array_of(x))["observables"]
    expected = naive.periodogram(x.astype(np.float64))
    np.testing.assert_allclose(found["increment_periodogram"][0], expected, rtol=1e-4)
    assert found["rounding_floor"][0] > 0


@pytest.mark.parametrize("shape", [(2, 1), (2, 3), (3, 1)])
def test_the_smallest_trajectories_are_analysed(shape):
    found = analyze(array_of(brownian(*shape)))["observables"]
    assert found["path_length"][0] == pytest.approx(naive.path_length(brownian(*shape)))


def test_checkpoints_that_are_all_equal_are_said_never_to_move():
    with pytest.warns(TrajscopeWarning, match="3 of 3 weights never change"):
        found = analyze(array_of(np.ones((5, 3))))["observables"]
    assert found["path_length"][0] == 0


def test_magnitudes_of_1e30_are_not_taken_for_infinity():
    x = (1e30 * brownian(20, 10)).astype(np.float32)
    found = analyze(array_of(x))["observables"]
    expected = naive.path_length(x.astype(np.float64))
    assert found["path_length"][0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "x", [1e200 * brownian(20, 10), 1e200 * brownian(100, 3), np.full((4, 1), 3e38, np.float32)]
)
def test_finite_weights_whose_squares_are_not_are_said_to_be_too_large(x):
    x[::2] *= -1
    with pytest.raises(TrajectoryError, match="All weights are finite, but squares of their"):
        analyze(array_of(x))


def test_a_layer_may_be_called_all():
    found = analyze(dataset_of(brownian(5, 6), [2, 4], ["all", "fc"]))["observables"]
    assert list(found["group"].values) == ["all", "'all'", "fc"]
    assert found["n_weights"].values.tolist() == [6, 2, 4]


# NaN and infinity


def spoilt(rows, columns, value=np.nan):
    x = brownian(20, 43, dtype=np.float32)
    x[rows, columns] = value
    return x


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_checkpoints_that_are_not_finite_are_named_counted_and_left_out(tmp_path, value):
    x = spoilt([17, 18, 18, 19], [25, 2, 41, 0], value)
    write_checkpoints(tmp_path, x, 10 * np.arange(20))
    message = (
        r"3 of 20 checkpoints hold NaN or infinite weights and are left out: "
        r".*step-170\.safetensors: 1 of 43 weights are NaN or infinite, the first in tensor "
        r"'fc1\.bias' \(step 170\)"
    )
    with pytest.warns(TrajscopeWarning, match=message):
        results = analyze(tmp_path)
    skipped = results["trajectory"].attrs["skipped"]
    assert [Path(each["path"]).name for each in skipped] == [
        f"step-{step}.safetensors" for step in (170, 180, 190)
    ]
    assert "2 of 43 weights" in skipped[1]["reason"]
    assert "'fc1.weight'" in skipped[1]["reason"]
    (finding,) = results["trajectory"].attrs["audit"]
    assert finding["steps"] == [170, 180, 190]
    assert finding["detail"].startswith("3 of 20 checkpoints hold NaN or infinite weights")
    assert results["trajectory"].attrs["warnings"] == []  # nothing is said twice
    sums_alike(results, analyze(open_trajectory(tmp_path).isel(step=slice(17))))


def test_an_array_with_nan_is_measured_without_those_steps():
    x = spoilt([3], [2])
    steps = 5 * np.arange(20)
    with pytest.warns(TrajscopeWarning) as caught:
        results = analyze(array_of(x, steps))
    assert any("15: 1 of 43 weights" in str(warning.message) for warning in caught)
    assert any("unevenly spaced" in str(warning.message) for warning in caught)
    kept = np.delete(np.arange(20), 3)
    assert results["observables"]["step"].values.tolist() == steps[kept].tolist()
    expected = naive.displacement(x[kept].astype(np.float64))
    np.testing.assert_allclose(results["observables"]["displacement"][0], expected, rtol=1e-4)


def test_strict_makes_nan_an_error(folder):
    x = array_of(spoilt([3], [2]))
    message = r"3: 1 of 43 weights are NaN or infinite, .* \(step 3\)\. Leave it out with --steps"
    with pytest.raises(TrajectoryError, match=message):
        analyze(x, strict=True)


@pytest.mark.parametrize("n_finite", [0, 1])
def test_a_trajectory_of_nan_is_refused(n_finite):
    x = np.full((5, 3), np.nan)
    x[:n_finite] = 1
    message = f"{n_finite} of 5 checkpoints hold finite weights only; at least 2 are needed"
    with pytest.raises(TrajectoryError, match=message):
        analyze(array_of(x))


def test_a_hostile_tensor_name_is_shown_harmlessly():
    x = spoilt([3], [2])
    dataset = dataset_of(x, [43]).assign_coords(tensor=["\x1b[31mred\u202e"])
    with pytest.warns(TrajscopeWarning) as caught:
        analyze(dataset)
    assert not any("\x1b" in str(each.message) or "\u202e" in str(each.message) for each in caught)


# Steps and units


def test_curves_over_even_steps_are_labelled_in_steps():
    found = analyze(array_of(brownian(11, 4), 1000 + 50 * np.arange(11)))["observables"]
    assert found["lag"].values.tolist() == list(range(0, 550, 50))
    assert found["lag"].attrs["units"] == "steps"
    np.testing.assert_allclose(found["frequency"], np.arange(1, 6) / 500)
    assert found["frequency"].attrs["units"] == "cycles per step"
    assert found["interval"].values.tolist() == list(range(1000, 1500, 50))
    assert found["turn"].values.tolist() == list(range(1050, 1500, 50))


def test_fractional_epochs_that_were_rounded_are_even():
    epochs = np.round(np.arange(1, 31) * 0.1, 7)
    results = analyze(array_of(brownian(30, 4), epochs))
    assert results["trajectory"].attrs["evenly_spaced"]
    assert results["observables"]["lag"].values[1] == pytest.approx(0.1)


def test_uneven_steps_are_warned_of_and_counted_in_checkpoints():
    with pytest.warns(TrajscopeWarning, match="unevenly spaced in steps"):
        results = analyze(array_of(brownian(10, 4), 2 ** np.arange(10)))
    assert not results["trajectory"].attrs["evenly_spaced"]
    found = results["observables"]
    assert found["lag"].values.tolist() == list(range(10))
    assert found["lag"].attrs["units"] == "checkpoints"
    assert found["frequency"].attrs["units"] == "cycles per checkpoint"


def test_an_array_without_steps_is_labelled_by_position():
    found = analyze(array_of(brownian(5, 2)))["observables"]
    assert found["step"].values.tolist() == [0, 1, 2, 3, 4]
    assert found["lag"].attrs["units"] == "index"


@pytest.mark.parametrize(
    "steps", [[0, 1, 1, 2], [3, 2, 1, 0], [0, 1, np.nan, 3], ["a", "b", "c", "d"]]
)
def test_steps_that_do_not_increase_are_refused(steps):
    with pytest.raises(TrajectoryError, match=r"increasing numbers are expected\. Sort them"):
        analyze(array_of(brownian(4, 2), steps))


# Warnings about the data


@pytest.mark.parametrize("source", ["files", "dataset"])
def test_increments_spoilt_by_bfloat16_are_warned_of(tmp_path, source):
    x = late_training(40, 43)
    rounded = torch.from_numpy(x).to(torch.bfloat16).float().numpy()
    if source == "files":
        write_checkpoints(tmp_path, x, dtype=torch.bfloat16)
        given = tmp_path
    else:
        given = dataset_of(rounded, [43], ["all"], ["bfloat16"])
    with pytest.warns(TrajscopeWarning) as caught:
        found = analyze(given)["observables"]
    warned = [str(each.message) for each in caught]
    assert any("Rounding to bfloat16 distorts the increments" in message for message in warned)
    expected = naive.zero_increment_fraction(rounded)
    assert found["zero_increment_fraction"][0] == pytest.approx(expected)


def test_float32_increments_of_late_training_are_not_called_spoilt():
    # filterwarnings=error: a warning would fail here.
    results = analyze(array_of(late_training(40, 30)))
    assert results["trajectory"].attrs["warnings"] == []


def test_weights_that_never_move_are_counted_and_left_out_of_normalised_curves():
    x = brownian(12, 5)
    still = np.concatenate([x, np.ones((12, 2)), np.zeros((12, 1))], axis=1)
    with pytest.warns(TrajscopeWarning, match="3 of 8 weights never change"):
        found = analyze(array_of(still))["observables"]
    plain = analyze(array_of(x))["observables"]
    assert found["n_moving"][0] == 5
    for name in ("autocorrelation_mean", "autocorrelation_sd", "increment_fft_mean"):
        np.testing.assert_allclose(found[name], plain[name], atol=1e-9)


# What is refused


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("run", "a"),
        ("burn_in", 3),
        ("steps", "1:5"),
        ("include", ["fc*"]),
        ("exclude", ["fc*"]),
        ("by", "tensor"),
    ],
)
def test_options_that_choose_files_are_refused_for_arrays(name, value):
    message = f"{name}: these options apply to a directory"
    for source in (array_of(brownian(5, 2)), dataset_of(brownian(5, 2), [2])):
        with pytest.raises(OptionError, match=message):
            analyze(source, **{name: value})


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (xr.DataArray(np.ones((3, 2)), dims=("time", "weight")), "a trajectory has .'step', "),
        (xr.DataArray(np.ones((3, 2)), dims=("weight", "step")), "Rename or transpose it"),
        (xr.DataArray(np.ones(3), dims=("step",)), "a trajectory has .'step', 'weight'"),
        (array_of(np.ones((3, 2), complex)), "dtype of kind 'c'; real numbers are expected"),
        (array_of(np.array([["a"], ["b"]])), "dtype of kind 'U'; real numbers are expected"),
        (array_of(np.ones((1, 2))), "has 1 checkpoint; at least 2 are needed"),
        (array_of(np.ones((0, 2))), "has 0 checkpoints; at least 2 are needed"),
        (array_of(np.ones((3, 0))), "0 weights together, the array has 0; .* at least 1"),
    ],
)
def test_arrays_that_are_no_trajectory_are_refused(array, message):
    with pytest.raises(TrajectoryError, match=message):
        analyze(array)


def test_datasets_that_are_no_whole_trajectory_are_refused():
    whole = dataset_of(brownian(5, 6), [2, 4])
    with pytest.raises(TrajectoryError, match=r"this one lacks row_size, group\. To take an array"):
        analyze(whole.drop_vars(["row_size", "group"]))
    with pytest.raises(TrajectoryError, match="this one lacks weights"):
        analyze(whole.drop_vars("weights"))
    with pytest.raises(TrajectoryError, match="have 6 weights together, the array has 3"):
        analyze(whole.isel(weight=slice(3)))
    with pytest.raises(TrajectoryError, match="a trajectory has"):
        analyze(whole.isel(step=0))


def test_some_steps_of_a_dataset_can_be_selected_with_xarray(folder):
    opened = open_trajectory(folder)
    found = analyze(opened.isel(step=slice(10, None, 2)))
    assert found["trajectory"].attrs["checkpoints"] == 10


@pytest.mark.parametrize("memory", ["100KiB", 1000])
def test_a_limit_below_what_is_held_already_is_refused(memory):
    with pytest.raises(OptionError, match="is too small for 5 checkpoints"):
        analyze(array_of(brownian(5, 2)), memory=memory)


def test_a_limit_that_is_no_size_is_refused():
    with pytest.raises(OptionError, match="--memory lots is invalid"):
        analyze(array_of(brownian(5, 2)), memory="lots")
