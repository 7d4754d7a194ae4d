"""Clusters that are none, or that go away while they compute."""

import http.server
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import dask
import numpy as np
import pytest
from distributed import LocalCluster

from tests.cli.running import COMMAND, in_process, write_run
from trajscope import OptionError, analyze, save_checkpoint
from trajscope.measure.executor import executor

pytestmark = pytest.mark.slow


@pytest.fixture
def silent():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def web():
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize("kind", ["silent", "web"])
@pytest.mark.parametrize("scheme", ["tcp://", "tls://", "ws://"])
def test_a_port_of_another_kind_is_told_within_seconds(kind, scheme, tmp_path, request):
    write_run(tmp_path / "run")
    address = f"{scheme}127.0.0.1:{request.getfixturevalue(kind)}"
    begun = time.monotonic()
    done = in_process("analyze", tmp_path / "run", "-o", tmp_path / "out", "--scheduler", address)
    assert time.monotonic() - begun < 40  # ten of them wait, the rest is the start of a process
    assert done.code == 2
    assert re.fullmatch(
        rf"Error: --scheduler {address}: no dask scheduler answered \(.*\)\. Is it the port of a "
        r"dashboard, or of another server\? .*\n",
        done.err,
    )
    assert not (tmp_path / "out").exists()


CLUSTER = """
import sys, time
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None,
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
    ) as cluster:
        print(cluster.scheduler_address, cluster.workers[0].worker_address, flush=True)
        sys.stdin.read()
"""


@contextmanager
def cluster(tmp_path):
    """A scheduler and its worker in processes of their own."""
    script = tmp_path / "cluster.py"
    script.write_text(CLUSTER)
    with subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.DEVNULL, start_new_session=True,
    ) as process:  # fmt: skip
        yield process, *process.stdout.readline().split()
        os.killpg(process.pid, signal.SIGKILL)


def test_the_address_of_a_worker_is_told_from_that_of_the_scheduler(tmp_path):
    with (
        cluster(tmp_path) as (_, _, worker),
        pytest.raises(OptionError, match=r"a dask Worker answered\. Give the address of the"),
        executor(None, worker),
    ):
        pass


def test_a_cluster_that_is_killed_is_told_of(tmp_path):
    with cluster(tmp_path) as (process, address, _), executor(None, address) as running:
        threading.Timer(3, lambda: os.killpg(process.pid, signal.SIGKILL)).start()
        with pytest.raises(OptionError, match=r"The dask cluster at .* was lost: .* is gone"):
            list(running.compute([dask.delayed(time.sleep)(300)], 1, lambda *_: None))


def test_a_cluster_that_is_frozen_is_told_of(tmp_path, monkeypatch):
    monkeypatch.setattr("trajscope.measure.awaiting._ALONE", 3)
    monkeypatch.setattr("trajscope.measure.awaiting.PATIENCE", 2)
    with cluster(tmp_path) as (process, address, _), executor(None, address) as running:
        threading.Timer(2, lambda: os.killpg(process.pid, signal.SIGSTOP)).start()
        with pytest.raises(OptionError, match=r"was lost: it has had no worker, or has not answ"):
            list(running.compute([dask.delayed(time.sleep)(300)], 1, lambda *_: None))


FROZEN = """
import os, signal, sys, time
from trajscope.analysis.run import analyze
from trajscope.measure import awaiting, cluster, plan, room, span

awaiting._LOOK, awaiting.FROZEN, room._BLOCK_BYTES, plan.MIB = 1, 5, 1, 1 << 11

if __name__ == "__main__":
    results = analyze(
        sys.argv[1], scheduler=sys.argv[2], n_surrogates=199, phases="none", memory="2GiB",
    )
    print(results["reductions"]["increment_gram"].values.tobytes().hex())
"""


def test_the_blocks_of_a_worker_that_freezes_are_done_elsewhere(tmp_path, monkeypatch):
    """Three workers, of which one is stopped: the same bits as of threads."""
    rng = np.random.default_rng(0)
    walk = np.zeros(200_000, np.float32)
    for step in range(40):
        walk += rng.standard_normal(200_000, np.float32)
        save_checkpoint(tmp_path / "run", {"w": walk}, step=step)
    script = tmp_path / "frozen.py"
    script.write_text(FROZEN)
    with LocalCluster(
        n_workers=3, threads_per_worker=1, processes=True, dashboard_address=None,
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
    ) as them:  # fmt: skip
        pid = them.workers[0].pid
        with subprocess.Popen(
            [sys.executable, script, tmp_path / "run", them.scheduler_address],
            stdout=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            os.kill(pid, signal.SIGSTOP)
            found, _ = process.communicate(timeout=200)
    monkeypatch.setattr("trajscope.measure.room._BLOCK_BYTES", 1)
    monkeypatch.setattr("trajscope.measure.plan.MIB", 1 << 11)
    expected = analyze(tmp_path / "run", n_surrogates=199, phases="none", memory="2GiB")
    assert found.strip() == expected["reductions"]["increment_gram"].values.tobytes().hex()


def test_a_worker_that_does_not_see_the_files_is_told_of(tmp_path):
    write_run(tmp_path / "run")
    for path in (tmp_path / "run").iterdir():
        os.utime(path, (1_600_000_000, 1_600_000_000))
    hidden = (
        "mount -t tmpfs none {run} && exec {python} -m distributed.cli.dask_worker {address} "
        "--no-dashboard --nthreads 1 --no-nanny --worker-port 0"
    )
    with LocalCluster(
        n_workers=0, processes=False, dashboard_address=None,
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"}, protocol="tcp",
    ) as them:  # fmt: skip
        blind = hidden.format(
            run=tmp_path / "run", python=sys.executable, address=them.scheduler_address
        )
        with subprocess.Popen(
            ["unshare", "-rm", "sh", "-c", blind],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        ) as worker:  # fmt: skip
            try:
                done = in_process(
                    "analyze", tmp_path / "run", "-o", tmp_path / "out",
                    "--scheduler", them.scheduler_address,
                )  # fmt: skip
            finally:
                os.killpg(worker.pid, signal.SIGKILL)
    assert done.code == 2
    assert re.match(r"Error: .*worker.*", done.err), done.err


def test_the_tasks_of_a_slurm_step_become_a_cluster(tmp_path):
    pytest.importorskip("dask_jobqueue")
    write_run(tmp_path / "run")
    arguments = ["analyze", tmp_path / "run", "-o", tmp_path / "out", "--scheduler", "slurm"]
    processes = [
        subprocess.Popen(
            [COMMAND, *map(str, arguments)], cwd=tmp_path, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=os.environ
            | {"SLURM_PROCID": str(number), "SLURM_NTASKS": "4", "SLURM_JOB_ID": "7"},
        )
        for number in range(4)
    ]  # fmt: skip
    told = [process.communicate(timeout=200) for process in processes]
    assert "12 checkpoints" in told[1][0]
    assert [out for number, (out, _) in enumerate(told) if number != 1] == ["", "", ""]
    assert told[1][1] == ""
    assert processes[1].returncode == 0
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out", "run"]
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == [
        "report.html", "results.zarr", "summary.json",
    ]  # fmt: skip


UNGUARDED = """
import sys, trajscope
print(trajscope.analyze(sys.argv[1], workers=2)["verdict"].attrs["code"])
"""
GUARDED = """
import sys, trajscope
if __name__ == "__main__":
    print(trajscope.analyze(sys.argv[1], workers=2)["verdict"].attrs["code"])
"""


@pytest.mark.parametrize("script", [UNGUARDED, GUARDED], ids=["unguarded", "guarded"])
def test_a_script_without_a_guard_is_told_to_have_one(script, tmp_path):
    write_run(tmp_path / "run")
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py", tmp_path / "run"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if script == GUARDED:
        assert (done.returncode, len(done.stdout.split())) == (0, 1)
        return
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) < 40  # of which one traceback, of the script itself
    assert done.stderr.splitlines()[-1].startswith(
        "trajscope.errors.OptionError: The worker processes ended while they started. A script "
    )
