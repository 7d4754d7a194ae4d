"""A cluster of many workers on one machine, two processes beside two passes, and what follows.

    python benchmarks/scale.py                 # T = 200 x 6e8, 480 GB in sparse files
    python benchmarks/scale.py --scale 0.02    # 9.6 GB, cut into as many tasks as the whole

Files of the large run are sparse: all but a 250th of its weights are zeros that take no room on a
disk. Those of the other are random walks. 64 workers are threads of eight processes, the scheduler
is a process of its own, so that the processor time of each is the operating system's figure.
docs/scale.md holds what was printed.
"""

import argparse
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

N_STEPS, N_WEIGHTS, N_WORKERS, N_PROCESSES = 200, 600_000_000, 64, 8
N_STRETCHES = 8
PAIR_WEIGHTS, ROUNDS = 5_000_000, 3
MEMORY = "1GiB"

WORKERS = """
import asyncio, sys, warnings
from distributed import Worker
from trajscope.measure import room

async def main():
    workers = [Worker(sys.argv[1], nthreads=1, memory_limit=0, dashboard_address=":0")
               for _ in range(int(sys.argv[2]))]
    for each in workers:
        await each
    print("ready", flush=True)
    await asyncio.gather(*(each.finished() for each in workers))

asyncio.run(main())
"""

PASS = """
import sys, time
from trajscope.measure import awaiting, plan, room, trees
from contextlib import nullcontext
from trajscope.measure.executor import _threads, executor
from trajscope.measure.measurement import measure
from trajscope.trajectory import open_trajectory

run, scheduler, workers, share, memory = sys.argv[1:6]
# As many tasks as the whole would have.
plan.MIB = max(int(plan.MIB * float(share)), 1)
room._BLOCK_BYTES = max(int(room._BLOCK_BYTES * float(share)), 1)
sent, most = 0, 0
send = awaiting.Awaited._send

def counted(self, waiting):
    global sent, most
    before = len(self.running)
    ahead = list(waiting)
    send(self, waiting)
    sent += sum(len(value.dask) for _, value in ahead[: len(ahead) - len(waiting)])
    most = max(most, (len(self.running) + len(self.found)) * len(ahead[0][1].dask) if ahead else 0)

awaiting.Awaited._send = counted

if __name__ == "__main__":
    trajectory = open_trajectory(run)
    alone = nullcontext(_threads(1))
    cluster = workers != "0" or scheduler
    # On few cores, the first task of each of many workers ends when nearly all are done.
    on_cluster = executor(int(workers) or None, scheduler or None, stall=1e6)
    with on_cluster if cluster else alone as running:
        print("ready", flush=True)
        sys.stdin.readline()
        cpu, began = time.process_time(), time.perf_counter()
        from trajscope.measure.resources import parse_bytes
        (found,) = measure(
            trajectory, running, memory=parse_bytes(memory), seed=0, progress=lambda *_: None
        )
        moved = float(found.observables["displacement"][0, -1])
        spent = time.process_time() - cpu
        print(time.perf_counter() - began, spent, sent, most, moved, flush=True)
        sys.stdin.readline()
"""


def write_run(folder: Path, n_weights: int, stretches: Sequence[tuple[int, int]]) -> float:
    """A run of zeros, but for random walks in some stretches of weights; how far these went."""
    folder.mkdir()
    tensor = {"dtype": "F32", "shape": [n_weights], "data_offsets": [0, 4 * n_weights]}
    header = json.dumps({"w": tensor}).encode()
    random = np.random.default_rng(0)
    walks = [np.zeros(stop - start, np.float32) for start, stop in stretches]
    origin: list[NDArray[np.float32]] = []
    for step in range(N_STEPS):
        with (folder / f"step-{step}.safetensors").open("wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            for (start, _), walk in zip(stretches, walks, strict=True):
                np.add(walk, random.standard_normal(len(walk), np.float32), out=walk)
                file.seek(8 + len(header) + 4 * start)
                file.write(walk)
            file.truncate(8 + len(header) + 4 * n_weights)
        origin = origin or [walk.copy() for walk in walks]
    ends = [np.subtract(a, b, dtype=np.float64) for a, b in zip(walks, origin, strict=True)]
    return sum(float(each @ each) for each in ends) ** 0.5


class Pass:
    """A pass in a process of its own, which waits until it is told to go."""

    def __init__(
        self, run: Path, *, scheduler: str = "", workers: int = 0, share: float = 1.0
    ) -> None:
        script = run.parent / "pass.py"
        script.write_text(PASS)
        environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
        self.process = subprocess.Popen(
            [sys.executable, script, run, scheduler, str(workers), str(share), MEMORY],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def go(self) -> None:
        """Begin."""
        self.say()

    def say(self) -> None:
        """Let it go on."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def told(self) -> list[float]:
        """Wall and processor seconds, tasks sent, most at once, displacement; it ends."""
        assert self.process.stdout is not None
        numbers = [float(each) for each in self.process.stdout.readline().split()]
        self.spent = spent(self.process.pid)
        self.say()
        self.process.wait()
        return numbers


def spent(pid: int) -> float:
    """Processor seconds of a process and of those that it has started."""
    process = psutil.Process(pid)
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def many_workers(folder: Path, scale: float) -> None:
    """64 workers on the sparse run."""
    n_weights = int(N_WEIGHTS * scale)
    own = n_weights // 250 // N_STRETCHES
    stretches = [(n, n + own) for n in range(0, n_weights - own, n_weights // N_STRETCHES)]
    distance = write_run(folder / "large", n_weights, stretches)
    file = folder / "scheduler.json"
    begin = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    quiet = {"stderr": subprocess.DEVNULL}
    with subprocess.Popen(
        [*begin, "--no-dashboard", "--port", "0", "--host", "127.0.0.1", "--scheduler-file", file],
        stdout=subprocess.DEVNULL, **quiet,
    ) as scheduler:  # fmt: skip
        while not file.exists():
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        command = [sys.executable, "-c", WORKERS, address, str(N_WORKERS // N_PROCESSES)]
        workers = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **quiet)
            for _ in range(N_PROCESSES)
        ]
        for each in workers:
            assert each.stdout is not None
            each.stdout.readline()
        try:
            pids = [each.pid for each in workers]
            job = Pass(folder / "large", scheduler=str(file), share=scale)
            before = [spent(scheduler.pid), sum(map(spent, pids))]
            held = sum(psutil.Process(pid).memory_info().rss for pid in pids)
            job.go()
            peak = watched(job, pids)
            wall, client, sent, most, moved = job.told()
            of_scheduler, of_workers = spent(scheduler.pid), sum(map(spent, pids))
        finally:
            for each in (*workers, scheduler):
                each.kill()
    of_scheduler, of_workers = of_scheduler - before[0], of_workers - before[1]
    total = of_scheduler + of_workers + client
    print(f"\n### {N_WORKERS} workers, {N_STEPS} checkpoints x {n_weights:,} weights\n")
    print("| what | |\n|---|---|")
    print(f"| weights | {4e-9 * N_STEPS * n_weights:.1f} GB |")
    print(f"| displacement over that of what was written, less 1 | {moved / distance - 1:.0e} |")
    print(f"| tasks sent, in all and for each worker | {sent:.0f}, {sent / N_WORKERS:.1f} |")
    print(f"| most at once, for each worker | {most / N_WORKERS:.1f} |")
    print(
        f"| memory of each worker above its start | {(peak - held) / N_WORKERS / 2**20:.0f} MiB |"
    )
    print(f"| processor s: workers | {of_workers:.1f} |")
    print(f"| scheduler | {of_scheduler:.2f} ({of_scheduler / total:.1%}) |")
    print(f"| client | {client:.2f} ({client / total:.1%}) |")
    print(f"| processor ns for each number read | {1e9 * of_workers / N_STEPS / n_weights:.2f} |")
    print(f"| wall s on {os.cpu_count()} cores | {wall:.0f} |")


def watched(job: Pass, pids: Sequence[int]) -> int:
    """The most memory that processes hold together until the job says its numbers."""
    import selectors

    peak, waiting = 0, selectors.DefaultSelector()
    assert job.process.stdout is not None
    waiting.register(job.process.stdout, selectors.EVENT_READ)
    while not waiting.select(0.2):
        peak = max(peak, sum(psutil.Process(pid).memory_info().rss for pid in pids))
    return peak


def two_workers(folder: Path, scale: float) -> None:
    """Two local workers beside two independent passes over a half each, in turn."""
    n_weights = int(PAIR_WEIGHTS * scale)
    for name, count in (("whole", n_weights), ("half", n_weights // 2)):
        write_run(folder / name, count, [(0, count)])
    walls: dict[str, list[float]] = {"pair": [], "workers": []}
    cpu: dict[str, list[float]] = {"pair": [], "workers": []}
    for _ in range(ROUNDS):
        passes = [Pass(folder / "half") for _ in range(2)]
        before = [spent(each.process.pid) for each in passes]
        for each in passes:
            each.go()
        walls["pair"].append(max(each.told()[0] for each in passes))
        cpu["pair"].append(sum(each.spent for each in passes) - sum(before))
        one = Pass(folder / "whole", workers=2)
        begun = spent(one.process.pid)
        one.go()
        walls["workers"].append(one.told()[0])
        cpu["workers"].append(one.spent - begun)
    wall, work = (
        {name: statistics.median(each) for name, each in found.items()} for found in (walls, cpu)
    )
    print(f"\n### Two processes, {N_STEPS} checkpoints x {n_weights:,} weights\n")
    print("| | two passes over a half each | two local workers | ratio |\n|---|---|---|---|")
    for what, found in (("wall s", wall), ("processor s", work)):
        ratio = found["pair"] / found["workers"]
        print(f"| {what} | {found['pair']:.1f} | {found['workers']:.1f} | {ratio:.2f} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    scale = parser.parse_args().scale
    with tempfile.TemporaryDirectory() as folder:
        many_workers(Path(folder), scale)
        two_workers(Path(folder), min(1.0, 50 * scale))


if __name__ == "__main__":
    main()
