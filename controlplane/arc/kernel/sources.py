"""Sensors that are no BPF objects: the kernel tells them on descriptors, waited for in the arc's own epoll.

What they feel takes the same way as a record of the ring, and they show in status, health and losses
like any other sensor. Here are the shapes; each source has a module of its own.
"""

import select
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from controlplane.arc.kernel.events import Event, EventKind
from controlplane.link.frames import SensorStatus
from controlplane.link.rules import Rule

NAMES: Final = ("link", "losses", "psi")
"""Sensors of link/signals.py for which there is no object to build."""


class Feeler(Protocol):
    """What any sensor answers, BPF object or not."""

    name: str
    reason: str
    """Why it does not feel; empty while it does, or would if a rule needed it."""
    signals: tuple[str, ...]

    def lost(self) -> dict[str, int]:
        """Events lost so far, by reason."""

    def status(self) -> SensorStatus:
        """How it is now."""


class Source(Feeler, Protocol):
    """A sensor that is open only while a rule needs it."""

    def follow(self, rules: Iterable[Rule]) -> None:
        """Listen to what these rules use, and to nothing else; a failure is kept in `reason`."""

    def close(self) -> None:
        """Stop listening."""


class Follower(Protocol):
    """Whoever must know which cgroups there are."""

    def born(self, cgroup: int, path: str) -> None:
        """One was made."""

    def forget(self, cgroup: int) -> None:
        """One is gone."""


class Waiting(Protocol):
    """The loop, as a source sees it."""

    def add(self, fd: int, ready: Callable[[], None], wanted: int = select.EPOLLIN) -> None:
        """Call `ready` whenever `fd` is readable, or whatever else is `wanted` of it."""

    def remove(self, fd: int) -> None:
        """Before closing `fd`."""


class Taking(Protocol):
    """Whoever takes what a source felt."""

    def must_feel(self, event: Event) -> None:
        """One record."""

    def name_key(self, signal: int, key: int, label: str) -> None:
        """What people call the stream of a key that is no cgroup, before its first record."""

    def forget_key(self, signal: int, key: int) -> None:
        """The device, interface ... is gone."""


def event_of(signal: int, key: int, value: int, now_ns: int, cgroup: int = 0) -> Event:
    """The record that the ring would have of one thing felt now."""
    return Event(
        time_ns=now_ns,
        value=value,
        since_ns=now_ns,
        key=key,
        cgroup=cgroup,
        culprit=0,
        start_ns=0,
        inode=0,
        pid=0,
        parent=0,
        weight=1,
        statistic=0,
        slot=0,
        signal=signal,
        kind=EventKind.SIGNAL,
        cpu=0,
        comm=b"",
    )
