"""Pages of the site that are made from records: gallery, catalogue, API (python docs/pages.py)."""

import shutil
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DOCS: Final = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))  # the processes of docs/verdicts.md are those of the tests

from real_runs import RECIPES, Recipe  # noqa: E402

import trajscope  # noqa: E402
from tests.sentences import SAID, Said  # noqa: E402
from tests.tables import catalogue_table as tests_table  # noqa: E402
from tests.tables import matrices_table, numbers_table, observables_table, scalars_table  # noqa: E402
from trajscope import analyze, plot, simulate, write_report  # noqa: E402
from trajscope.report.figures.catalogue import FIGURES  # noqa: E402
from trajscope.report.figures.parts import PARTS  # noqa: E402

MADE: Final = DOCS / "made"
"""Made pages; `_extra` beside it holds whole reports, which the site takes as they are."""


@dataclass(frozen=True)
class Question:
    """What a reader wants to know, and the verdicts that answer it.

    Attributes
    ----------
    code, meaning :
        A verdict, and what it means, in a sentence.
    """

    asked: str
    answers: tuple[tuple[str, str], ...]


QUESTIONS: Final = (
    Question("Is my window long enough to say anything?", (
        ("too_short", "The window cannot answer; the sentence says how many checkpoints would."),
    )),
    Question("Is the movement anything but noise?", (
        ("brownian", "Nothing tells the path from Brownian motion of the same length."),
        ("anomalous", "It spreads faster or slower than a random walk on every time scale."),
    )),
    Question("Is training still going somewhere?", (
        ("drifting", "The path moves in one direction more than its noise explains."),
        ("course", "A slow course, and a movement about it which is judged on its own."),
        ("diverging", "Increments grow exponentially."),
    )),
    Question("Has it settled?", (
        ("confined", "Mean-reverting, and reversible in time as far as this window can tell."),
    )),
    Question("Does it go round instead of settling?", (
        ("circulating", "Confined, and rotating in one direction on average."),
        ("oscillating", "A spectral peak: a cycle, or the ringing of an optimizer."),
        ("alternating", "One direction turns over at every checkpoint, at the edge of stability."),
    )),
    Question("Did the noise change on the way?", (
        ("noise_scale_changes", "One noise variance does not fit the whole window."),
    )),
)  # fmt: skip
"""In the order in which a reader asks."""
_NOT_TRAINED: Final = (
    "*Trained:* on the machine that made this page no short training gave this verdict; it stands "
    "on the simulated process alone."
)


def process_of(code: str) -> Said:
    """The first simulated process with a known answer that is given this verdict."""
    return next(each for each in SAID if each.code == code)


def gallery(out: Path) -> str:
    """The page of every verdict; each report goes into a folder below `out`."""
    lines = [
        "# Gallery of verdicts",
        "",
        "Every verdict once, on a simulated process whose answer is known: what is said, what this",
        "window could not have shown, and the whole report as trajscope writes it; where a short",
        "training gives the same verdict, that training as well. The questions stand in the order",
        "in which a reader asks them. What is said of longer runs:",
        "[ordinary recipes on MNIST](../ordinary_runs.md), [the paper's networks](../paper.md).",
        "",
    ]
    real = [_real(recipe, out) for recipe in RECIPES]
    for question in QUESTIONS:
        lines += [f"## {question.asked}", ""]
        for code, meaning in question.answers:
            lines += _entry(code, meaning, out)
            trained = [line for own, told in real if own == code for line in told]
            lines += trained or [_NOT_TRAINED, ""]
    return "\n".join(lines)


def _entry(code: str, meaning: str, out: Path) -> list[str]:
    said = process_of(code)
    found, told = _reported(said.make(), out / code, dict(said.options))
    if found != code:
        raise SystemExit(f"{said.process}: the verdict is {found}, not {code}")
    return [
        f"### {code.replace('_', ' ')}",
        "",
        meaning,
        "",
        f"*Simulated:* {said.process}.",
        "",
        *told,
        f'<iframe class="report" loading="lazy" title="Report: {code.replace("_", " ")}" '
        f'src="../gallery/{code}/report.html"></iframe>',
        "",
    ]


def _real(recipe: Recipe, out: Path) -> tuple[str, list[str]]:
    """What is said of a short training on the digits: its verdict depends on the machine."""
    found, told = _reported(recipe.trained(), out / recipe.name, {})
    return found, [f"*Trained, on the digits that ship with trajscope:* {recipe.told}.", "", *told]


def _reported(source: object, folder: Path, options: Mapping[str, object]) -> tuple[str, list[str]]:
    """The code, the verdict with its detection limits, and a link to the report, written there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = analyze(source, n_surrogates=199, phases="none", **options)
        write_report(results, folder)
    shutil.rmtree(folder / "results.zarr")
    (folder / "summary.json").unlink()
    told = results["verdict"].attrs
    return told["code"], [
        f"> {told['sentence']}",
        "",
        "*Not detectable in this window:*",
        "",
        *(f"- {limit}" for limit in told.get("unseen", ())),
        "",
        f'<p><a href="../gallery/{folder.name}/report.html">The whole report</a></p>',
        "",
    ]


def catalogue() -> str:
    """Every observable, figure, test and number, from its record."""
    return "\n".join(
        [
            "# Catalogue",
            "",
            "Everything that is measured, drawn and tested, made from the records that the program "
            "itself uses. What the symbols mean is in [results](../results.md#observables).",
            "",
            "## Observables",
            "",
            observables_table(),
            "## Figures, and what to hold them against",
            "",
            *_figures(),
            "## Statistical tests",
            "",
            tests_table(),
            "## Numbers of the diffusion matrix",
            "",
            numbers_table(),
            "## Numbers of a weight matrix",
            "",
            matrices_table(),
            "## Numbers in summary.json",
            "",
            scalars_table(),
        ]
    )


def _figures() -> Iterable[str]:
    for record in (*FIGURES, *PARTS):
        yield f"### {record.quantity}"
        yield ""
        yield f"`trajscope.plot.{record.name.replace('-', '_')}`. {record.caption}"
        yield ""
        if definition := getattr(record, "definition", ""):
            yield f"*Formula:* {definition}."
            yield ""
        yield f"*Compare with:* {record.compare}"
        yield ""


def api() -> str:
    """Every public name, by module."""
    lines = ["# API", "", "Import `trajscope`; everything here is found below it.", ""]
    for module, what in (
        (trajscope, "Functions"),
        (plot, "Figures in matplotlib"),
        (simulate, "Processes with known answers"),
    ):
        lines += [f"## {what}", "", "```{eval-rst}"]
        lines += [
            _directive(module.__name__, name, getattr(module, name)) for name in module.__all__
        ]
        lines += ["```", ""]
    return "\n".join(lines)


def _directive(module: str, name: str, value: object) -> str:
    if isinstance(value, type):
        kind = "autoexception" if issubclass(value, BaseException) else "autoclass"
    elif callable(value):
        kind = "autofunction"
    else:
        return ""
    return f".. {kind}:: {module}.{name}\n"


PAGES: Final[dict[str, Callable[[], str]]] = {
    "gallery": lambda: gallery(DOCS / "_extra" / "gallery"),
    "catalogue": catalogue,
    "api": api,
}


def main() -> None:
    """Write all made pages."""
    MADE.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (MADE / f"{name}.md").write_text(page() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
