"""Finished results of simulated runs."""

import pytest
from simulated_results import brownian, make_results, ornstein_uhlenbeck, rotating


@pytest.fixture(scope="session")
def results():
    return make_results(brownian(300, 100) * 0.01)


@pytest.fixture(scope="session")
def confined():
    return make_results(ornstein_uhlenbeck(300, 100) * 0.01)


@pytest.fixture(scope="session")
def circulating():
    return make_results(rotating(300, 100) * 0.01)
