import contextlib
import json
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from trajscope.checkpoints.base import Candidate, CheckpointPart, FoundFile
from trajscope.checkpoints.counters import tensor_steps
from trajscope.checkpoints.names import read_name
from trajscope.checkpoints.series import find_series
from trajscope.errors import TrajectoryError
from trajscope.readers import READERS
from trajscope.readers.base import Header, TensorSpec


def found(tmp_path):
    series = find_series(tmp_path)
    return [c.step for c in series.checkpoints], series.step_unit, series.step_source


def test_the_trainer_state_comes_first(save, tmp_path):
    for index, step in enumerate((40, 80)):
        save(f"checkpoint_{index}/model.safetensors", step=7 + index)
        state = {"best": None, "global_step": step, "log_history": [{"step": 3}]}
        (tmp_path / f"checkpoint_{index}/trainer_state.json").write_text(json.dumps(state))
    assert found(tmp_path) == ([40, 80], "step", "trainer_state.json")


@pytest.mark.parametrize("state", ["{", '{"global_step": "x"}', '{"note": "\\"global_step\\": 5"}'])
def test_a_damaged_trainer_state_is_no_source(state, save, tmp_path):
    for step in (40, 80):
        save(f"checkpoint-{step}/model.safetensors")
        (tmp_path / f"checkpoint-{step}/trainer_state.json").write_text(state)
    assert found(tmp_path)[0] == [40, 80]


@pytest.mark.parametrize(
    ("key", "unit"), [("global_step", "step"), ("iter_num", "step"), ("epoch", "epoch")]
)
def test_a_counter_inside_comes_before_the_name(key, unit, save, tmp_path):
    for index, letter in enumerate("bca"):
        save(f"{letter}.safetensors", **{key: index * 100})
    assert found(tmp_path) == ([0, 100, 200], unit, f"metadata key '{key}'")


def test_a_step_inside_comes_before_an_epoch_inside(save, tmp_path):
    for epoch in (1, 2):
        save(f"m_{epoch}.safetensors", epoch=epoch, step=epoch * 50)
    assert found(tmp_path) == ([50, 100], "step", "metadata key 'step'")


def test_a_counter_that_starts_again_is_passed_over_for_names_that_go_on(save, tmp_path):
    for epoch in range(14):
        save(f"epoch_{epoch}.safetensors", step=epoch % 9 * 10)
    series = find_series(tmp_path)
    assert [c.step for c in series.checkpoints] == list(range(14))
    assert "metadata key 'step' goes back on the way" in series.warnings[0]


def test_a_counter_that_stands_still_is_the_step(save, tmp_path):
    for index, step in enumerate((0, 10, 20, 20, 30)):
        save(f"m_{index}.safetensors", step=step, seed=index)
    assert found(tmp_path)[2] == "metadata key 'step'"


def test_an_epoch_that_several_checkpoints_share_is_no_step(save, tmp_path):
    for step in range(10, 70, 10):
        save(f"step_{step}.safetensors", epoch=step // 30)
    assert found(tmp_path)[0] == [10, 20, 30, 40, 50, 60]


def test_a_number_after_step_comes_before_one_after_epoch(save, tmp_path):
    for epoch in (1, 2):
        save(f"epoch={epoch}-step={epoch * 50}.safetensors")
    assert found(tmp_path) == ([50, 100], "step", "number after 'step' in the name")


def test_epochs_in_the_name_have_their_own_unit(save, tmp_path):
    for epoch in (1, 2, 30):
        save(f"epoch_{epoch:04d}.safetensors")
    assert found(tmp_path) == ([1, 2, 30], "epoch", "number after 'epoch' in the name")


@pytest.mark.parametrize(
    ("numbers", "unit"), [((0, 1, 2), "index"), ((1, 2, 3), "index"), ((2, 4, 6), "step")]
)
def test_a_plain_number_is_an_index_only_when_it_counts_the_files(numbers, unit, save, tmp_path):
    for number in numbers:
        save(f"model_{number}.safetensors")
    assert found(tmp_path) == (list(numbers), unit, "number in the name")


def test_a_fraction_makes_a_step_of_its_own(save, tmp_path):
    for epoch in (0.5, 1.0, 1.5):
        save(f"m{int(epoch * 2)}.safetensors", epoch=epoch)
    assert found(tmp_path)[0] == [0.5, 1, 1.5]


def test_a_name_that_disagrees_is_said(save, tmp_path):
    for index in (7, 8):
        save(f"ckpt_{index}.safetensors", step=index * 100)
    series = find_series(tmp_path)
    assert [c.step for c in series.checkpoints] == [700, 800]
    (warning,) = series.warnings
    assert warning == (
        "ckpt_7.safetensors: the number in the name says 7, the metadata key 'step' says 700; "
        "the metadata key 'step' was taken for every checkpoint."
    )


def test_a_number_in_the_name_that_is_the_epoch_inside_is_no_disagreement(save, tmp_path):
    for epoch in (3, 4):
        save(f"model_{epoch}.safetensors", epoch=epoch, step=epoch * 100)
    assert not find_series(tmp_path).warnings


def test_one_source_serves_the_whole_series(save, tmp_path):
    save("step_1.safetensors", step=100)
    save("step_2.safetensors")
    series = find_series(tmp_path)
    assert [c.step for c in series.checkpoints] == [1, 2]
    assert "metadata key 'step' is missing in 1 of 2 checkpoints" in series.warnings[0]


@pytest.mark.parametrize("value", ["nan", "inf", "1e400", "-1e30", "9" * 5000, "x", "", "1e30"])
def test_metadata_that_is_no_step_is_not_taken_for_one(value, save, tmp_path):
    for step in (10, 20):
        save(f"step_{step}.safetensors", step=value)
    assert found(tmp_path)[0] == [10, 20]


def test_a_step_before_the_first_may_be_negative(save, tmp_path):
    for step in (-1, 0, 1):
        save(f"{'abc'[step]}.safetensors", step=step)
    assert found(tmp_path) == ([-1, 0, 1], "step", "metadata key 'step'")


@pytest.mark.parametrize("dtype", ["int64", "int32", "float32"])
def test_a_counter_among_the_tensors_is_read(dtype, tmp_path):
    for index in range(3):
        tensors = {"w": np.ones(3, "f4"), "step": np.array(index * 500, dtype)}
        save_file(tensors, tmp_path / f"{'bca'[index]}.safetensors")
    assert found(tmp_path) == ([0, 500, 1000], "step", "tensor 'step'")


def test_tensors_that_are_no_single_number_are_no_counter(tmp_path):
    for index in (10, 20):
        tensors = {"step": np.full(2, index, "f4"), "epoch": np.zeros((), bool)}
        save_file(tensors, tmp_path / f"m_{index}.safetensors")
    assert found(tmp_path) == ([10, 20], "step", "number in the name")


def test_a_counter_that_vanished_since_it_was_listed_is_none(save, tmp_path):
    file = FoundFile(tmp_path / "a", "a", 8, 0, (0, 0))
    header = Header({"step": TensorSpec((), "int64", 0)})
    candidate = Candidate(
        file.path, "a", read_name("a", ""), (CheckpointPart(file, READERS[0], header),)
    )
    assert tensor_steps([candidate], "step") == (None,)
    file.path.write_bytes(b"1234")
    assert tensor_steps([candidate], "step") == (None,)


def test_steps_that_start_again_in_every_epoch_are_put_in_order(save, tmp_path):
    for epoch in (0, 1):
        for step in (100, 200):
            save(f"epoch_{epoch}/step_{step}/weights.safetensors")
    series = find_series(tmp_path)
    assert [c.relative[:16] for c in series.checkpoints] == [
        "epoch_0/step_100", "epoch_0/step_200", "epoch_1/step_100", "epoch_1/step_200",
    ]  # fmt: skip
    assert [c.step for c in series.checkpoints] == [0, 1, 2, 3]
    assert (series.step_unit, series.step_source) == (
        "index",
        "order of epoch and step in the name",
    )
    assert "start again in every epoch" in series.warnings[0]


def test_several_numbers_without_a_word_are_warned_of(save, tmp_path):
    for number in (1, 2):
        save(f"net_{number}_{number * 700}.safetensors")
    (warning,) = find_series(tmp_path).warnings
    assert warning.startswith("2 numbers in the names differ between checkpoints, and none")
    assert "the second of them is used" in warning
    assert found(tmp_path)[0] == [700, 1400]


@pytest.mark.parametrize(
    "time",
    ["2024-11-0{}_12-00-{}0", "2024110{}", "2024110{}-1200{}0", "12-00-{}0", "171568{}000",
     "171568{}000123456789", "2024.11.0{}T12:00", "1{}h30m", "time_9{}", "date-{}"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["{}", "ckpt_{}", "run-a_{}"])
def test_times_are_an_order_and_never_steps(time, name, save, tmp_path):
    for day in (3, 1, 2):
        save(f"{name.format(time.format(day, day))}.safetensors", seed=day)
    series = find_series(tmp_path)
    assert [c.step for c in series.checkpoints] == [0, 1, 2]
    assert (series.step_unit, series.step_source) == ("index", "order of the times in the name")
    assert [c.relative for c in series.checkpoints] == sorted(
        c.relative for c in series.checkpoints
    )
    assert not series.warnings


@pytest.mark.parametrize(
    "name",
    ["20260514-10153{n}_step_{s}", "step_{s}_2026-05-1{n}_10-15", "model_{s}_20260514{n}01530",
     "run_2026051{n}-101530_step{s}", "{s}_{n}0-15-30", "step_{s}_171568000{n}",
        "{s}_1{n}h05m", "model_{s}_time_{n}77"],
)  # fmt: skip
def test_times_beside_a_step_split_no_run(name, save, tmp_path):
    for n, s in enumerate((100, 700, 300)):
        save(f"{name.format(n=n, s=s)}.safetensors")
    series = find_series(tmp_path)
    assert [c.step for c in series.checkpoints] == [100, 300, 700]
    assert series.coordinates == ()
    assert not series.warnings


@pytest.mark.parametrize("name", ["m_{}", "checkpoint_{}/m"])
@pytest.mark.parametrize(
    "written", ["%Y-%m-%d_%H-%M-%S.%f", "%Y-%m-%dT%H:%M:%S.%f", "%Y%m%d_%H%M%S.%f"]
)
def test_times_with_fractions_of_a_second_are_times(written, name, save, tmp_path):
    start = datetime(2026, 5, 14, 23, 50, 7, 71935)
    times = [start + index * timedelta(minutes=7, seconds=37.291) for index in range(6)]
    names = [f"{name.format(time.strftime(written))}.safetensors" for time in times]
    for each in names:
        save(each)
    series = find_series(tmp_path)
    assert [(c.step, c.relative) for c in series.checkpoints] == [*enumerate(names)]


@pytest.mark.parametrize(
    "written", ["step_{:,}", "step={:,}-x", "m-{:,}", "step_{:_}", "iter-{:_}"]
)
@pytest.mark.parametrize(
    "steps", [[2_500, 15_000, 27_500], [1_001, 10_998, 999_001], [1_002_000, 2_000_500, 12_000_000]]
)
def test_thousands_may_be_set_apart(written, steps, save, tmp_path):
    for step in steps:
        save(f"{written.format(step)}.safetensors")
    assert found(tmp_path)[0] == steps


@pytest.mark.parametrize(
    ("names", "steps"),
    [(["step_3_256", "step_12_256", "step_40_256"], [3, 12, 40]),
     (["epoch_1_000", "epoch_2_100", "epoch_3_000"], [1, 2, 3])],
)  # fmt: skip
def test_a_second_number_is_not_taken_for_thousands(names, steps, save, tmp_path):
    for name in names:
        save(f"{name}.safetensors")
    assert found(tmp_path)[0] == steps


@pytest.mark.parametrize("name", ["epoch={}-val_loss={!r}", "{}_loss_{!r}", "{}-{!r}"])
def test_metrics_with_all_their_digits_are_metrics(name, save, tmp_path):
    losses = [2.5929505825042725, 0.1, 1.0, 0.30000000000000004, 1.2345678901234567e-05, 10 / 3]
    for epoch, loss in enumerate(losses):
        save(f"{name.format(epoch, loss)}.safetensors")
    assert found(tmp_path)[0] == list(range(6))


def test_minor_numbers_of_versions_are_no_fractions(save, tmp_path):
    names = [f"net-1.{minor}.safetensors" for minor in (1, 2, 9, 10, 11, 20)]
    for name in names:
        save(name)
    assert [c.relative for c in find_series(tmp_path).checkpoints] == names


def test_times_that_tell_equal_steps_apart_are_runs(save, tmp_path):
    for time in ("20260514-101530", "20260515-090000"):
        for step in (10, 20):
            save(f"{time}_step_{step}.safetensors")
    with pytest.raises(TrajectoryError, match=r"holds 2 runs(.|\n)*20260514-101530_step_\*"):
        find_series(tmp_path)


def test_without_any_number_the_user_is_told_what_to_do(save, tmp_path):
    for letter in "abc":
        save(f"{letter}.safetensors")
    with pytest.raises(TrajectoryError, match=r"the step of each checkpoint was expected .*rename"):
        find_series(tmp_path)


def test_a_counter_that_some_lack_is_counted(save, tmp_path):
    save("a.safetensors", step=1)
    save("b.safetensors")
    with pytest.raises(TrajectoryError, match="only 1 of 2 have a metadata key 'step'"):
        find_series(tmp_path)


@settings(max_examples=60, deadline=None)
@given(
    pattern=st.text(
        st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), max_size=20
    ),
    steps=st.lists(st.integers(0, 10**15 - 1), min_size=2, max_size=4, unique=True),
)
def test_any_names_give_increasing_steps_or_a_refusal(tmp_path_factory, pattern, steps):
    folder = tmp_path_factory.mktemp("names")
    for step in steps:
        with contextlib.suppress(OSError):
            save_file({"w": np.ones(2, "f4")}, folder / f"{pattern}{step}.safetensors")
    try:
        found = [checkpoint.step for checkpoint in find_series(folder).checkpoints]
    except TrajectoryError:
        return
    assert found == sorted(set(found))
