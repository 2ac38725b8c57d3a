"""An undo without a daemon: reads the journal's head as the next daemon would, and journals what it did.

Takes the lock that a daemon holds, so there is none meanwhile.
"""

import os
from pathlib import Path
from typing import Final

import msgspec

from controlplane.arc.kernel.cgroups import Cgroups, find_mount
from controlplane.arc.kernel.identity import ByIdentity
from controlplane.arc.kernel.reaping import Reaper
from controlplane.arc.reflex.journal import Journal, read_records
from controlplane.arc.reflex.recover import left_in_force, undo_left
from controlplane.arc.reflex.repertoire import acts_on
from controlplane.arc.runtime import AlreadyRunningError, RuntimeFolder
from controlplane.cli.exits import CliError, Exit
from controlplane.link.account import AccountError
from controlplane.link.config import Config
from controlplane.link.records import Undo
from controlplane.policy.load import load_config

LEFT: Final = {
    "foreign": "left, somebody else has changed it since",
    "shared": "left to another act on the same victim",
}


def take_back_all(file: Path | None, runtime_dir: str | None) -> list[Undo]:
    """Everything a dead daemon has left in force. Raises CliError."""
    if os.geteuid() != 0:
        raise CliError("must be run as root", "sudo reflexarc undo --all --offline", Exit.REFUSED)
    config = load_config(file)
    if runtime_dir is not None:
        config = msgspec.structs.replace(config, runtime_dir=str(Path(runtime_dir).absolute()))
    if not Path(config.runtime_dir, "journal").is_dir():
        return []
    mount = find_mount()
    if mount is None:
        raise CliError("cgroup2 is not mounted", "mount -t cgroup2 none /sys/fs/cgroup")
    folder = _locked(config)
    try:
        return _take_back(folder, config, Cgroups(mount))
    finally:
        folder.close()


def _locked(config: Config) -> RuntimeFolder:
    try:
        return RuntimeFolder(config)
    except AlreadyRunningError as error:
        hint = "it undoes by itself: `reflexarc undo --all`"
        raise CliError(str(error), hint, Exit.REFUSED) from None
    except AccountError as error:
        raise CliError(str(error), error.hint, Exit.BAD_POLICY) from None


def _take_back(folder: RuntimeFolder, config: Config, cgroups: Cgroups) -> list[Undo]:
    left = left_in_force(read_records(folder.journal_fd))
    acts = acts_on(cgroups, ByIdentity(), None, Reaper())
    undone = list(undo_left(left, acts, "command", "offline"))
    sizes = config.journal_head_bytes, config.journal_head_segments
    journal = Journal(folder.journal_fd, *sizes, folder.gid, tuple)
    for record in undone:
        journal.must_append(record)
    journal.close()
    return undone


def words_of(undo: Undo) -> str:
    """What came of one, for people."""
    whom = f"process {undo.pid} in {undo.path}" if undo.pid else undo.path
    came_of_it = LEFT.get(undo.error, "undone") if undo.ok else f"not undone: {undo.error}"
    return f"{undo.act} of {whom}: {came_of_it}"
