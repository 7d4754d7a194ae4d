"""The verdict of a result and its decision path, for all weights and every layer, in words."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import xarray as xr

from trajscope.errors import printable
from trajscope.report.content.names import told_apart
from trajscope.report.content.numbers import number, percent
from trajscope.schema import ALL_WEIGHTS, GROUP, STEP

_LIMIT = 1200
UNUSED = "not used"
"""Answer of a test that was made, but says nothing of this path."""


@dataclass(frozen=True)
class Gate:
    """One question of the decision path.

    Attributes
    ----------
    answer :
        "yes" or "no"; empty where there is none.
    finding :
        The number behind the answer, in words; without an answer, why a test
        that was made gives none.
    spoke :
        Whether a test rejected its null here.
    """

    test: str
    question: str
    answer: str = ""
    finding: str = ""
    spoke: bool = False


@dataclass(frozen=True)
class Verdict:
    """The verdict on all weights; everything that came from a file is printable.

    Attributes
    ----------
    code :
        As in summary.json.
    unseen :
        The detection limits of the window.
    proposal :
        A suggested burn-in; empty where none helps.
    gates :
        The decision path.
    method :
        How the null of Brownian motion was drawn.
    evidence :
        p-values and numbers by name, in the order they were found.
    noise :
        How the noise changes: kind, ratio, change_steps; empty where it does not, or was not taken
        apart from the rest.
    """

    code: str
    sentence: str
    alpha: float
    n_surrogates: int
    method: str
    unseen: tuple[str, ...]
    proposal: str
    gates: tuple[Gate, ...]
    evidence: Mapping[str, float]
    noise: Mapping[str, Any] = field(default_factory=dict)

    @property
    def word(self) -> str:
        """The code as it is read."""
        return self.code.replace("_", " ")

    @property
    def basis(self) -> str:
        """Number of draws and significance level, in words."""
        return f"{self.n_surrogates:,} {self.method}, α = {self.alpha:g}"


def verdict(results: xr.DataTree) -> Verdict | None:
    """The verdict on all weights, or `None` where the result was made without tests."""
    told, tested = results["verdict"].attrs, results["tests"].attrs
    if not told.get("code"):
        return None
    alpha = float(told.get("alpha", math.nan))
    evidence = {printable(k): float(v) for k, v in told.get("evidence", {}).items()}
    return Verdict(
        code=printable(told["code"], limit=40),
        sentence=printable(told.get("sentence", ""), limit=_LIMIT),
        alpha=alpha,
        n_surrogates=int(tested.get("n_surrogates", 0)),
        method=printable(tested.get("method") or "draws", limit=40),
        unseen=tuple(printable(text, limit=_LIMIT) for text in told.get("unseen", ())),
        proposal=printable(told.get("proposal", ""), limit=_LIMIT),
        gates=_gates(results, evidence, alpha),
        evidence=evidence,
        noise=told["noise"] if "kind" in told.get("noise", {}) else {},
    )


def codes(results: xr.DataTree) -> dict[str, str]:
    """The verdict of every layer by its name; empty where there is none."""
    return _by_layer(results, "code", 40)


def sentences(results: xr.DataTree) -> dict[str, str]:
    """What is said of every layer, by its name; empty where nothing is."""
    return _by_layer(results, "sentence", _LIMIT)


def _by_layer(results: xr.DataTree, name: str, limit: int) -> dict[str, str]:
    decided = results["verdict"].to_dataset()
    if name not in decided:
        return {}
    pairs = zip(decided[GROUP].values, decided[name].values, strict=True)
    return {
        str(group): printable(value, limit=limit) for group, value in pairs if group != ALL_WEIGHTS
    }


def _gates(results: xr.DataTree, evidence: Mapping[str, float], alpha: float) -> tuple[Gate, ...]:
    path: list[Gate] = []
    for told in results["verdict"].attrs.get("gates", ()):
        if told.get("test") == "circulation":
            path.append(_settled(results, evidence))
        path.append(_gate(told, alpha))
    return tuple(path)


def _gate(told: Mapping[str, object], alpha: float) -> Gate:
    test, question = (printable(told.get(key, ""), limit=40) for key in ("test", "question"))
    answer, p_value = str(told.get("answer", "")), told.get("p_value")
    if answer == UNUSED:
        return Gate(test, question, "", f"{UNUSED}: {printable(told.get('finding', ''), limit=80)}")
    if answer not in {"yes", "no"}:
        return Gate(test, question)
    if isinstance(p_value, (int, float)) and math.isfinite(p_value):
        return Gate(test, question, answer, f"p\u00a0=\u00a0{p_value:.2g}", p_value <= alpha)
    return Gate(test, question, answer)


def _settled(results: xr.DataTree, evidence: Mapping[str, float]) -> Gate:
    """The guard of the test for circulation: whether the window spans enough correlation times."""
    time = evidence.get("correlation_time", math.nan)
    if not time > 0:
        return Gate("settled", "settled?")
    checkpoints = results["trajectory"].sizes[STEP] / results["tests"].attrs.get("stride", 1)
    held = results["verdict"].attrs["code"] != "too_short"
    times = f"{number(checkpoints / time, 2)} correlation times"
    return Gate("settled", "settled?", "yes" if held else "no", times)


def layers_in_words(results: xr.DataTree) -> str:
    """Number of layers by verdict: "2 circulating (conv1, fc2); 6 confined".

    Before it those that stand still at an end of the run.
    """
    by_code: dict[str, list[str]] = {}
    decided = codes(results)
    short = told_apart(list(decided), 24)
    for name, code in zip(short, decided.values(), strict=True):
        by_code.setdefault(code.replace("_", " "), []).append(name)
    if not by_code:
        return ""
    ends = _by_layer(results, "still", _LIMIT).values()
    still = [f"{name} s{said[1:-1]}" for name, said in zip(short, ends, strict=False) if said]
    first = [_first(still)] if still else []
    if len(by_code) == 1:
        ((code, names),) = by_code.items()
        all_of = f"all {len(names):,}: {code}" if len(names) > 1 else f"{names[0]}: {code}"
        return "; ".join([*first, all_of])
    ordered = sorted(by_code.items(), key=lambda item: len(item[1]))
    *fewer, (most, names) = ordered
    parts = [f"{len(few):,} {code} ({_first(few)})" for code, few in fewer]
    return "; ".join([*first, *parts, f"{len(names):,} {most}"])


def exponent_in_words(tests: xr.Dataset, alpha: float) -> str:
    """The diffusion exponent of all weights, and its range for Brownian motion of this length."""
    whole = tests.isel({GROUP: 0})
    found, low, high = (float(whole[f"diffusion_exponent{edge}"]) for edge in ("", "_low", "_high"))
    if not math.isfinite(found):
        return ""
    return (
        f"Diffusion exponent {number(found, 2)} (Brownian motion of this length: "
        f"{number(low, 2)} to {number(high, 2)} in {percent(1 - alpha)} of runs)."
    )


def _first(names: list[str], most: int = 2) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f", {rest:,} more" if rest > 0 else "")
