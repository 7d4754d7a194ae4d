"""Fuzz one target with coverage: python -m tests.fuzz header -max_total_time=60."""

import sys

import atheris

with atheris.instrument_imports(include=["trajscope"]):
    from tests.fuzz.targets import TARGETS, run


def main() -> None:
    """Mutate the target's seeds until time is up or an input breaks it."""
    import tempfile
    from pathlib import Path

    target = next(target for target in TARGETS if target.name == sys.argv[1])
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(target.seeds):
            (Path(corpus) / str(number)).write_bytes(seed)
        arguments = [sys.argv[0], corpus, "-timeout=10", "-rss_limit_mb=2048", *sys.argv[2:]]
        atheris.Setup(arguments, lambda data: run(target, data))
        atheris.Fuzz()


main()
