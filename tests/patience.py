"""How long tests wait for what must come: `pytest --patience 10` on a machine that is ten times slower.

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
