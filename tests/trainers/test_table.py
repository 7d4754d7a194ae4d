"""The table of what is left out: a row for each reason, with examples and who wrote them."""

from tests.trainers.table import left_out


def test_what_is_left_out_for_one_reason_is_one_row():
    found = {
        "a": [
            ("x.running_mean", "a statistic"),
            ("optim/*", "state (18 arrays); a counter (1 array)"),
        ],
        "b": [
            ("y.running_mean", "a statistic"),
            ("w_orig", "part of the weight 'w'"),
            ("w_u", "part of the weight 'w'"),
        ],
        "c": [("vars/2", "a statistic"), ("opt/*", "state (1 array)")],
        "d": [("z.mean", "a statistic")],
        "e": [("z.var", "a statistic"), ("v_mask", "part of the weight 'v'")],
    }
    assert left_out(found) == (
        "| a statistic | `x.running_mean`, `vars/2`, `z.mean` | a; b; c; and 2 more |\n"
        "| state | `optim/*`, `opt/*` | a; c |\n"
        "| a counter | `optim/*` | a |\n"
        "| part of another weight | `w_orig`, `v_mask` | b; e |\n"
    )
