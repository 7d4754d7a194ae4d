"""Real trainers train tiny models; what is read equals the live weights at each save."""

import pytest

from tests.trainers.checking import TRAINERS, checked, missing
from tests.trainers.records import Trainer


@pytest.mark.filterwarnings("ignore")  # other packages warn of one another
@pytest.mark.parametrize(
    "trainer",
    [
        # Several processes; nox -s trainers runs them.
        pytest.param(each, id=each.name, marks=pytest.mark.slow if "FSDP2" in each.name else ())
        for each in TRAINERS
    ],
)
def test_what_is_read_is_what_the_model_was(trainer: Trainer, tmp_path, monkeypatch):
    if absent := missing(trainer):
        pytest.skip(f"{', '.join(absent)} is not installed")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    checked(trainer, tmp_path)
