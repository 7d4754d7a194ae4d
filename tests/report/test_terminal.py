import io
import re
import sys

import numpy as np
import pytest
from judged_results import with_verdict
from rich.console import Console
from simulated_results import brownian, make_results, ornstein_uhlenbeck

from trajscope.report import reading_lines
from trajscope.report.screen.lines import sentences
from trajscope.report.screen.result import screen, screen_text

HOSTILE = "</script>\x1b[31m\u202e\n[red]{{7*7}}$x$" + "y" * 10_000
ESCAPE = re.compile(r"\x1b\[[\d;]*m")


def crowded(n_warnings=40):
    """A result with everything that can make the screen long, with hostile names."""
    results = make_results(brownian(60, 100), tensors={f"{i}{HOSTILE}.{i}": 10 for i in range(10)})
    told = results["trajectory"].attrs
    told["source"] = HOSTILE
    told["warnings"] = [f"{i} {HOSTILE}" for i in range(n_warnings)]
    told["left_out"] = [{"name": HOSTILE, "reason": f"{i} {HOSTILE}"} for i in range(300)]
    told["skipped"] = [{"path": HOSTILE, "reason": f"{i} {HOSTILE}"} for i in range(300)]
    return results


@pytest.mark.parametrize("width", [80, 100, 120, 400])
@pytest.mark.parametrize("unicode", [True, False])
def test_the_screen_stays_in_its_size_whatever_was_read(results, width, unicode):
    for case in (results, crowded()):
        lines = screen(case, width=width, unicode=unicode, page="out/report.html").splitlines()
        assert len(lines) <= 30
        assert max(map(len, lines)) <= min(width, 100)


def test_hostile_names_reach_neither_the_terminal_nor_the_markup():
    shown = screen(crowded(), width=100) + "\n".join(
        reading_lines(crowded()["trajectory"].to_dataset())
    )
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "\\u001b[31m" in shown
    assert "[red]" in shown


def test_no_line_ends_in_a_blank(results):
    everything = [
        *screen(results, width=80, page="report.html").split("\n"),
        *reading_lines(results["trajectory"].to_dataset()),
    ]
    assert [line for line in everything if line != line.rstrip()] == []


def test_without_unicode_the_screen_is_ascii(results, monkeypatch):
    assert screen(results, unicode=False, page="é.html").isascii()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert screen(results).isascii()
    assert " - relaxation slower" in screen(results)


def test_a_pipe_gets_plain_text(results):
    assert "\x1b" not in screen(results)


def on_a_terminal(results, **environment):
    text = screen_text(results, page="report.html", width=80, unicode=True)
    console = Console(
        file=io.StringIO(), force_terminal=True, color_system="standard", markup=False,
        highlight=False, soft_wrap=True, no_color=bool(environment.get("NO_COLOR")),
    )  # fmt: skip
    console.print(text, end="")
    return console.file.getvalue()


def test_a_terminal_gets_bold_reverse_and_named_colours_only(results):
    codes = set(re.findall(r"\x1b\[([\d;]*)m", on_a_terminal(results)))
    assert codes <= {"0", "1", "1;7", "33"}
    assert "1;7" in codes


def test_without_colour_bold_and_reverse_stay(results):
    codes = set(re.findall(r"\x1b\[([\d;]*)m", on_a_terminal(results, NO_COLOR="1")))
    assert codes == {"0", "1", "1;7"}


def test_styles_do_not_change_the_words(results):
    plain = screen(results, width=80, unicode=True, page="report.html")
    assert ESCAPE.sub("", on_a_terminal(results)) == plain


def test_the_screen_says_what_was_read_found_and_not_seen(results):
    shown = screen(results, width=100, unicode=True, page="out/report.html")
    for line in (
        "trajscope 0.1.0  runs/tiny-fc/checkpoints",
        "300 checkpoints, steps 1,000 to 30,900, every 100 steps; "
        "100 weights in 5 tensors, float32",
        "Not detectable in this window",
        " · relaxation slower than about 30 checkpoints (3,000 steps)",
        " · rotation",
        " · oscillations with a period below 2 checkpoints (200 steps): seen as slower ones "
        "(aliasing)",
        "Left out  3 tensors: a counter, a running average",
        "Skipped   1 file: still being written",
        "Warning   11 weights never move; left out of normalised curves.",
        "Report    out/report.html   read 0.41 s",
    ):
        assert line in shown.splitlines()


def test_a_warning_given_twice_is_shown_once(results):
    assert screen(results).count("never move") == 1


def test_more_warnings_than_fit_are_counted():  # 40, and that of the analysis
    assert "and 39 more warnings, see the report" in screen(crowded(40), width=100)


def test_the_key_numbers_stand_beside_their_references():
    x = ornstein_uhlenbeck(200, 100)
    shown = screen(make_results(x), width=80)
    path = np.linalg.norm(np.diff(x, axis=0), axis=1).sum()
    ratio = path / np.linalg.norm(x[-1] - x[0])
    row = next(line for line in shown.splitlines() if line.startswith("path / displacement"))
    assert float(row.split()[3].replace(",", "")) == pytest.approx(ratio, rel=0.05)
    assert "about 14" in row  # sqrt(199)


def test_a_run_in_which_nothing_moves_is_said_to_be_one():
    shown = screen(make_results(np.ones((20, 100))), width=80)
    assert "No weight changes in 20 checkpoints." in shown
    assert "nan" not in shown


def test_reading_lines_group_what_was_left_out_by_reason(results):
    assert reading_lines(results["trajectory"].to_dataset()) == [
        "runs/tiny-fc/checkpoints",
        "Found     300 checkpoints, safetensors",
        "Run       checkpoints",
        "Steps     1,000 to 30,900, every 100 steps",
        "From      metadata key 'step'",
        "Weights   100 weights in 5 tensors, float32",
        "Left out  1 tensor, a counter: bn2.num_batches_tracked",
        "Left out  2 tensors, a running average: bn2.running_mean, bn2.running_var",
        "Skipped   1 file, still being written: step-030950.safetensors.tmp",
        "Warning   11 weights never move; left out of normalised curves.",
    ]


def test_reading_lines_say_how_uneven_the_steps_are():
    uneven = make_results(brownian(4, 100), steps=[0, 10, 30, 70])
    lines = reading_lines(uneven["trajectory"].to_dataset())
    assert "Steps     0 to 70, unevenly spaced by 10 to 40 steps" in lines


@pytest.mark.parametrize(
    ("unit", "spacing", "words"),
    [
        ("step", 100, "0 to 300, every 100 steps"),
        ("step", 1, "0 to 3, every step"),
        ("epoch", 1, "0 to 3, every epoch"),
        ("epoch", 5, "0 to 15, every 5 epochs"),
        ("epoch", 0.5, "0 to 1.5, every 0.5 epochs"),
        ("index", 1, "0 to 3, every checkpoint"),
        ("index", 2, "0 to 6, every 2 checkpoints"),
    ],
)
def test_reading_lines_say_how_far_apart_the_checkpoints_are(unit, spacing, words):
    results = make_results(brownian(4, 100), spacing=spacing, first=0)
    results["trajectory"].attrs["step_unit"] = unit
    assert f"Steps     {words}" in reading_lines(results["trajectory"].to_dataset())


def test_reading_lines_name_a_file_once_and_put_equal_reasons_together(results):
    opened = results["trajectory"].to_dataset()
    folder = opened.attrs["source"]
    opened.attrs["skipped"] = [
        {"path": "a.pt", "reason": f"{folder}/a.pt ends early: 9 bytes are missing. Wait."},
        {"path": "b.pt", "reason": f"{folder}/b.pt ends early: 9 bytes are missing. Wait."},
        {"path": "c.zarr", "reason": f"{folder}/c.zarr: array 'w' is gone"},
        {"path": "d.pt", "reason": "the same file as c.pt"},
    ]
    assert [line for line in reading_lines(opened) if line.startswith("Skipped")] == [
        "Skipped   2 files, it ends early: 9 bytes are missing. Wait: a.pt, b.pt",
        "Skipped   1 file, array 'w' is gone: c.zarr",
        "Skipped   1 file, the same file as c.pt: d.pt",
    ]


def test_reading_lines_stay_few_however_many_reasons_there_are(results):
    opened = results["trajectory"].to_dataset()
    opened.attrs["skipped"] = [{"path": f"{i}.pt", "reason": f"reason {i}"} for i in range(60)]
    lines = [line for line in reading_lines(opened) if line.startswith("Skipped")]
    assert lines[4:] == [
        "Skipped   1 file, reason 4: 4.pt",
        "Skipped   55 more files, 55 other reasons: 5.pt, 6.pt, 7.pt and 52 more",
    ]


def test_the_path_of_the_report_is_never_cut(results):
    page = "folder/" * 40 + "report.html"
    (line,) = [line for line in screen(results, width=80, page=page).splitlines() if page in line]
    assert line == f"Report    {page}   read 0.41 s"


def test_a_screen_below_the_reading_lines_does_not_repeat_them(results):
    opened = results["trajectory"].to_dataset()
    results["trajectory"].attrs["warnings"] = [*opened.attrs["warnings"], "Newly found."]
    results["trajectory"].attrs["skipped"] = [
        *opened.attrs["skipped"],
        {"path": "step-9.pt", "reason": "1 of 9 weights is NaN"},
    ]
    shown = screen(results, told=opened, width=80).splitlines()
    for line in reading_lines(opened, width=80):
        assert line not in shown
    assert shown[0].startswith(" NO VERDICT")
    assert "Skipped   1 file: 1 of 9 weights is NaN" in shown
    assert [line for line in shown if line.startswith(("Left out", "Warning"))] == [
        "Warning   Newly found."
    ]


def test_the_verdict_and_its_tests_stand_on_the_screen(results):
    judged = with_verdict(results, proposal="Leave out the first 40 checkpoints.")
    at = {"group": "all", "test": "slow_planes"}
    judged["tests"]["position"].loc[at] = 3.0
    judged["tests"]["p_adjusted"].loc[at] = 0.0005
    shown = screen(judged, width=80, unicode=True).splitlines()
    assert " CONFINED  Confined: mean-reverting (p = 0.002)." in shown
    assert "Leave out the first 40 checkpoints." in shown
    assert " · relaxation slower than 400 steps: looks Brownian" in shown
    tests = shown[next(i for i, line in enumerate(shown) if "99% of null" in line) + 1 :]
    assert tests[0] == f"constant noise      {'─' * 12}●{'─' * 7}┤{' ' * 21}    0.50      0.5"
    assert tests[4] == f"reversible          {'─' * 20}┤{' ' * 14}◆{' ' * 6}     2.0    0.001"
    assert tests[5] == ""
    assert "Layers    all 3: confined" in shown


def test_a_sentence_of_four_lines_is_told_whole_where_there_is_room(results):
    judged = with_verdict(results, "circulating", sentence=f"Circulates {'so and ' * 30}so.")
    shown = screen(judged, width=80, unicode=True)
    assert " ".join(shown.split()).count(" so and") >= 29
    assert "…" not in shown


def test_without_unicode_the_bands_are_ascii(results):
    shown = screen(with_verdict(results), width=80, unicode=False)
    assert f"{'-' * 12}o{'-' * 7}|" in shown
    assert "alpha = 0.01" in shown


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_crowded_verdict_keeps_to_the_screen_and_counts_its_warnings(width):
    long = "Confined: " + "so many words " * 30
    told = {"sentence": f"{long}. {long}", "proposal": long, "unseen": [f"{long}: {long}"] * 3}
    lines = screen(with_verdict(crowded(), **told), width=width, page="r.html").splitlines()
    assert len(lines) <= 30
    assert max(map(len, lines)) <= width
    assert "Warnings  41 warnings, see the report" in lines


def test_a_long_text_is_cut_between_sentences_and_a_long_sentence_within():
    text = "One is 1.5 long. Two is longer than that. Three."
    assert sentences(text, 60, 1) == [text]
    assert sentences(text, 45, 1) == ["One is 1.5 long. Two is longer than that."]
    assert sentences(text, 20, 1) == ["One is 1.5 long."]
    assert sentences("No end of it here", 10, 1) == ["No end o…"]


def test_phases_stand_on_the_screen_with_what_each_begins_with(results):
    judged = with_verdict(results)
    told = {"checkpoints": 50, "sentence": "Said on the page."}
    judged["verdict"].attrs["phases"] = [
        told | {"first_step": 0, "last_step": 49_000, "code": "confined"},
        *(
            told | {
                "first_step": 50_000 * k, "last_step": 50_000 * k + 49_000,
                "code": "noise_scale_changes", "opens_with": "learning rate", "p_value": 0.005,
            }
            for k in range(1, 8)
        ),
    ]  # fmt: skip
    shown = screen(judged, width=80, unicode=True).splitlines()
    at = next(i for i, line in enumerate(shown) if line.startswith("phase, steps"))
    assert shown[at + 1] == "0 to 49,000           confined              start"
    assert shown[at + 2].split("  ", 1)[0] == "50,000 to 99,000"
    assert "noise scale changes   learning rate, p = 0.005" in shown[at + 2]
    assert shown[at + 6] == "3 more on the page"
    assert not any(line.startswith("phase,") for line in screen(results, width=80).splitlines())
