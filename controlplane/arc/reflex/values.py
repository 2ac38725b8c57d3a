"""Acts that set control files of a cgroup: which files by which amount, read back to see that it is so."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from controlplane.arc.kernel.cgroups import Cgroups
from controlplane.arc.kernel.control_files import ControlFiles, must_read_value, must_write_value
from controlplane.arc.reflex.acts import AbsentError, Effect, Opened
from controlplane.arc.reflex.setting import must_set_all, undo_all
from controlplane.arc.reflex.victims import Victim
from controlplane.link.amounts import Amount
from controlplane.link.records import Change
from controlplane.link.rules import ActName, Step

FLAGS: Final = os.O_RDWR | os.O_NONBLOCK
"""Since Linux 6.16 a limit below what is used is then not waited for until that much was reclaimed."""

UNLIMITED: Final = " rbps=max wbps=max riops=max wiops=max"
"""What io.max leaves out of a device that has no limit."""


class Setting(NamedTuple):
    """One control file, and what is written to it for what was there and an amount."""

    file: str
    must_value: Callable[[str, Amount, int], str]
    used: str = ""
    """File of what is used now, which an amount may be relative to; else that is 0."""


class CgroupValues:
    """An act that sets one control file for each amount of its step."""

    irreversible = False

    def __init__(
        self,
        name: ActName,
        cgroups: Cgroups,
        settings: Mapping[str, Setting],
        files: Mapping[str, ControlFiles],
    ) -> None:
        """`settings` by the keys of amounts; `files` by the names in them."""
        self.name = name
        self._cgroups = cgroups
        self._settings = settings
        self._files = files

    def prepare(self, cgroup: int, step: Step) -> None:
        """See `Act`."""
        for amount in step.amounts:
            setting = self._settings[amount.key]
            self._files[setting.file].prepare(cgroup)
            if setting.used:
                self._files[setting.used].prepare(cgroup)

    def forget(self, cgroup: int) -> None:
        """See `Act`."""
        for files in self._files.values():
            files.forget(cgroup)

    def must_open(self, victim: Victim, step: Step) -> Opened:
        """See `Act`."""
        fds: tuple[int, ...] = ()
        changes: tuple[Change, ...] = ()
        for amount in step.amounts:
            setting = self._settings[amount.key]
            fd = self._must_get(setting.file, victim.cgroup)
            before = must_get(fd, setting.file)
            fds += (fd,)
            used = int(must_get(self._must_get(setting.used, victim.cgroup), "")) if setting.used else 0
            changes += (Change(setting.file, before, setting.must_value(before, amount, used)),)
        return Opened(fds, changes)

    def _must_get(self, file: str, cgroup: int) -> int:
        try:
            return self._files[file].must_get(cgroup)
        except FileNotFoundError:
            if self._cgroups.path_of(cgroup) is None:
                raise
            raise AbsentError(f"the cgroup has no {file}: its controller is not enabled there") from None

    def must_apply(self, opened: Opened) -> None:
        """See `Act`."""
        must_set_all(opened, must_set)

    def must_release(self, opened: Opened) -> None:
        """The files stay open for the undo."""

    def undo(self, victim: Victim, changes: Sequence[Change]) -> None:
        """See `Act`."""
        fds = [self._files[must_file(each.what)].open(victim.cgroup) for each in changes]
        undo_all(fds, changes, must_get, must_set)

    def must_effect(self, victim: Victim) -> Effect | None:
        """No event tells."""
        return None

    def must_have(self, victim: Victim, changes: tuple[Change, ...]) -> bool:
        """See `Act`."""
        for change in changes:
            fd = self._files[must_file(change.what)].must_get(victim.cgroup)
            if must_get(fd, change.what) != change.after:
                return False
        return True


def values_of(name: ActName, cgroups: Cgroups, settings: Mapping[str, Setting]) -> CgroupValues:
    """An act on the control files themselves."""
    return CgroupValues(name, cgroups, settings, files_of(cgroups, settings))


def files_of(cgroups: Cgroups, settings: Mapping[str, Setting]) -> dict[str, ControlFiles]:
    """Those that are set, and those that say what is used."""
    files = {each.file: ControlFiles(cgroups, each.file, FLAGS) for each in settings.values()}
    used = {
        each.used: ControlFiles(cgroups, each.used, os.O_RDONLY) for each in settings.values() if each.used
    }
    return files | used


def must_file(what: str) -> str:
    """Its control file: the device of a limit in io.max follows the name."""
    return what.partition(" ")[0]


def must_get(fd: int, what: str) -> str:
    """The value now; of io.weight, the one for all devices that have none of their own."""
    text, device = must_read_value(fd), what.partition(" ")[2]
    if not device:
        return text.partition("\n")[0]
    for line in text.split("\n"):
        if line.partition(" ")[0] == device:
            return line
    return device + UNLIMITED


def must_set(fd: int, what: str, value: str) -> None:
    """Write it; raises OSError."""
    must_write_value(fd, value.encode())
