"""What axe-core finds on pages in headless Chromium: nox -s accessibility."""

import html
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from judged_results import judge
from noise_results import noise, with_noise
from simulated_results import brownian
from test_html import chromium, hostile_results

import trajscope
from trajscope.report import write_report

AXE = os.environ.get("AXE", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not AXE, reason="AXE names no axe.min.js: nox -s accessibility"),
]
RUN = """
document.documentElement.dataset.theme = "THEME";
axe.run(document).then(found => {
  const told = found.violations.map(v => [v.impact, v.id, v.nodes.map(n => n.html.slice(0, 200))]);
  document.documentElement.innerHTML = "<pre id=axe></pre>";
  document.getElementById("axe").textContent = JSON.stringify([found.passes.length, told]);
});
"""


def with_layers():
    return judge(brownian(64, 100))


def compared():
    one, other = np.random.default_rng(0).standard_normal((2, 64, 20)).cumsum(axis=1)
    return trajscope.compare(one, other, n_surrogates=199)


def many_layers():
    tensors = {
        f"model.layers.{i // 4}.self_attn.{'qkvo'[i % 4]}_proj.weight": 4 for i in range(300)
    }
    return judge(brownian(64, 1200), tensors=tensors)


def few_checkpoints():
    return trajscope.analyze(brownian(5, 100), n_surrogates=199)


def phases():
    x = brownian(200, 100)
    x[100:] = x[99] + brownian(100, 100, seed=1) / 30
    return trajscope.analyze(x, n_surrogates=199)


def gradients_and_theory():
    from tests.theory.problems import SETTINGS, problem_of, quadratic, run_of

    run = run_of(quadratic(), SETTINGS["plain"], n_steps=400)
    found = with_noise(trajscope.analyze(run, n_surrogates=199), noise())
    found["dynamics"] = trajscope.dynamics(run, problem_of(quadratic()), SETTINGS["plain"])
    return found


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [500, 1400])
@pytest.mark.parametrize("make", [
    with_layers, hostile_results, compared, many_layers, few_checkpoints, phases,
    gradients_and_theory,
])  # fmt: skip
def test_a_page_has_no_violation(make, width, theme, tmp_path):
    page = write_report(make(), tmp_path / "out")
    # The page's policy forbids scripts of others, this one as well.
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text("utf-8"))
    axe = Path(AXE).read_text(encoding="utf-8")
    scripts = f"<script>{axe}</script><script>{RUN.replace('THEME', theme)}</script></body>"
    page.write_text(text.replace("</body>", scripts), encoding="utf-8")
    shown = chromium(
        page, tmp_path / "profile", f"--window-size={width},900", "--virtual-time-budget=60000",
        "--dump-dom",
    )  # fmt: skip
    (found,) = re.findall(r'<pre id="axe">(.*?)</pre>', shown.stdout, re.DOTALL)
    passed, violations = json.loads(html.unescape(found))
    assert passed > 10
    assert violations == []
