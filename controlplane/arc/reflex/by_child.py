"""Acts that a child does, as they take long: reclaim, a hook, evidence. Here they are only opened."""

import os
from collections.abc import Sequence
from typing import Final, NoReturn

from controlplane.arc.kernel.cgroups import Cgroups
from controlplane.arc.kernel.identity import ByIdentity
from controlplane.arc.reflex.acts import AbsentError, Effect, Opened
from controlplane.arc.reflex.victims import Victim
from controlplane.link.hooks import Hook
from controlplane.link.records import Change
from controlplane.link.rules import ActName, Step

NOTHING: Final = Opened(())


class ByChild:
    """What they have in common: the engine gives them away, and neither applies nor undoes them itself."""

    name: ActName
    irreversible = False

    def prepare(self, cgroup: int, step: Step) -> None:
        """There is nothing to prepare."""

    def forget(self, cgroup: int) -> None:
        """Nothing was prepared."""

    def must_apply(self, opened: Opened) -> NoReturn:
        """Not here."""
        raise AssertionError("a child does it")

    def must_release(self, opened: Opened) -> None:
        """See `Act`."""
        for fd in opened.fds:
            os.close(fd)

    def undo(self, victim: Victim, changes: Sequence[Change]) -> NoReturn:
        """Not here: only the daemon undoes it, by a child, from what its policies say."""
        raise OSError("it is undone by the daemon that runs its policy")

    def must_effect(self, victim: Victim) -> Effect | None:
        """The child reports it."""
        return None

    def must_have(self, victim: Victim, changes: tuple[Change, ...]) -> bool:
        """The child reports it."""
        return False


class Reclaim(ByChild):
    """memory.reclaim (Linux 5.19): the writer is kept until so much was reclaimed."""

    name: ActName = "reclaim"

    def __init__(self, cgroups: Cgroups) -> None:
        self._cgroups = cgroups

    def must_open(self, victim: Victim, step: Step) -> Opened:
        """See `Act`."""
        directory = self._cgroups.must_open(victim.cgroup)
        try:
            return Opened(_must_open_both(directory))
        except FileNotFoundError:
            if self._cgroups.path_of(victim.cgroup) is None:
                raise
            what = "its controller is not enabled there, or Linux is older than 5.19"
            raise AbsentError(f"the cgroup has no memory.reclaim: {what}") from None
        finally:
            os.close(directory)


def _must_open_both(directory: int) -> tuple[int, int]:
    reclaim = os.open("memory.reclaim", os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return reclaim, os.open("memory.current", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        os.close(reclaim)
        raise


class RunHook(ByChild):
    """A program that the policy's file names. The victim may be gone: the program is told who it was."""

    name: ActName = "hook"

    def must_open(self, victim: Victim, step: Step) -> Opened:
        """See `Act`."""
        return NOTHING if step.hook is None or not step.hook.undo else Opened((), changes_of(step.hook))


def changes_of(hook: Hook) -> tuple[Change, ...]:
    """The command that is run, and the one that takes it back."""
    return (Change("run", " ".join(hook.undo), " ".join(hook.run)),)


class TakeEvidence(ByChild):
    """How the victim is, written to a file."""

    name: ActName = "evidence"

    def __init__(self, cgroups: Cgroups, by_identity: ByIdentity) -> None:
        self._cgroups = cgroups
        self._by_identity = by_identity

    def must_open(self, victim: Victim, step: Step) -> Opened:
        """See `Act`. Its directory: of the cgroup, or in /proc."""
        if not victim.pid:
            return Opened((self._cgroups.must_open(victim.cgroup),))
        pidfd, directory = self._by_identity.must_open_directory(victim.pid, victim.start_ns, victim.inode)
        os.close(pidfd)
        return Opened((directory,))
