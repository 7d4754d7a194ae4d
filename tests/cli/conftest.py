import pytest

from tests.cli.running import Finished, write_run
from trajscope.cli import main


@pytest.fixture
def trajscope(capsys):
    """The command as a function: what a process adds, other tests show."""

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments], prog_name="trajscope")
        return Finished(end.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def run(tmp_path):
    """A folder of twelve good checkpoints."""
    folder = tmp_path / "run"
    write_run(folder)
    return folder


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"
