"""How the tests run the command, and the folders of checkpoints that they run it on."""

import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import save_file

COMMAND = Path(sys.executable).parent / "trajscope"
SHAPES = {"fc1.weight": (5, 4), "fc1.bias": (5,), "fc2.weight": (3, 5)}
N_WEIGHTS = 40


class Finished(NamedTuple):
    code: int
    out: str
    err: str


def in_process(*arguments, **options):
    """The real command in a process of its own, to its end."""
    done = subprocess.run(
        [COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def on_terminal(*arguments, columns=80, environment=None, pipe_output=False):
    """What the command sends to a terminal of this width, escape sequences included."""
    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (40, columns))
    surroundings = {name: value for name, value in os.environ.items() if name not in TERMINAL}
    with subprocess.Popen(
        [COMMAND, *map(str, arguments)],
        stdin=end,
        stdout=subprocess.DEVNULL if pipe_output else end,
        stderr=end,
        env=surroundings | {"TERM": "xterm", "PYTHONUTF8": "1"} | (environment or {}),
    ) as process:
        os.close(end)
        sent = b""
        while piece := _piece(terminal):
            sent += piece
    os.close(terminal)
    assert process.returncode == 0
    return sent.decode()


TERMINAL = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TERM", "PYTHONIOENCODING")


def _piece(terminal):
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # all who could write to it are gone
        return b""


def shown(sent):
    """Lines that stand on a terminal in the end: cursor movements and erasures carried out."""
    lines, row, column = [""], 0, 0
    for token in re.findall(r"\x1b\[[\d;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", sent):
        if token == "\r":
            column = 0
        elif token == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif token == "\x1b[2K":
            lines[row] = ""
        elif up := re.fullmatch(r"\x1b\[(\d+)A", token):
            row -= int(up[1])
        elif not token.startswith("\x1b"):
            line = lines[row].ljust(column)
            lines[row] = line[:column] + token + line[column + len(token) :]
            column += len(token)
    return lines


def write_run(folder, n_steps=12, *, spacing=10, shapes=SHAPES, name="step-{}.safetensors", seed=0):
    """Random walks from zero, one checkpoint every `spacing` steps; (step, weight) as written."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    tensors = {key: np.zeros(shape, np.float32) for key, shape in shapes.items()}
    written = []
    for t in range(n_steps):
        save_file(tensors, folder / name.format(t * spacing), {"step": str(t * spacing)})
        written.append(np.concatenate([tensors[key].ravel() for key in sorted(tensors)]))
        tensors = {
            key: np.asarray(values + rng.standard_normal(values.shape, np.float32))
            for key, values in tensors.items()
        }
    return np.array(written)


def cut(path, n_bytes=50):
    """Take the last bytes from a file, as a trainer that was killed does."""
    os.truncate(path, path.stat().st_size - n_bytes)


def write_large_run(folder, n_steps, n_weights):
    """Checkpoints of zeros that take no room on the disk and seconds to read."""
    folder.mkdir(parents=True)
    tensor = {"dtype": "F32", "shape": [n_weights], "data_offsets": [0, 4 * n_weights]}
    header = json.dumps({"w": tensor}).encode()
    for step in range(n_steps):
        path = folder / f"step-{step}.safetensors"
        path.write_bytes(struct.pack("<Q", len(header)) + header)
        os.truncate(path, 8 + len(header) + 4 * n_weights)


def report_in(folder):
    """Every file below `folder` and its bytes."""
    return contents(folder) if folder.exists() else {}


def contents(folder):
    """Every file below `folder` and its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def interruptible(command, **how):
    """A process that can be interrupted, as one that a terminal starts."""
    # Tests that a shell runs in the background ignore interrupts, and their children would too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, **how)
    finally:
        signal.signal(signal.SIGINT, before)
