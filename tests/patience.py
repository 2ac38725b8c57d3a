"""How long tests wait, and how often they repeat: `pytest --patience 10` on a machine ten times slower.

A factor on limits, never on measured values: a test that passes sooner is no slower for it.
"""

_factor = 1.0


def set_patience(factor: float) -> None:
    """Once, before any test."""
    global _factor  # noqa: PLW0603
    _factor = factor


def patient(seconds: float) -> float:
    """The limit of `seconds` as it is on this machine."""
    return seconds * _factor


def often(times: int) -> int:
    """That many repetitions, fewer on a slower machine."""
    return max(1, round(times / _factor))
