"""Settings of Hypothesis where processors are shared: how long an example takes says nothing."""

from typing import Final

from hypothesis import HealthCheck, settings

unhurried: Final = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
