import numpy as np
import pytest

from tests.simulate.standard_errors import assert_agrees
from trajscope.errors import OptionError
from trajscope.simulate import brownian, jittered_steps, missing_steps, ornstein_uhlenbeck

RUN = brownian(1000, 3, seed=0)


def test_jittered_steps_have_the_gaps_and_displacements_of_their_closed_form():
    gaps, squares = [], []
    for seed in range(300):
        run = ornstein_uhlenbeck(503, taus=[8.0] * 4, seed=seed)
        x = jittered_steps(run, every=10, jitter=4, seed=seed + 1000)
        assert x.identical(run.sel(step=x["step"]))
        assert x.sizes["step"] == 50
        gaps.append(np.diff(x["step"]))
        squares.append(np.mean(np.diff(x, axis=0) ** 2))
    gaps = np.array(gaps)
    assert (gaps > 0).all()
    assert_agrees(gaps.mean(axis=1), 10.0, precision=0.01)
    deviation = gaps - 10.0
    assert_agrees((deviation**2).mean(axis=1), 2 * 4 * 5 / 3, precision=0.02)
    products = (deviation[:, 1:] * deviation[:, :-1]).mean(axis=1)
    assert_agrees(products, -4 * 5 / 3, precision=0.03)
    rho = np.exp(-1 / 8)
    kept = rho**10 * (rho ** np.arange(-4, 5)).mean() ** 2
    assert_agrees(squares, 2 * (1 - kept), precision=0.02)


def test_without_jitter_every_so_many_th_is_taken():
    assert jittered_steps(RUN, every=7, jitter=0, seed=1).identical(RUN[::7])


def test_missing_steps_leave_the_ends_and_gaps_of_their_law():
    runs = [missing_steps(RUN, fraction=0.2, seed=seed) for seed in range(200)]
    for run in runs:
        assert run.identical(RUN.sel(step=run["step"]))
        assert run.sizes["step"] == 1000 - round(0.2 * 998)
        assert run["step"].values[[0, -1]].tolist() == [0, 999]
    gaps = [np.diff(run["step"]) for run in runs]
    for g in (1, 2, 3):
        shares = [np.mean(each == g) for each in gaps]
        assert_agrees(shares, 0.8 * 0.2 ** (g - 1), precision=0.01, of=1)


def test_all_or_nothing_may_be_missing():
    assert missing_steps(RUN, fraction=0.0, seed=0).identical(RUN)
    assert missing_steps(RUN, fraction=1.0, seed=0)["step"].values.tolist() == [0, 999]


@pytest.mark.parametrize(
    ("take", "message"),
    [
        (lambda: jittered_steps(RUN, every=0, jitter=0, seed=0), r"^every=0: at least 1 "),
        (lambda: jittered_steps(RUN, every=4, jitter=2, seed=0),
         r"^jitter=2: from 0 to below half of every=4 expected\.$"),
        (lambda: jittered_steps(RUN[:9], every=7, jitter=1, seed=0),
         r"^run=run of 9 checkpoints: at least 10 checkpoints expected\.$"),
        (lambda: missing_steps(RUN, fraction=1.1, seed=0), r"^fraction=1\.1: a fraction between"),
        (lambda: missing_steps(RUN[:1], fraction=0.1, seed=0),
         r"^run=run of 1 checkpoints: at least 2 checkpoints expected\.$"),
    ],
)  # fmt: skip
def test_spacings_that_cannot_be_are_refused(take, message):
    with pytest.raises(OptionError, match=message):
        take()
