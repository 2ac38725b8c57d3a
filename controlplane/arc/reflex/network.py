"""Shape and quarantine: an object of our own in the victim's network namespace, made and removed by messages.

Their bytes come from a child (`encoding`). What is made bears a number drawn for this one act, so nobody
else's can be taken for it, and two reflexes never share one.
"""

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Sequence
from typing import Final

from controlplane.arc.kernel.namespaces import Namespaces
from controlplane.arc.kernel.netlink import NETLINK_NETFILTER, must_ask
from controlplane.arc.reflex.acts import AbsentError, Effect, ForeignValueError, Opened
from controlplane.arc.reflex.victims import Victim
from controlplane.link.messages import (
    ENCODER,
    REMOVALS,
    Filling,
    Message,
    Messages,
    Order,
    Removal,
    must_order,
)
from controlplane.link.records import Change
from controlplane.link.rules import ActName, Step

SIOCGIFINDEX: Final = 0x8933
_REQUEST: Final = struct.Struct("=16si20x")
"""struct ifreq: name and number of an interface."""
_NUMBER: Final = struct.Struct("=i")
_ID: Final = struct.Struct("=Q")
_LEVEL: Final = struct.Struct(">I")
_HANDLE: Final = struct.Struct("=I")
ENCODING: Final = "its messages are being encoded, which takes a moment"
FORBIDDEN: Final = "its network is not the arc's own: that takes CAP_SYS_PTRACE and CAP_SYS_ADMIN"
TAKEN: Final = "the interface has a queueing discipline already"
LOST: Final = frozenset({errno.ENOENT, errno.EINVAL})
"""What the kernel says of an object that is no longer there, or of a discipline with another handle."""


class Prepared:
    """What the child has encoded so far."""

    def __init__(self) -> None:
        self.messages: dict[Order, Messages] = {}
        self.missing = ENCODING
        """Why there are none for a step."""


class NetworkAct:
    """One of the two acts."""

    irreversible = False

    def __init__(self, name: ActName, namespaces: Namespaces, prepared: Prepared) -> None:
        self.name = name
        self._namespaces = namespaces
        self._prepared = prepared

    def prepare(self, cgroup: int, step: Step) -> None:
        """See `Act`."""
        protocol = socket.NETLINK_ROUTE if step.interface else NETLINK_NETFILTER
        self._namespaces.prepare(cgroup, protocol)

    def forget(self, cgroup: int) -> None:
        """See `Act`."""
        self._namespaces.forget(cgroup)

    def must_open(self, victim: Victim, step: Step) -> Opened:
        """See `Act`."""
        messages = self._prepared.messages.get(must_order(step))
        if messages is None:
            raise AbsentError(self._prepared.missing)
        try:
            namespace = self._namespaces.must_find(victim.cgroup, messages.protocol)
        except PermissionError:
            raise AbsentError(FORBIDDEN) from None
        try:
            interface = self._must_interface(namespace, step.interface) if step.interface else 0
        except (AbsentError, OSError):
            self._namespaces.must_settle(namespace)
            raise
        drawn = os.urandom(8)
        filling = Filling(
            drawn.hex().encode(),
            _ID.pack(victim.cgroup),
            _LEVEL.pack(victim.path.count("/")),
            _NUMBER.pack(interface),
            _HANDLE.pack(must_handle(drawn)),
        )
        removal = Removal(
            namespace,
            messages.protocol,
            must_fill(messages.find, filling),
            must_fill(messages.mark, filling),
            must_fill(messages.remove, filling),
        )
        change = Change(must_called(step.interface, filling.name), "none", step.act, ENCODER.encode(removal))
        to = self._namespaces.must_socket(namespace, messages.protocol)
        return Opened((to,), (change,), message=must_fill(messages.make, filling), namespace=namespace)

    def _must_interface(self, namespace: int, name: str) -> int:
        """Its number; raises AbsentError where there is none, or where it is everybody's."""
        if namespace == self._namespaces.own:
            raise AbsentError(f"the cgroup shares {name} with all of the node: leave `interface` out")
        there = self._namespaces.must_socket(namespace, socket.NETLINK_ROUTE)
        try:
            answer = fcntl.ioctl(there, SIOCGIFINDEX, _REQUEST.pack(name.encode(), 0))
        except OSError:
            raise AbsentError(f"there is no interface {name} in the cgroup's network") from None
        number: int = _REQUEST.unpack(answer)[1]
        return number

    def must_apply(self, opened: Opened) -> None:
        """See `Act`."""
        removal = REMOVALS.decode(opened.changes[0].removal)
        try:
            must_ask(self._namespaces.must_socket(opened.namespace, removal.protocol), opened.message)
        except FileExistsError:
            raise FileExistsError(errno.EEXIST, TAKEN) from None
        self._namespaces.must_hold(opened.namespace)

    def must_release(self, opened: Opened) -> None:
        """See `Act`."""
        self._namespaces.must_settle(opened.namespace)

    def undo(self, victim: Victim, changes: Sequence[Change]) -> None:
        """See `Act`."""
        removal = REMOVALS.decode(changes[0].removal)
        try:
            to = self._namespaces.reach(removal.namespace, removal.protocol)
            try:
                if removal.mark not in must_ask(to, removal.find):
                    raise ForeignValueError
                must_ask(to, removal.remove)
            except OSError as error:
                if error.errno in LOST:
                    raise ForeignValueError from None
                raise
        finally:
            self._namespaces.let_go(removal.namespace)

    def must_effect(self, victim: Victim) -> Effect | None:
        """No event tells."""
        return None

    def must_have(self, victim: Victim, changes: tuple[Change, ...]) -> bool:
        """See `Act`."""
        removal = REMOVALS.decode(changes[0].removal)
        to = self._namespaces.must_socket(removal.namespace, removal.protocol)
        return removal.mark in must_ask(to, removal.find)


def must_fill(message: Message, filling: Filling) -> bytes:
    """The message with its blanks filled in."""
    filled = bytearray(message.data)
    for blank in message.blanks:
        value = filling[blank.what]
        filled[blank.at : blank.at + len(value)] = value
    return bytes(filled)


def must_handle(drawn: bytes) -> int:
    """Of a queueing discipline: below 0x8000, where the kernel begins with those it gives itself."""
    return (0x4000 | drawn[0] << 6 | drawn[1] >> 2) << 16


def must_called(interface: str, name: bytes) -> str:
    """As people find it: with `tc qdisc show dev eth0`, or `nft list table inet reflexarc-1f...`."""
    if interface:
        return (b"qdisc of " + interface.encode() + b" " + name).decode()
    return (b"table inet reflexarc-" + name).decode()
