"""The example of a tiny GPT: its table, computed again from the checkpoints it wrote."""

import re

import numpy as np
from safetensors.numpy import load_file

from tests.examples.test_problems import example


def test_the_table_of_layers_is_that_of_the_checkpoints(tmp_path, capsys):
    example("gpt_layers").main(["--out", str(tmp_path / "gpt"), "--steps", "100"])
    lines = capsys.readouterr().out.splitlines()
    files = sorted((tmp_path / "gpt").iterdir(), key=lambda path: int(path.stem.split("-")[-1]))
    first, last = load_file(files[0])["head.weight"], load_file(files[-1])["head.weight"]
    (head,) = (line for line in lines if line.startswith("head "))
    ratio, angle, *_ = (float(each) for each in re.findall(r"[0-9.]+", head))
    norms = np.linalg.norm(first), np.linalg.norm(last)
    assert abs(ratio - norms[1] / norms[0]) < 0.006
    cosine = np.sum(first * last) / np.prod(norms)
    assert abs(angle - np.degrees(np.arccos(cosine))) < 0.6
    ranks = [np.sum(values**2) / values[0] ** 2 for values in map(np.linalg.svdvals, (first, last))]
    assert head.endswith("{:.1f} to {:.1f}".format(*ranks))
    assert len(files) == 21
