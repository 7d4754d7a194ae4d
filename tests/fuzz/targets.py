"""What is fuzzed: bytes in, and nothing but a result or a deliberate error out."""

import atexit
import pickle
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trajscope.checkpoints.base import Candidate, CheckpointPart, FoundFile
from trajscope.checkpoints.names import read_name
from trajscope.checkpoints.steps import find_steps
from trajscope.errors import CheckpointError, TrajectoryError
from trajscope.readers import safetensors
from trajscope.readers.base import Header
from trajscope.readers.torch.unpickler import parse_pickle

_MEMORY = Path("/dev/shm")  # where there is one, thousands of small files a second
_FOLDER = Path(tempfile.mkdtemp("-fuzz", "trajscope-", _MEMORY if _MEMORY.is_dir() else None))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)
_FILE = _FOLDER / "fuzzed.safetensors"


@dataclass(frozen=True)
class Target:
    """One reader; `seeds` are inputs that it accepts, to begin with."""

    name: str
    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


def header(data: bytes) -> None:
    """A safetensors file: what is accepted lies inside the file, without overlap."""
    _FILE.write_bytes(data)
    try:
        found = safetensors.READER.read_header(_FILE)
    except CheckpointError:
        return
    ends = 0
    for spec in sorted(found.tensors.values(), key=lambda spec: spec.offset):
        assert spec.offset >= ends
        ends = spec.offset
    assert ends <= len(data)


def pickled(data: bytes) -> None:
    """A pickle."""
    try:
        parse_pickle(data)
    except CheckpointError:
        return


def steps(data: bytes) -> None:
    """Names, one a line, each with a line of metadata behind a tab."""
    candidates = []
    for line in dict.fromkeys(data.decode("utf-8", "replace").split("\n")):
        relative, _, value = line.partition("\t")
        if relative:
            path = _FOLDER / "none" / str(len(candidates))
            file = FoundFile(path, relative, 0, 0, (0, len(candidates)))
            part = CheckpointPart(file, safetensors.READER, Header({}, {"step": value}))
            candidates.append(Candidate(path, relative, read_name(relative, ""), (part,)))
    if len(candidates) < 2:
        return
    try:
        found = find_steps(candidates, _FOLDER)
    except TrajectoryError:
        return
    assert len(found.values) == len(candidates)
    assert all(abs(value) <= 2**53 or isinstance(value, int) for value in found.values)


def _safetensors(text: str, n_bytes: int) -> bytes:
    return len(text).to_bytes(8, "little") + text.encode() + bytes(n_bytes)


TARGETS = (
    Target(
        "header",
        header,
        (
            _safetensors('{"w":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}', 8),
            _safetensors(
                '{"__metadata__":{"step":"3"},"a":{"dtype":"BF16","shape":[],"data_offsets":[0,2]}}',
                2,
            ),
        ),
    ),
    Target(
        "pickled",
        pickled,
        tuple(
            pickle.dumps({"a": [1, 2.5, ("x", b"y", {3})], "b": Path("z")}, protocol)
            for protocol in range(6)
        ),
    ),
    Target(
        "steps",
        steps,
        (
            b"epoch=1-step=20.ckpt\t20\nepoch=2-step=40.ckpt\t40",
            b"step_10/model\nstep_20/model\nmodel_1e-05_3k.pt",
        ),
    ),
)


def run(target: Target, data: bytes) -> None:
    """One input; warnings are errors, as in the tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        target.run(data)
