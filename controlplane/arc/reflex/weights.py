"""Reweigh: a smaller share of CPU, disk and luck with the OOM killer, for a cgroup or for one process."""

import os
import signal
from collections.abc import Sequence

from controlplane.arc.kernel import priorities
from controlplane.arc.kernel.identity import ByIdentity
from controlplane.arc.reflex.acts import Effect, Opened
from controlplane.arc.reflex.setting import must_set_all, undo_all
from controlplane.arc.reflex.victims import Victim
from controlplane.link.amounts import Amount
from controlplane.link.records import Change
from controlplane.link.rules import ActName, Step


def must_weight(before: str, amount: Amount, used: int) -> str:
    """What is written to cpu.weight and io.weight; the latter names the devices it is for."""
    # Weights of single devices follow on further lines, and are left.
    form = b"default %d" if before.startswith("default ") else b"%d"
    return (form % amount.number).decode()


class ReweighProcess:
    """nice, ionice and oom_score_adj of one process, with all its threads."""

    name: ActName = "reweigh"
    irreversible = False

    def __init__(self, by_identity: ByIdentity) -> None:
        self._by_identity = by_identity

    def prepare(self, cgroup: int, step: Step) -> None:
        """There is nothing to prepare."""

    def forget(self, cgroup: int) -> None:
        """Nothing was prepared."""

    def must_open(self, victim: Victim, step: Step) -> Opened:
        """See `Act`. A descriptor for each change, and last a pidfd."""
        pidfd, directory = self._by_identity.must_open_directory(victim.pid, victim.start_ns, victim.inode)
        fds: tuple[int, ...] = ()
        changes: tuple[Change, ...] = ()
        try:
            for amount in step.amounts:
                before = _must_get(directory, victim.pid, amount.key)
                fds += (directory,)
                changes += (Change(amount.key, before, _must_value(amount)),)
        except OSError:
            os.close(directory)
            os.close(pidfd)
            raise
        return Opened((*fds, pidfd), changes)

    def must_apply(self, opened: Opened) -> None:
        """See `Act`."""
        must_set_all(opened, priorities.must_set)
        # Threads are named by number: that the process is still there shows that they were its own.
        signal.pidfd_send_signal(opened.fds[-1], 0)

    def must_release(self, opened: Opened) -> None:
        """See `Act`."""
        os.close(opened.fds[0])
        os.close(opened.fds[-1])

    def undo(self, victim: Victim, changes: Sequence[Change]) -> None:
        """See `Act`."""
        pidfd, directory = self._by_identity.must_open_directory(victim.pid, victim.start_ns, victim.inode)
        try:
            undo_all((directory,) * len(changes), changes, priorities.must_get, priorities.must_set)
        finally:
            os.close(directory)
            os.close(pidfd)

    def must_effect(self, victim: Victim) -> Effect | None:
        """No event tells."""
        return None

    def must_have(self, victim: Victim, changes: tuple[Change, ...]) -> bool:
        """See `Act`."""
        pidfd, directory = self._by_identity.must_open_directory(victim.pid, victim.start_ns, victim.inode)
        try:
            for change in changes:
                if priorities.must_get(directory, change.what) != change.after:
                    return False
        finally:
            os.close(directory)
            os.close(pidfd)
        return True


def _must_get(directory: int, pid: int, what: str) -> str:
    """By number, for whoever has it now: should that be another, then nothing will be set."""
    if what == "oom_score_adj":
        return priorities.must_get(directory, what)
    return priorities.must_get_of_thread(pid, what)


def _must_value(amount: Amount) -> str:
    return priorities.NAMES[amount.number] if amount.key == "ionice" else (b"%d" % amount.number).decode()
