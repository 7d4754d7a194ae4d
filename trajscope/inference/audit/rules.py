"""The audit: every kind of damage that is looked for, and what follows from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xarray as xr

from trajscope.inference.audit.case import Case, Finding, case_of
from trajscope.inference.audit.copies import identical, identical_tensors, unmoved
from trajscope.inference.audit.course import cast, gap, growth
from trajscope.inference.audit.road import detour, foreign_start, interleaved, jump
from trajscope.measure.evidence import Evidence
from trajscope.schema import AUDIT, NO_VERDICT, STEP


@dataclass(frozen=True)
class Rule:
    """One kind of damage.

    Attributes
    ----------
    kind :
        In summary.json; equal to the kind of all its findings.
    meaning :
        What is seen, in a few words.
    follows :
        What is done about it.
    find :
        ``Case -> findings``.
    """

    kind: str
    meaning: str
    follows: str
    find: Callable[[Case], list[Finding]]

    @property
    def spoils(self) -> bool:
        """Whether checkpoints are left out."""
        return "left out" in self.follows


_LEFT_OUT: Final = "the checkpoint is left out"

RULES: Final = (
    Rule("identical", "checkpoints equal in every weight", "copies are left out", identical),
    Rule("identical_tensors", "tensors that return bit for bit to a state that they had left",
         _LEFT_OUT, identical_tensors),
    Rule("unmoved", "no weight moves before, or after, some step", "all but one are left out",
         unmoved),
    Rule("cast", "all values of a checkpoint fit a narrower dtype than those beside it",
         _LEFT_OUT, cast),
    Rule("foreign_start", "the rest does not descend from the first checkpoint",
         "the first is left out", foreign_start),
    Rule("detour", "a checkpoint far off the road between its neighbours", _LEFT_OUT, detour),
    Rule("jump", "one increment holds most of the squared path", "no verdict", jump),
    Rule("interleaved", "every second of closer checkpoints lies on another path", "no verdict",
         interleaved),
    Rule("gap", "a spacing of checkpoints far above those beside it", "told", gap),
    Rule("growth", "the norm of the weights grows exponentially", "told", growth),
)  # fmt: skip
"""In the order of the findings; `nonfinite` is found by the pass itself."""

_MOST_SPOILT: Final = 0.5
"""Share of the checkpoints beyond which none are left out: the rest is no sample of the run.

Neighbours that are alike do not count: without them the rest holds every state of the run."""


@dataclass(frozen=True)
class Audit:
    """What is wrong with one run.

    Attributes
    ----------
    spoilt :
        Checkpoints to be left out, by number from 0, and why; none where these are most of them.
    no_verdict :
        Why no verdict can be given on any part of the run; empty where one can.
    """

    findings: tuple[Finding, ...]
    spoilt: Mapping[int, str]
    no_verdict: str


def audit(trajectory: xr.Dataset, evidence: Evidence) -> Audit:
    """What is wrong with a trajectory that was gone over."""
    case = case_of(trajectory, evidence)
    findings: list[Finding] = []
    spoilt: dict[int, str] = {}
    with np.errstate(all="ignore"):
        for rule in RULES:
            if rule.kind == "detour" and spoilt:
                continue  # between copies, a checkpoint in place is off the road: the next round
            for finding in rule.find(case):
                findings.append(finding)
                spoilt |= {row: finding.detail for row in finding.spoilt if row not in spoilt}
    n = len(case.steps)
    waited = [each for each in findings if each.kind == "identical" and _is_stretch(each.rows)]
    lost = spoilt.keys() - {row for each in waited for row in each.spoilt}
    if len(lost) > _MOST_SPOILT * n or n - len(spoilt) < 2:
        why = f"{len(spoilt)} of {n} checkpoints are spoilt, too many for a verdict on the others."
        return Audit(tuple(findings), {}, f"{why} None is left out; the audit lists them.")
    return Audit(tuple(findings), dict(sorted(spoilt.items())), "")


def _is_stretch(rows: tuple[int, ...]) -> bool:
    return rows[-1] - rows[0] == len(rows) - 1


def told(found: Audit, trajectory: xr.Dataset) -> list[dict[str, Any]]:
    """The findings as a result and summary.json hold them, with those of earlier rounds.

    While checkpoints are left out, what only concerns the others waits for the next round; but
    gaps are those of the first.
    """
    steps = trajectory[STEP].values
    known = list(trajectory.attrs.get(AUDIT, ()))
    waits = [rule.kind for rule in RULES if not rule.spoils and rule.kind != "gap"]
    new = [
        {
            "kind": each.kind,
            "steps": [steps[row].item() for row in each.rows],
            "tensors": list(each.tensors),
            "detail": each.detail,
        }
        for each in found.findings
        if not (found.spoilt and each.kind in waits) and not (known and each.kind == "gap")
    ]
    return [*known, *(each for each in new if each not in known)]


def withheld(trajectory: xr.Dataset) -> str:
    """Why there is no verdict on a trajectory, or a part of it, that was audited; else empty."""
    steps = trajectory[STEP].values
    kinds = {rule.kind for rule in RULES if rule.follows == "no verdict"}
    why = [
        each["detail"]
        for each in trajectory.attrs.get(AUDIT, ())
        if each["kind"] in kinds and np.isin(each["steps"], steps).all()
    ]
    return str(trajectory.attrs.get(NO_VERDICT) or " ".join(why))
