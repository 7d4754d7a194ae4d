"""Which workers of a cluster are given up while they compute."""

import pytest

from trajscope.measure.awaiting import Awaited


class Client:
    """What is asked of a client, in order."""

    def __init__(self):
        self.restarted = []

    def restart_workers(self, names, **_):
        self.restarted.append(names)


def silent(*seconds):
    """Workers that gave their last sign of life so many seconds ago."""
    return {f"worker {number}": 1000.0 - each for number, each in enumerate(seconds)}


@pytest.mark.parametrize(
    ("workers", "given_up"),
    [
        (silent(0, 1, 2), []),
        (silent(0, 1, 121), [["worker 2"]]),
        (silent(0, 121), [["worker 1"]]),
        (silent(500, 501, 502), []),  # nothing tells a frozen cluster from a busy one
        (silent(0, 1, 150, 200, 300), []),  # nor most of it
    ],
)
def test_a_silent_worker_is_given_up_and_a_starved_cluster_is_not(workers, given_up):
    client = Client()
    Awaited(client, len(workers), 1800.0)._drop_frozen(workers)
    assert client.restarted == given_up


def test_workers_that_are_silent_again_and_again_get_twice_as_long():
    client = Client()
    awaited = Awaited(client, 4, 1800.0)
    for seconds in (121, 239, 241, 479, 481):
        awaited._drop_frozen(silent(0, 1, 2, seconds))
    assert len(client.restarted) == 3
