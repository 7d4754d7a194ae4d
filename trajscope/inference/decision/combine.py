"""The verdicts on a run: on all its weights and on every layer, with details."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

from trajscope.inference.course.apart import Found
from trajscope.inference.course.clock import NoiseCourse, followed
from trajscope.inference.decision.alone import detail_of, rate_of, taken_apart
from trajscope.inference.decision.epochs import at_epochs
from trajscope.inference.decision.loops import leading_path
from trajscope.inference.decision.order import FEWEST_CHECKPOINTS
from trajscope.inference.decision.parts import shares
from trajscope.inference.decision.phases import Phase, find_phases
from trajscope.inference.decision.settings import Decision, DecisionSettings
from trajscope.inference.decision.verdict import decide, decide_together
from trajscope.inference.decision.words import Detail, Run, strongest
from trajscope.inference.statistics.current import Current, describe_current
from trajscope.inference.statistics.window import Window

_CUTS: Final = (0.1, 0.2, 1 / 3, 0.5)
"""Shares of the window that are tried as a burn-in."""
_WITH_ONE_LAYER: Final = 2
"""Windows: all weights, and a layer that is the same."""
_FEW_BLOCKS: Final = 2000
"""Intervals of a coarse look at a long window."""
_SETTLED: Final = ("brownian", "confined", "circulating", "oscillating")


@dataclass(frozen=True)
class RunDecision:
    """The decisions on all groups of a run, all weights first.

    Attributes
    ----------
    windows :
        Of layers, without ends at which they stand still.
    spans :
        Numbers of each window's first checkpoint, and of that after its last.
    current :
        Of all weights, where circulation was tested.
    burn_in :
        Checkpoints after which the rest is one steady state; 0 where none helps.
    proposal :
        The same in words; empty where none helps.
    found :
        All weights taken apart into noise, course and rest; `None` where they were not.
    followed :
        The noise, where it follows a learning rate that comes and goes, which no test sees.
    shares :
        Of the course's squares, what each layer holds.
    phases :
        Of all weights; none where nothing changes, or they were not asked for.
    epochs :
        The verdict at whole epochs, `None` where there is none, and a sentence on it.
    """

    run: Run
    names: Sequence[str]
    windows: Sequence[Window]
    spans: Sequence[tuple[int, int]]
    decisions: Sequence[Decision]
    settings: DecisionSettings
    details: Sequence[Detail]
    current: Current | None
    burn_in: int
    proposal: str
    found: Found | None
    followed: NoiseCourse | None
    shares: Mapping[str, float]
    phases: Sequence[Phase] = ()
    epochs: tuple[str | None, str] = (None, "")

    @property
    def why_noise_is_unused(self) -> str:
        """Why the test of constant noise says nothing of all weights; empty where it does."""
        if self.found is not None and self.found.is_smooth:
            return "nothing here may be noise"
        return "" if self.followed is None else "it follows the learning rate"


def decide_run(
    run: Run,
    names: Sequence[str],
    windows: Sequence[Window],
    settings: DecisionSettings,
    *,
    in_phases: bool = False,
) -> RunDecision:
    """The verdicts on all weights and on every layer, with details.

    p-values of layers are corrected for the number of layers, and come from no more draws than the
    level needs, 199 at 0.01, and above 512 intervals from no more than 2^17 numbers each; all
    weights are tested separately. A layer that is frozen at first, or from some step on, is judged
    where it moves.

    Parameters
    ----------
    names, windows :
        Of all weights, then of every layer.
    in_phases :
        Whether changes are looked for, and what lies between them is decided too.
    """
    if len(windows) == _WITH_ONE_LAYER:  # which holds all weights
        windows = [windows[0], windows[0]]
    fewer = settings.of_a_part
    spans = [(0, each.n_steps) if each is windows[0] else each.moving() for each in windows]
    judged = [
        each.part(*span) if each.n_steps > span[1] - span[0] else each
        for each, span in zip(windows, spans, strict=True)
    ]
    beside = ThreadPoolExecutor(1)
    try:
        waited = beside.submit(decide, windows[0], settings)
        layers = decide_together(judged[1:], fewer) if len(windows) > _WITH_ONE_LAYER else []
        whole = waited.result()
    finally:
        beside.shutdown(wait=False)  # an interruption need not see the end of it
    if len(windows) == _WITH_ONE_LAYER:
        layers = [whole]
    decisions = [whole, *layers]
    current = _current(windows[0], whole, settings)
    drifts = {
        name: each.evidence.get("drift", 1.0) for name, each in zip(names[1:], layers, strict=True)
    }
    details = [detail_of(*each, settings) for each in zip(judged, decisions, strict=True)]
    details[0] = replace(details[0], drifting_layers=strongest(drifts, settings.alpha))
    if current is not None and whole.code == "circulating":
        details[0] = replace(
            details[0],
            period=current.period,
            period_interval=current.period_interval,
            per_relaxation=current.per_relaxation,
            entropy_production=current.entropy_production,
            entropy_interval=current.entropy_interval,
        )
    found = taken_apart(run, windows[0], whole, settings)
    burn_in, proposal = 0, ""
    if found is None or not found.is_smooth:
        burn_in, proposal = _proposal(run, windows[0], whole, settings)
    details[0] = replace(details[0], is_curved=found is not None and found.is_curved)
    unseen = "change" not in whole.evidence and windows[0].lengths is None
    noise = followed(windows[0].increments, rate_of(run)) if unseen else None
    own = (
        {}
        if found is None
        else shares(
            found, {name: w.increments for name, w in zip(names[1:], windows[1:], strict=True)}
        )
    )
    epochs = at_epochs(run, windows[0], whole, found, settings)
    phases = find_phases(run, windows[0], whole, found, settings) if in_phases else ()
    return RunDecision(
        run, names, judged, spans, decisions, settings, details, current, burn_in, proposal, found,
        noise, own, phases, epochs,
    )  # fmt: skip


def _current(window: Window, decision: Decision, settings: DecisionSettings) -> Current | None:
    if "circulation" not in decision.evidence:
        return None
    return describe_current(leading_path(window), settings.seed)


def _may_be_settled(window: Window, settings: DecisionSettings) -> bool:
    """Whether a long window is settled in some thousands of blocks, which takes much less time."""
    stride = len(window.increments) // _FEW_BLOCKS
    if stride < 2 or window.lengths is not None or window.even is not None:
        return True
    return decide(window.coarser(stride), settings).code in _SETTLED


def _proposal(
    run: Run, window: Window, decision: Decision, settings: DecisionSettings
) -> tuple[int, str]:
    """The shortest of a few burn-ins after which the rest is one steady state, also in words."""
    if decision.code not in ("drifting", "noise_scale_changes"):
        return 0, ""
    n = window.n_steps
    cuts = [round(share * n) for share in _CUTS]
    if decision.code == "noise_scale_changes":
        cuts = sorted({round(decision.evidence["change"]) + 1, *cuts})
    fewer = settings.of_a_part
    for cut in cuts:
        if n - cut < FEWEST_CHECKPOINTS:
            break
        rest = window.after(cut)
        if not _may_be_settled(rest, fewer):
            continue
        decided = decide(rest, fewer)
        if decided.code in _SETTLED:
            return cut, (
                f"Suggested burn-in: the first {cut} of {n} checkpoints "
                f"(--steps {run.steps[cut].item()}:). The rest is {decided.code}."
            )
    return 0, ""
