"""The one place that waits: an epoll over everything the arc listens to.

Each wake-up drains the ring first, whoever woke it, then serves the others, then lets `settle` arm
the timer and ring the doorbell.
"""

import select
from collections.abc import Callable
from typing import Final

from controlplane.arc.kernel.ring import Handler, Ring

MAX_READY: Final = 16


class Loop:
    """Descriptors and what to do when they are readable."""

    def __init__(self, ring: Ring, must_feel: Handler, settle: Callable[[int], None]) -> None:
        self._epoll = select.epoll()
        self._ring = ring
        self._must_feel = must_feel
        self._settle = settle
        self._ready: dict[int, Callable[[], None]] = {}
        self._epoll.register(ring.fd, select.EPOLLIN)
        self.stopping = False

    def feel_by(self, must_feel: Handler) -> None:
        """Give records to another handler from now on."""
        self._must_feel = must_feel

    def add(self, fd: int, ready: Callable[[], None], wanted: int = select.EPOLLIN) -> None:
        """Call `ready` whenever `fd` is readable, or whatever else is `wanted` of it, or hung up."""
        self._ready[fd] = ready
        self._epoll.register(fd, wanted)

    def remove(self, fd: int) -> None:
        """Before closing `fd`."""
        del self._ready[fd]
        self._epoll.unregister(fd)

    def run(self) -> None:
        """Until `stopping`."""
        while not self.stopping:
            self.must_turn(-1)

    def must_breathe(self) -> None:
        """In the middle of a long answer: whatever the ring has comes first."""
        self._ring.must_drain(self._must_feel)

    def must_turn(self, timeout: float) -> None:
        """One wake-up."""
        woken = self._epoll.poll(timeout, MAX_READY)
        taken = self._ring.must_drain(self._must_feel)
        for fd, _ in woken:
            ready = self._ready.get(fd)
            if ready is not None:
                ready()
        self._settle(taken)
