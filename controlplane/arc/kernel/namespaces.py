"""Network namespaces: in which one a cgroup lives, and netlink sockets into it.

A socket stays in the namespace in which it was made, so the arc enters another one only to make a socket
there, and is back before anything else runs: it has one thread. A held socket keeps its namespace alive.
"""

import ctypes
import errno
import os
import socket
from typing import Final

from controlplane.arc.kernel.cgroups import Cgroups
from controlplane.arc.kernel.control_files import ControlFiles
from controlplane.arc.kernel.descriptors import closed_with
from controlplane.arc.kernel.netlink import NETLINK_NETFILTER, open_netlink

CLONE_NEWNET: Final = 0x40000000
FIRST_LINE: Final = 64

_setns = ctypes.CDLL(None, use_errno=True).setns
_setns.argtypes = (ctypes.c_int, ctypes.c_int)
_setns.restype = ctypes.c_int


class Namespaces:
    """The arc's own, and those of others while something is in force there."""

    def __init__(self, cgroups: Cgroups) -> None:
        self._cgroups = cgroups
        self._processes = ControlFiles(cgroups, "cgroup.procs", os.O_RDONLY)
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._home = closed_with(self, home)
        self.own = os.fstat(self._home).st_ino
        self._sockets: dict[tuple[int, int], int] = {}
        """By namespace and protocol."""
        self._held: dict[int, int] = {}
        """Acts in force, by namespace; none of one that is not here."""

    def prepare(self, cgroup: int, protocol: int) -> None:
        """Open ahead what an act on this cgroup takes; raises OSError."""
        self._processes.prepare(cgroup)
        if (self.own, protocol) not in self._sockets:
            self._sockets[self.own, protocol] = open_netlink(protocol)

    def forget(self, cgroup: int) -> None:
        """The cgroup is gone."""
        self._processes.forget(cgroup)

    def must_find(self, cgroup: int, protocol: int) -> int:
        """The namespace of the first process of a cgroup, reached by a socket; raises OSError."""
        pid = self._must_first(cgroup)
        path = b"/proc/%d/ns/net" % pid
        namespace = os.stat(path).st_ino
        # The pid may have been another's by then.
        if self._must_first(cgroup) != pid:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        if (namespace, protocol) not in self._sockets and not self._must_enter(path, namespace, protocol):
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        return namespace

    def must_socket(self, namespace: int, protocol: int) -> int:
        """One that `must_find` or `reach` has opened."""
        return self._sockets[namespace, protocol]

    def must_hold(self, namespace: int) -> None:
        """An act is in force there."""
        self._held[namespace] = self._held.get(namespace, 0) + 1

    def let_go(self, namespace: int) -> None:
        """One is no longer."""
        left = self._held.pop(namespace, 0) - 1
        if left > 0:
            self._held[namespace] = left
        self.must_settle(namespace)

    def must_settle(self, namespace: int) -> None:
        """Nothing more is to be sent there now."""
        if namespace == self.own or namespace in self._held:
            return
        for protocol in (socket.NETLINK_ROUTE, NETLINK_NETFILTER):
            left = self._sockets.pop((namespace, protocol), None)
            if left is not None:
                os.close(left)

    def reach(self, namespace: int, protocol: int) -> int:
        """A socket into a namespace known by its inode; raises ProcessLookupError when nobody is in it."""
        if (namespace, protocol) not in self._sockets:
            self._reach(namespace, protocol)
        return self._sockets[namespace, protocol]

    def _reach(self, namespace: int, protocol: int) -> None:
        if namespace == self.own:
            self._sockets[namespace, protocol] = open_netlink(protocol)
            return
        for name in os.listdir("/proc"):
            if name.isdecimal() and self._is_in(name, namespace, protocol):
                return
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))

    def _is_in(self, pid: str, namespace: int, protocol: int) -> bool:
        path = f"/proc/{pid}/ns/net".encode()
        try:
            found = os.stat(path).st_ino == namespace
        except OSError:
            # It has ended, or is none of those that this process may look at.
            return False
        return found and self._must_enter(path, namespace, protocol)

    def _must_first(self, cgroup: int) -> int:
        """A process of it, or of the cgroups below it; raises ProcessLookupError where there is none."""
        line = os.pread(self._processes.must_get(cgroup), FIRST_LINE, 0).partition(b"\n")[0]
        pid = int(line) if line else self._first_below(cgroup)
        if pid == 0:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        return pid

    def _first_below(self, cgroup: int) -> int:
        """0: nobody, or somebody whom this process cannot name."""
        directory = self._cgroups.must_open(cgroup)
        try:
            for _, _, _, below in os.fwalk(".", dir_fd=directory):
                if line := first_line("cgroup.procs", below):
                    return int(line)
        finally:
            os.close(directory)
        return 0

    def _must_enter(self, path: bytes, namespace: int, protocol: int) -> bool:
        """A socket made in a namespace, if that is what lies at `path`; raises OSError."""
        there = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(there).st_ino != namespace:
                return False
            self._must_go(there)
            try:
                self._sockets[namespace, protocol] = open_netlink(protocol)
            finally:
                self._must_return()
        finally:
            os.close(there)
        return True

    def _must_go(self, there: int) -> None:
        if _setns(there, CLONE_NEWNET) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    def _must_return(self) -> None:
        if _setns(self._home, CLONE_NEWNET) < 0:
            raise SystemExit("the arc cannot return to its own network namespace")


def first_line(name: str, directory: int) -> bytes:
    """Of a control file; empty when the cgroup is gone."""
    try:
        file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return b""
    try:
        return os.read(file, FIRST_LINE).partition(b"\n")[0]
    except OSError:
        return b""
    finally:
        os.close(file)
