"""What a confined path does at whole epochs, over which batches cancel no noise of each other."""

from dataclasses import replace
from typing import Final

from trajscope.inference.course.apart import Found
from trajscope.inference.decision.alone import FEWER_SURROGATES, taken_apart
from trajscope.inference.decision.order import FEWEST_CHECKPOINTS
from trajscope.inference.decision.settings import Decision, DecisionSettings
from trajscope.inference.decision.verdict import decide
from trajscope.inference.decision.words import Run, number
from trajscope.inference.statistics.window import Window

_MEETS: Final = 0.02
"""Of an epoch, by which a multiple of the spacing may miss it."""
_CONFINED: Final = ("confined", "circulating")


def at_epochs(
    run: Run, window: Window, decision: Decision, found: Found | None, settings: DecisionSettings
) -> tuple[str | None, str]:
    """The verdict on checkpoints a whole epoch apart, and a sentence on it.

    Batches that are drawn without replacement add up to the same gradient in every epoch, so their
    noise cancels within it, which confines a path as a well does; between whole epochs it does not.
    No verdict where the length of an epoch is unknown, or checkpoints do not meet it, or are too
    few; no sentence where the path is not confined, or checkpoints are an epoch apart anyhow.
    """
    code = decision.code if found is None else found.rest.code
    time = (decision if found is None else found.rest).evidence.get("correlation_time")
    epoch, spacing = run.epoch_steps, run.spacing
    is_asked = code in _CONFINED and run.unit == "step" and time is not None
    if not is_asked or epoch is None or spacing is None or spacing > epoch / 2:
        return None, ""
    stride = round(epoch / spacing)
    held = (window.n_steps - 1) // stride + 1
    within = (
        f"Batches drawn without replacement cancel their noise within an epoch of {number(epoch)} "
        "steps, which confines as a well does"
    )
    if abs(stride * spacing - epoch) > _MEETS * epoch:
        return None, f"{within}; no checkpoints are an epoch apart."
    if held < FEWEST_CHECKPOINTS:
        few = f"the window holds {held} checkpoints an epoch apart, {FEWEST_CHECKPOINTS} are needed"
        return None, f"{within}; {few}."
    fewer = replace(settings, n_surrogates=min(settings.n_surrogates, FEWER_SURROGATES))
    coarse = window.coarser(stride)
    own = replace(run, steps=run.steps[::stride], spacing=stride * spacing, learning_rate=None)
    decided = decide(coarse, fewer)
    apart = taken_apart(own, coarse, decided, fewer)
    said = decided.code if apart is None else apart.rest.code
    return said, f"{within}; at whole epochs ({held} checkpoints) the path is: {said}."
