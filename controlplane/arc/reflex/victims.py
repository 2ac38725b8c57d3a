"""Who an act is aimed at, by identities that cannot be reused: a cgroup by id, a process by pid and start."""

from typing import NamedTuple


class Victim(NamedTuple):
    """A whole cgroup, or with `pid` one process in it."""

    cgroup: int
    path: str
    pid: int = 0
    start_ns: int = 0
    comm: str = ""
    inode: int = 0
    """Of its pidfd, where the kernel has one that is never used twice."""

    @property
    def key(self) -> tuple[int, int, int]:
        """Distinguishes victims."""
        return self.cgroup, self.pid, self.start_ns
