"""Shared by all tests."""

from hypothesis import HealthCheck, settings

# Examples are cheap but the machine may be busy: time per example says nothing here.
settings.register_profile(
    "trajscope", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("trajscope")
