"""What systemd, or who else listens at $NOTIFY_SOCKET, is told of the arc: ready, reloading, stopping, alive.

See sd_notify(3). Never waits: what the socket does not take is sent at a later wake-up. Where a watchdog is
asked for, this is the one thing that wakes an arc with nothing to do; else there is no time to wake up at.
"""

import os
import socket
from collections.abc import Mapping
from typing import Final

AGAIN_NS: Final = 100_000_000
"""So much later what was not taken is sent again."""


class Supervisor:
    """Of one arc. Without $NOTIFY_SOCKET it tells nobody."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._socket = _connected(environ.get("NOTIFY_SOCKET", ""))
        self._beat_ns = _half_of_watchdog_ns(environ)
        self._beat_due_ns = 0
        self._unsent: dict[str, str] = {}
        """By their first line, in order; of each the last counts."""
        self._again_ns = 0

    def ready(self, now_ns: int, policies: int, refused: str = "") -> None:
        """Armed, or done with reloading. `refused`: why policies that have changed are not in force."""
        status = f"armed, {policies} policies"
        if refused:
            status += f" as before, for: {refused.splitlines()[0]}"
        if self._beat_ns:
            self._beat_due_ns = now_ns + self._beat_ns
        self._tell(now_ns, "READY=1", f"STATUS={status}")

    def reloading(self, now_ns: int) -> None:
        """Until the next `ready`."""
        self._tell(now_ns, "RELOADING=1", f"MONOTONIC_USEC={now_ns // 1000}")

    def stopping(self, now_ns: int) -> None:
        """Said once: from here on nothing is felt."""
        self._tell(now_ns, "STOPPING=1", "STATUS=taking back what is in force")

    def tend(self, now_ns: int) -> None:
        """At a wake-up, when its acts are done."""
        if self._beat_due_ns and self._beat_due_ns <= now_ns:
            self._beat_due_ns = now_ns + self._beat_ns
            self._tell(now_ns, "WATCHDOG=1")
        elif self._unsent and self._again_ns <= now_ns:
            self._send(now_ns)

    def next_due(self) -> int:
        """When to be tended again; 0: nothing is due."""
        again_ns = self._again_ns if self._unsent else 0
        return min((due for due in (self._beat_due_ns, again_ns) if due), default=0)

    def close(self) -> None:
        """Say nothing any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tell(self, now_ns: int, what: str, more: str = "") -> None:
        if self._socket is not None:
            self._unsent.pop(what, None)
            self._unsent[what] = f"{what}\n{more}"
            self._send(now_ns)

    def _send(self, now_ns: int) -> None:
        """One datagram each: systemd does not mind the order of lines within one."""
        while self._unsent and self._socket is not None:
            what = next(iter(self._unsent))
            try:
                self._socket.send(self._unsent[what].encode(), socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._again_ns = now_ns + AGAIN_NS
                return
            except OSError:
                # Who listened is gone, and does not come back under this name.
                self._beat_due_ns = 0
                self._unsent.clear()
                self.close()
                return
            del self._unsent[what]


def _connected(address: str) -> socket.socket | None:
    """None where nobody is named, or nobody listens."""
    if not address.startswith(("/", "@")):
        return None
    to = "\0" + address[1:] if address[0] == "@" else address
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        made.connect(to)
    except OSError:
        made.close()
        return None
    return made


def _half_of_watchdog_ns(environ: Mapping[str, str]) -> int:
    """How often to say that we live; 0 where nobody asks us, see sd_watchdog_enabled(3)."""
    meant = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    asked = environ.get("WATCHDOG_USEC", "")
    return int(asked) * 500 if meant and asked.isdecimal() else 0
