"""The runtime directory: made, owned and locked. Its journal folder is held by descriptor."""

import fcntl
import os
from pathlib import Path

from controlplane.link.account import Account, account, group, owned_directory
from controlplane.link.config import Config, Management


class AlreadyRunningError(OSError):
    """Another arc holds this runtime directory."""


class RuntimeFolder:
    """Locked for as long as the process lives; the kernel lets go of the lock when it dies."""

    def __init__(self, config: Config) -> None:
        self._plane = account(config.plane_user)
        self.gid = self._plane.gid
        root = Path(config.runtime_dir)
        root.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._lock = os.open(root / "arc.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._lock, 32).decode(errors="replace").strip()
            raise AlreadyRunningError(f"already running with pid {holder}, on {root}") from None
        os.truncate(self._lock, 0)
        os.write(self._lock, f"{os.getpid()}\n".encode())
        self.fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.journal_fd = owned_directory(root / "journal", Account(0, self.gid), 0o750)
        self._make_socket_places(root, config.management)

    def _make_socket_places(self, root: Path, management: Management) -> None:
        """The plane makes the sockets, and each gets the group of its folder."""
        os.close(owned_directory(root / "plane", self._plane, 0o700))
        for role, name in management.groups().items():
            os.close(owned_directory(root / role, Account(self._plane.uid, group(name)), 0o2710))
        link = root / "management.sock"
        if not link.is_symlink():
            link.unlink(missing_ok=True)
            link.symlink_to("plane/management.sock")

    def close(self) -> None:
        """Let go of the lock."""
        os.close(self.journal_fd)
        os.close(self.fd)
        os.close(self._lock)
