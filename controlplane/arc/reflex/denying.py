"""Deny: a cgroup and all below it may not fork, execute programs or connect. The rest goes on as it was."""

import os
from collections.abc import Sequence
from typing import Final

from controlplane.arc.kernel.cgroups import Cgroups
from controlplane.arc.kernel.denials import Denials
from controlplane.arc.reflex.acts import AbsentError, Effect, Opened
from controlplane.arc.reflex.victims import Victim
from controlplane.link.records import Change
from controlplane.link.rules import ActName, Step

ALLOWED: Final = "allowed"
DENIED: Final = "denied"
PLURALS: Final = {"fork": "forks", "exec": "executions", "connect": "connections"}


def must_change(step: Step) -> Change:
    """What a deny changes."""
    return Change(step.what, ALLOWED, DENIED)


class Deny:
    """What is in force lies in the kernel's map alone, so there is nothing of others to be left."""

    name: ActName = "deny"
    irreversible = False

    def __init__(self, cgroups: Cgroups, denials: Denials | None) -> None:
        """Without `denials` there is no daemon: what one has denied ended with it."""
        self._cgroups = cgroups
        self._denials = denials

    def prepare(self, cgroup: int, step: Step) -> None:
        """There is nothing to prepare."""

    def forget(self, cgroup: int) -> None:
        """Its entries go when their time is over."""

    def must_open(self, victim: Victim, step: Step) -> Opened:
        """See `Act`."""
        if self._denials is None or self._denials.reason:
            raise AbsentError(self._denials.reason if self._denials else "there is no daemon")
        return Opened((self._cgroups.must_open(victim.cgroup),), (must_change(step),))

    def must_apply(self, opened: Opened) -> None:
        """See `Act`."""
        if self._denials is not None:
            cgroup = os.fstat(opened.fds[0]).st_ino
            for change in opened.changes:
                self._denials.must_deny(cgroup, change.what)

    def must_release(self, opened: Opened) -> None:
        """See `Act`."""
        os.close(opened.fds[0])

    def undo(self, victim: Victim, changes: Sequence[Change]) -> str:
        """See `Act`. Says how often it was denied."""
        if self._denials is None:
            return ""
        counts = [(each.what, self._denials.lift(victim.cgroup, each.what)) for each in changes]
        return ", ".join(f"{PLURALS[what]} denied: {count}" for what, count in counts if count is not None)

    def must_effect(self, victim: Victim) -> Effect | None:
        """No event tells."""
        return None

    def must_have(self, victim: Victim, changes: tuple[Change, ...]) -> bool:
        """See `Act`."""
        for change in changes:
            if self._denials is None or not self._denials.must_have(victim.cgroup, change.what):
                return False
        return True
