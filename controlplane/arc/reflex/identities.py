"""Random identities for traces and spans, drawn ahead so that the hot path makes no system call for them."""

import os
from typing import Final

POOL: Final = 8192
LOW_WATER: Final = 1024


class Identities:
    """A pool of random bytes, each given out once."""

    def __init__(self) -> None:
        self._pool = os.urandom(POOL)
        self._at = 0

    def must_trace(self) -> bytes:
        """16 bytes."""
        return self.must_take(16)

    def must_span(self) -> bytes:
        """8 bytes."""
        return self.must_take(8)

    def must_take(self, length: int) -> bytes:
        """Draws anew only when a storm has used up the pool between two wake-ups."""
        at = self._at
        if at + length > POOL:
            self._pool, at = os.urandom(POOL), 0
        self._at = at + length
        return self._pool[at : at + length]

    def tend(self) -> None:
        """Between batches: draw anew when little is left."""
        if self._at > POOL - LOW_WATER:
            self._pool, self._at = os.urandom(POOL), 0
