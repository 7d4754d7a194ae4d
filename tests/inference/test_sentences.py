"""Every kind of sentence is said of a process that deserves it, and stands in docs/verdicts.md."""

import pytest

from tests.sentences import NUMBER, PAGE, SAID


@pytest.mark.parametrize("said", SAID, ids=lambda said: said.process)
def test_a_sentence_is_said_of_its_process_and_is_on_the_page(said):
    code, sentence = said.sentence()
    assert code == said.code
    assert said.words in sentence
    row = f"| {said.process} | `{code}` | {sentence} |"
    masked = [NUMBER.sub("#", line) for line in PAGE.read_text(encoding="utf-8").splitlines()]
    assert NUMBER.sub("#", row) in masked, "Make the page again: python -m tests.sentences"


def test_every_verdict_has_a_process():
    assert {said.code for said in SAID} == {
        "too_short", "noise_scale_changes", "drifting", "brownian", "confined", "circulating",
        "oscillating", "course", "anomalous", "alternating", "diverging",
    }  # fmt: skip
