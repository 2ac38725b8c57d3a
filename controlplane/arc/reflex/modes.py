"""Which of two modes allows less. Pure."""

from collections.abc import Mapping
from typing import Final

from controlplane.link.config import Mode

_RANK: Final[Mapping[Mode, int]] = {"off": 0, "observe": 1, "enforce": 2}


def weaker(one: Mode, other: Mode) -> Mode:
    """The mode that allows less."""
    return one if _RANK[one] <= _RANK[other] else other
