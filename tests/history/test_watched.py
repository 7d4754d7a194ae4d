"""What a watcher knows of a run that grows, is rotated, begun anew or damaged."""

import json
import math
import os
import time

import numpy as np
import pytest

from tests.trajectories import brownian
from trajscope import TrajectoryError, save_checkpoint
from trajscope.analysis.watch import Watcher
from trajscope.history import log, watched
from trajscope.schema import STEP

LONG_AGO = 1_600_000_000


class Trainer:
    """Writes rows of an array as checkpoints, some time ago."""

    def __init__(self, folder, weights):
        self.folder, self.weights = folder, weights
        folder.mkdir()

    def path(self, row):
        return self.folder / f"step-{10 * row}.safetensors"

    def write(self, rows, weights=None, at=LONG_AGO):
        for row in rows:
            values = (self.weights if weights is None else weights)[row]
            half = len(values) // 2
            state = {"fc.weight": values[:half], "out.weight": values[half:]}
            save_checkpoint(self.path(row), state, step=10 * row)
            os.utime(self.path(row), (at + row, at + row))

    def rotate(self, keep):
        paths = sorted(self.folder.iterdir(), key=lambda path: path.stat().st_mtime)
        for path in paths[:-keep]:
            path.unlink()


@pytest.fixture
def trainer(tmp_path):
    def make(n_steps=40, n_weights=3000, weights=None):
        walk = brownian(n_steps, n_weights, dtype=np.float32) if weights is None else weights
        return Trainer(tmp_path / "run", walk)

    return make


def last(watcher):
    *_, state = watcher.look()
    return state


def naive(weights):
    x = weights.astype(np.float64)
    return {
        "norm": np.linalg.norm(x, axis=1),
        "increment": np.r_[np.nan, np.linalg.norm(np.diff(x, axis=0), axis=1)],
        "displacement": np.linalg.norm(x - x[0], axis=1),
    }


def assert_is(state, weights, rows=slice(None)):
    for name, values in naive(weights).items():
        np.testing.assert_allclose(state[name][rows], values[rows], rtol=1e-12)


def test_numbers_are_those_of_the_weights(trainer, tmp_path):
    run = trainer()
    run.write(range(40))
    state = last(Watcher(run.folder, tmp_path, {}))
    assert_is(state, run.weights)
    assert state[STEP].values.tolist() == [10 * row for row in range(40)]
    assert not state["estimated"].any()
    assert (state.attrs["code"], state.attrs["tested"]) == ("brownian", 40)
    assert state.attrs["alarms"] == []


def test_a_rotated_run_is_read_as_it_comes_by_one_watcher_or_several(trainer, tmp_path):
    run = trainer()
    first = Watcher(run.folder, tmp_path / "one", {})
    for row in range(0, 40, 8):
        run.write(range(row, row + 8))
        run.rotate(keep=9)
        state = last(first)
        again = last(Watcher(run.folder, tmp_path / "several", {}))
    for each in (state, again):
        assert_is(each, run.weights)
        assert each.attrs["read"] == 40
    assert len(list((tmp_path / "one/watched").iterdir())) == 4  # sums, two checkpoints, the log


def test_what_was_read_is_not_read_again(trainer, tmp_path):
    run = trainer(10)
    run.write(range(8))
    watcher = Watcher(run.folder, tmp_path, {})
    last(watcher)
    for row in range(8):  # the same size and times: whoever reads it gets other numbers
        before = run.path(row).stat()
        content = run.path(row).read_bytes()
        with run.path(row).open("r+b") as file:
            file.write(content[:-4000] + bytes(4000))
        os.utime(run.path(row), ns=(before.st_atime_ns, before.st_mtime_ns))
    known = watcher.watched.log
    fingerprints = {row.fingerprint for row in known.rows}
    watcher._opened = lambda opened=watcher._opened: as_before(opened(), known)
    run.write([8, 9])
    state = last(watcher)
    assert_is(state, run.weights)
    assert fingerprints < {row.fingerprint for row in watcher.watched.log.rows}


def as_before(trajectory, known):
    """With the fingerprints that the checkpoints had: the inode's time cannot be set back."""
    texts = trajectory["fingerprint"].to_numpy().copy()
    for place, row in enumerate(known.rows):
        texts[place] = row.fingerprint
    return trajectory.assign_coords(fingerprint=(STEP, texts))


def test_a_checkpoint_that_may_still_be_written_waits(trainer, tmp_path):
    run = trainer(10)
    run.write(range(5))
    run.write([5], at=time.time() - 5)
    watcher = Watcher(run.folder, tmp_path, {})
    assert last(watcher).sizes[STEP] == 5
    run.write([5])
    assert last(watcher).sizes[STEP] == 6


def test_nan_copies_and_jumps_raise_alarms_that_stay(trainer, tmp_path):
    weights = brownian(30, 3000, dtype=np.float32)
    weights[12, 2000] = np.inf
    weights[15] = weights[3]
    weights[20:] += 50
    run = trainer(weights=weights)
    run.write(range(30))
    state = last(Watcher(run.folder, tmp_path, {}))
    assert [(each["kind"], each["step"]) for each in state.attrs["alarms"]] == [
        ("nonfinite", 120), ("identical", 150), ("jump", 200),
    ]  # fmt: skip
    texts = [each["text"] for each in state.attrs["alarms"]]
    assert texts[0] == (
        "1 weight is NaN or infinite, the first in tensor 'out.weight'. The checkpoint is left out."
    )
    assert texts[1] == "All weights equal those at step 30. It is left out."
    assert texts[2] == "The increment is 34.7 times as long as the longest of those before it."
    left = np.delete(np.arange(30), [12, 15])
    assert_is(state, weights[left])
    assert state.attrs["code"] == ""
    assert state.attrs["sentence"].startswith("No verdict: the increment to step 200 holds 99%")
    again = last(Watcher(run.folder, tmp_path, {}))
    assert again.attrs["alarms"] == state.attrs["alarms"]
    assert again.attrs["read"] == 30  # those left out are not read again either


def test_an_ordinary_run_raises_none(trainer, tmp_path):
    rng = np.random.default_rng(1)
    noise = np.geomspace(1, 0.1, 60)[:, np.newaxis] * rng.normal(size=(60, 300))
    run = trainer(weights=noise.cumsum(axis=0).astype(np.float32))
    run.write(range(60))
    assert last(Watcher(run.folder, tmp_path, {})).attrs["alarms"] == []


@pytest.mark.parametrize("keeps_the_old", [True, False])
def test_a_trainer_that_goes_on_from_an_earlier_step_leads_another_way(
    keeps_the_old, trainer, tmp_path
):
    run = trainer(30)
    run.write(range(20))
    watcher = Watcher(run.folder, tmp_path, {})
    last(watcher)
    other = run.weights.copy()
    other[10:] = run.weights[9] + brownian(20, 3000, seed=5, dtype=np.float32)
    if not keeps_the_old:
        for row in range(10, 20):
            run.path(row).unlink()
    for row in range(10, 30):  # old files of later steps are there until they are replaced
        run.write([row], other, at=LONG_AGO + 1000)
        state = last(watcher)
        assert state[STEP].values[-1] == 10 * row
    assert [each["kind"] for each in state.attrs["alarms"]] == ["restart"]
    assert state.attrs["alarms"][0]["text"].endswith("it had come to step 190 before.")
    expected = naive(other)
    np.testing.assert_allclose(state["displacement"], expected["displacement"], rtol=1e-12)
    # The weights of step 90 are not kept: this increment is known from the random sums.
    assert np.flatnonzero(state["estimated"]).tolist() == [10]
    exact = np.delete(np.arange(30), 10)
    np.testing.assert_allclose(state["increment"][exact], expected["increment"][exact], rtol=1e-12)
    np.testing.assert_allclose(state["increment"][10], expected["increment"][10], rtol=0.15)


def test_a_file_that_is_only_touched_changes_nothing(trainer, tmp_path):
    run = trainer(12)
    run.write(range(12))
    watcher = Watcher(run.folder, tmp_path, {})
    before = last(watcher)
    run.write([4], at=LONG_AGO + 99)
    after = last(watcher)
    assert after.attrs.pop("read") == before.attrs.pop("read") + 1
    assert before.identical(after)


def test_memory_and_disk_stay_bounded(trainer, tmp_path, monkeypatch):
    for module in (log, watched):
        monkeypatch.setattr(module, "MOST_ROWS", 17)
    weights = brownian(200, 300, dtype=np.float32)
    run = trainer(weights=weights)
    watcher = Watcher(run.folder, tmp_path, {})
    sizes = []
    for row in range(0, 200, 20):
        run.write(range(row, row + 20))
        run.rotate(keep=21)
        state = last(watcher)
        assert state.sizes[STEP] < 17
        sizes.append(sum(path.stat().st_size for path in (tmp_path / "watched").iterdir()))
    assert max(sizes) < 17 * (8 * 1024 + 300) + 2 * 1200 + 8000
    rows = (state[STEP].values / 10).astype(int)
    assert set(np.diff(rows)) == {16}
    kept = naive(weights[rows])
    np.testing.assert_allclose(state["displacement"], kept["displacement"], rtol=1e-12)
    np.testing.assert_allclose(state["increment"][1:], kept["increment"][1:], rtol=0.2)
    assert state.attrs["read"] == 200
    assert last(Watcher(run.folder, tmp_path, {})).attrs["read"] == 200


def spoilt_sums(folder):
    (path,) = folder.glob("sums-*.raw")
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)


def spoilt_weights(folder):
    for path in folder.glob("weights-*.raw"):
        path.write_bytes(bytes(path.stat().st_size))


def cut_log(folder):
    path = folder / "log.json"
    path.write_bytes(path.read_bytes()[:-20])


def foreign_name(folder):
    known = json.loads((folder / "log.json").read_bytes())
    known["last"] = "../../etc/passwd"
    (folder / "log.json").write_text(json.dumps(known))


def other_types(folder):
    known = json.loads((folder / "log.json").read_bytes())
    known["rows"][0]["increment"] = "much"
    (folder / "log.json").write_text(json.dumps(known))


def a_pipe(folder):
    (folder / "log.json").unlink()
    os.mkfifo(folder / "log.json")


@pytest.mark.parametrize(
    "damage", [spoilt_sums, spoilt_weights, cut_log, foreign_name, other_types, a_pipe]
)
def test_what_is_damaged_is_told_and_read_anew(damage, trainer, tmp_path):
    run = trainer(12)
    run.write(range(12))
    last(Watcher(run.folder, tmp_path, {}))
    damage(tmp_path / "watched")
    watcher = Watcher(run.folder, tmp_path, {})
    assert watcher.watched.note.endswith("watched is not used: it cannot be read.")
    assert_is(last(watcher), run.weights)
    assert Watcher(run.folder, tmp_path, {}).watched.note == ""


def test_other_tensors_begin_anew(trainer, tmp_path):
    run = trainer(12)
    run.write(range(12))
    last(Watcher(run.folder, tmp_path, {}))
    state = last(Watcher(run.folder, tmp_path, {"include": ["fc.*"]}))
    assert_is(state, run.weights[:, :1500])
    assert "everything is begun again" in state.attrs["note"]


def test_a_folder_without_checkpoints_is_waited_for(trainer, tmp_path):
    run = trainer(9)
    watcher = Watcher(run.folder, tmp_path, {})
    state = last(watcher)
    assert "checkpoints were expected" in state.attrs["waiting"]
    run.write(range(9))
    state = last(watcher)
    assert (state.attrs["waiting"], state.sizes[STEP]) == ("", 9)


def test_checkpoints_that_count_no_steps_are_refused(tmp_path):
    for place, name in enumerate(["100M-tokens", "300M-tokens", "400M-tokens"]):
        path = tmp_path / "run" / f"{name}.npz"
        path.parent.mkdir(exist_ok=True)
        np.savez(path, w=np.full(30, place, np.float32))
        os.utime(path, (LONG_AGO + place,) * 2)
    with pytest.raises(TrajectoryError, match=r"by their order of the tokens in the name"):
        last(Watcher(tmp_path / "run", tmp_path / "out", {}))


def test_a_checkpoint_that_vanishes_while_it_is_read_is_left_for_later(trainer, tmp_path):
    run = trainer(12)
    run.write(range(12))
    watcher = Watcher(run.folder, tmp_path, {})
    trajectory = watcher._opened()
    run.path(5).unlink()
    assert len(list(watcher.watched.take_new(trajectory))) == 11
    assert [row.step for row in watcher.watched.log.rows] == [10 * r for r in range(12) if r != 5]
    assert math.isnan(watcher.watched.log.rows[0].increment)


@pytest.mark.slow
def test_the_level_of_the_tests_is_kept_on_random_sums(trainer, tmp_path):
    """2,000 weights of very unequal variance; 300 walks, of which 1% may be rejected."""
    from trajscope.analysis import watch
    from trajscope.history.log import Log, Row
    from trajscope.kernels.folding import WIDTH, add_folded

    scale = np.geomspace(1, 1e-3, 2000)
    wrong = 0
    for seed in range(300):
        walk = brownian(40, 2000, 100 + seed) * scale
        sums = np.zeros((40, WIDTH))
        for own, weights in zip(sums, walk, strict=True):
            add_folded(own, weights, first=0, seed=0)
        rows = tuple(Row(step, f"{seed}-{step}", 0, 0, 1.0, 1.0, 1.0) for step in range(40))
        watcher = watch.Watcher(tmp_path, tmp_path, {})
        watcher.watched.log = Log("", "step", "float32", 2000, rows=rows)
        watcher.watched.sums = sums
        watcher._decide()
        wrong += watcher.verdict["code"] != "brownian"
    assert wrong <= 9  # several tests at 1% each; at 3%, fewer than ten has a probability of .59
