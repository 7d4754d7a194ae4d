import json
import os
import time

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr
from distributed import Client, get_worker

from tests.clusters import local_cluster
from tests.measure.passes import N_READ, assert_same_bits, cut_at, lazy, plan_of, sums_of
from tests.trajectories import late_training
from trajscope.errors import OptionError
from trajscope.measure.cluster import local_cluster as cluster_of_processes
from trajscope.measure.executor import executor
from trajscope.measure.span import NonFiniteError

TASKS = cut_at([0, 7, 50, 90, 200, 230, 300], [0, 1, 0, 2], {0, 1, 3, 4})
LAYOUT = {"tasks": TASKS, "width": 64, "chunk": 2}
ADDITIVE_PATH = pytest.mark.parametrize("components", ["gram", "sketch"])


@pytest.fixture(scope="module")
def x():
    return late_training(120, 300)


@pytest.fixture(scope="module")
def bits(x):
    """What threads make of each path, for the same plan."""
    return {path: sums_of(x, plan_of(path, 300, **LAYOUT)) for path in ("gram", "sketch")}


SOURCES = {
    "in memory": np.asarray,
    "lazy": lazy,
    "in dask chunks": lambda x: xr.DataArray(
        dask.array.from_array(x, chunks=(50, 33)), dims=("step", "weight")
    ),
}


@pytest.fixture(scope="module")
def cluster():
    with local_cluster(2) as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    with Client(cluster) as client:
        yield client


@ADDITIVE_PATH
@pytest.mark.parametrize("source", SOURCES)
def test_an_active_client_gives_the_same_bits_as_threads(components, source, x, bits, client):
    with executor(None, None) as running:
        assert not running.shares_memory
        found = sums_of(SOURCES[source](x), plan_of(components, 300, **LAYOUT), running)
    assert_same_bits(found, bits[components])


def test_a_scheduler_by_its_address_gives_the_same_bits_as_threads(x, bits, cluster):
    with executor(None, cluster.scheduler_address) as running:
        found = sums_of(x, plan_of("gram", 300, **LAYOUT), running)
    assert_same_bits(found, bits["gram"])


def test_worker_processes_give_the_same_bits_as_threads(x, bits):
    with executor(2, None) as running:
        assert running.n_workers == 2
        found = sums_of(lazy(x), plan_of("gram", 300, **LAYOUT), running)
    assert_same_bits(found, bits["gram"])


def test_worker_processes_have_imported_what_tasks_need_and_do_not_watch_themselves():
    def told():
        import sys

        import dask

        calm = not dask.config.get("distributed.worker.profile.enabled")
        return calm, {"trajscope.trajectory", "trajscope.measure.span"} <= set(sys.modules)

    with cluster_of_processes(1) as client:
        assert list(client.run(told).values()) == [(True, True)]


def test_a_weight_that_is_not_finite_stops_the_pass_on_a_cluster_too(x, client):
    spoilt = x.copy()
    spoilt[3, 250] = np.nan
    with executor(None, None) as running, pytest.raises(NonFiniteError, match="NaN or infinite"):
        sums_of(spoilt, plan_of("gram", 300, **LAYOUT), running)


def test_workers_and_a_scheduler_exclude_each_other():
    message = "--workers and --scheduler were both given; one is expected"
    with pytest.raises(OptionError, match=message), executor(2, "tcp://127.0.0.1:8786"):
        pass


@pytest.mark.parametrize("workers", [0, -1])
def test_a_number_of_workers_is_positive(workers):
    message = f"--workers is {workers}; a positive number is expected"
    with pytest.raises(OptionError, match=message), executor(workers, None):
        pass


@pytest.mark.parametrize("address", ["nonsense://\u202ehost:1", "127.0.0.1:notaport"])
def test_an_address_without_a_scheduler_is_named(address):
    message = r"--scheduler .*: no dask scheduler answered .*Start one with 'dask scheduler'"
    with pytest.raises(OptionError, match=message) as caught, executor(None, address):
        pass
    assert "\u202e" not in str(caught.value)
    with executor(None, None) as running:  # and it is forgotten
        assert running.shares_memory


@pytest.mark.slow
def test_a_port_that_nothing_listens_on_is_given_up_after_ten_seconds():
    with (
        pytest.raises(OptionError, match="no dask scheduler answered"),
        executor(None, "tcp://127.0.0.1:9"),
    ):
        pass


def test_a_cluster_without_workers_is_said_to_have_none(monkeypatch):
    monkeypatch.setattr("trajscope.measure.executor.PATIENCE", 1)
    with (
        local_cluster(0) as empty,
        pytest.raises(OptionError, match=r"lacks workers; .* Start one with 'dask worker'"),
        executor(None, empty.scheduler_address),
    ):
        pass


def test_workers_that_keep_dying_are_told_from_a_result():
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        local_cluster(1, processes=True) as cluster,
        executor(None, cluster.scheduler_address) as running,
        pytest.raises(OptionError, match="Worker processes died repeatedly on the same task"),
    ):
        list(running.compute([dask.delayed(os._exit)(1)], 1, lambda *_: None))


def test_a_scheduler_file_names_its_scheduler(x, bits, cluster, tmp_path):
    path = tmp_path / "scheduler.json"
    path.write_text(json.dumps({"type": "Scheduler", "address": cluster.scheduler_address}))
    with executor(None, str(path)) as running:
        found = sums_of(x, plan_of("gram", 300, **LAYOUT), running)
    assert_same_bits(found, bits["gram"])


@pytest.mark.parametrize("content", [None, "", "{}", '{"address": 5}', "[]", "\0" * 99])
def test_a_file_that_names_no_scheduler_is_told(content, tmp_path):
    path = tmp_path / "scheduler.json"
    if content is not None:
        path.write_text(content)
    message = r"--scheduler .*scheduler\.json: a scheduler file was expected, .* Has the scheduler"
    with pytest.raises(OptionError, match=message), executor(None, str(path)):
        pass


@pytest.mark.parametrize("n_tasks", [None, "2", "many"])
def test_slurm_is_refused_outside_a_step_of_three_tasks(n_tasks, monkeypatch):
    for name, value in {"SLURM_PROCID": n_tasks and "1", "SLURM_NTASKS": n_tasks}.items():
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(
            name, value
        )
    message = r"--scheduler slurm: this is expected to be a step of a Slurm job with at least 3"
    with pytest.raises(OptionError, match=message), executor(None, "slurm"):
        pass


@pytest.mark.parametrize("stall", [0, -1.5, float("nan")])
def test_a_stall_is_some_time(stall):
    with (
        pytest.raises(OptionError, match=r"--stall is .*; a positive number of seconds"),
        executor(None, None, stall=stall),
    ):
        pass


def test_no_progress_for_a_stated_time_is_told(cluster, monkeypatch):
    monkeypatch.setattr("trajscope.measure.awaiting._LOOK", 0.2)
    with (
        executor(None, cluster.scheduler_address, stall=0.5) as running,
        pytest.raises(OptionError, match=r"none of its tasks ended for 0\.5 seconds \(--stall\)"),
    ):
        list(running.compute([dask.delayed(time.sleep)(2)], 1, lambda *_: None))


@ADDITIVE_PATH
def test_workers_read_each_weight_once(components, x, cluster):
    N_READ.clear()
    with executor(None, cluster.scheduler_address) as running:
        sums_of(lazy(x), plan_of(components, 300, **LAYOUT), running)
    assert sum(N_READ) == x.size  # dask would read all of a lazy array to know its size


def test_what_all_tasks_need_keeps_none_of_them_from_a_worker_that_is_idle(cluster):
    def who(_):
        time.sleep(0.2)
        return get_worker().address

    shared = dask.delayed(list)()
    values = [dask.delayed(who)(shared) for _ in range(8)]
    with executor(None, cluster.scheduler_address) as running:
        found = list(running.compute(values, 1, lambda *_: None, shared=shared))
    counts = sorted(found.count(address) for address in set(found))
    assert counts == [4, 4]


def test_few_tasks_a_worker_are_sent_at_once(cluster):
    with executor(None, cluster.scheduler_address) as running:
        values = [dask.delayed(abs)(number) for number in range(-100, 0)]
        seen = []
        results = running.compute(values, 1, lambda key, result: seen.append(result))
        first = next(results)
        assert first == 100
        assert len(seen) <= 40
        assert list(results) == list(range(99, 0, -1))
        assert sorted(seen) == list(range(1, 101))
