"""Network interfaces that go down and come up, as the kernel announces them by rtnetlink.

Open only while a rule uses a signal of it. Counts are kept in the kernel's map, like those of BPF objects.
"""

import os
import socket
import time
from collections.abc import Iterable
from typing import Final

from controlplane.arc.kernel.events import COUNT_STREAM, STREAM_KEY, CountStream, Signal
from controlplane.arc.kernel.libbpf import Map
from controlplane.arc.kernel.rtnetlink import END, GROUP_LINK, Link, dump_request, links_in
from controlplane.arc.kernel.sources import Taking, Waiting, event_of
from controlplane.link.frames import SensorStatus
from controlplane.link.rules import Rule

SIGNALS: Final = (Signal.NET_LINK_DOWN, Signal.NET_LINK_FLAP)
DATAGRAM: Final = 65536
"""The kernel puts at most 32 KiB into one."""


class Links:
    """The source of `net.link_*`, by number of the interface."""

    name = "link"
    signals: tuple[str, ...] = ("net.link_down", "net.link_flap")

    def __init__(self, loop: Waiting, taking: Taking, counts: Map) -> None:
        self.reason = ""
        self._loop = loop
        self._taking = taking
        self._counts = counts
        self._socket: socket.socket | None = None
        self._up: dict[int, bool] = {}
        self._unseen: set[int] | None = None
        """Interfaces that the dump under way has not named yet; None while there is none."""
        self._stale = False
        """Whether something was lost since that dump began."""
        self._told = 0
        self._overruns = 0

    def follow(self, rules: Iterable[Rule]) -> None:
        """See `Source`."""
        wanted = any(rule.signal in self.signals and rule.mode != "off" for rule in rules)
        if wanted and self._socket is None:
            try:
                self._open()
                self.reason = ""
            except OSError as error:
                self.reason = f"rtnetlink: {os.strerror(error.errno or 0)}"
        elif not wanted:
            self.close()

    def _open(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        listening = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        try:
            listening.bind((0, GROUP_LINK))
            self._ask(listening)
        except OSError:
            listening.close()
            raise
        self._socket = listening
        self._loop.add(listening.fileno(), lambda: self._ready(listening))

    def _ask(self, listening: socket.socket) -> None:
        """What is so now. The kernel takes one such request at a time."""
        self._stale = self._unseen is not None
        if not self._stale:
            listening.send(dump_request())
            self._unseen = set(self._up)

    def _ready(self, listening: socket.socket) -> None:
        try:
            datagram, (port, _) = listening.recvfrom(DATAGRAM)
        except BlockingIOError:
            return
        except OSError:
            # ENOBUFS: changes were dropped, so what is so now is asked for.
            self._overruns += 1
            self._ask(listening)
            return
        if port == 0:
            now_ns = time.monotonic_ns()
            for link in links_in(datagram):
                if link is END:
                    self._answered(listening)
                else:
                    self._take(link, now_ns)

    def _answered(self, listening: socket.socket) -> None:
        unseen, self._unseen = self._unseen or (), None
        if self._stale:
            self._ask(listening)
            return
        for number in unseen:
            self._forget(number)

    def _take(self, link: Link, now_ns: int) -> None:
        if self._unseen is not None:
            self._unseen.discard(link.number)
        up = link.up and not link.gone
        if self._up.get(link.number, up) != up:
            self._tell(Signal.NET_LINK_FLAP, link, now_ns)
            if not up:
                self._tell(Signal.NET_LINK_DOWN, link, now_ns)
        self._up[link.number] = up
        if link.gone:
            self._forget(link.number)

    def _tell(self, signal: Signal, link: Link, now_ns: int) -> None:
        self._told += 1
        key = STREAM_KEY.pack(link.number, signal, 0)
        found = self._counts.lookup(key)
        total = CountStream._make(COUNT_STREAM.unpack(found)).total if found else 0
        self._counts.must_update(key, COUNT_STREAM.pack(total + 1, now_ns, 0, 0, 0))
        self._taking.name_key(signal, link.number, link.name)
        self._taking.must_feel(event_of(signal, link.number, 1, now_ns))

    def _forget(self, number: int) -> None:
        del self._up[number]
        for signal in SIGNALS:
            self._counts.must_delete(STREAM_KEY.pack(number, signal, 0))
            self._taking.forget_key(signal, number)

    def lost(self) -> dict[str, int]:
        """Times at which the kernel had more to tell than the socket could hold."""
        return {"overrun": self._overruns}

    def status(self) -> SensorStatus:
        """See `Feeler`. Without a rule there is no hook."""
        return SensorStatus(
            name=self.name,
            attached=not self.reason,
            reason=self.reason,
            hooks=() if self._socket is None else ("rtnetlink",),
            signals=self.signals,
            seen=self._told,
            emitted=self._told,
            lost=self.lost(),
        )

    def close(self) -> None:
        """See `Source`. What was known of interfaces is forgotten: they may change unseen."""
        if self._socket is not None:
            self._loop.remove(self._socket.fileno())
            self._socket.close()
            self._socket = self._unseen = None
            for number in list(self._up):
                self._forget(number)
