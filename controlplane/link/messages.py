"""Netlink messages on their way from the child that encodes them to the arc that sends them.

They are bytes with blanks; the arc fills in whom an act is about and knows nothing of what is around them.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from controlplane.link.amounts import Amount
from controlplane.link.reach import Network
from controlplane.link.rules import Rule, Step

PREPARED_ACTS: Final = frozenset({"shape", "quarantine"})
"""Acts that send messages."""
DIGITS: Final = 16
"""Of the number of an act, in hexadecimal, by which its objects are named."""


class Filling(NamedTuple):
    """What goes into the blanks of a message, by `Blank.what`; all as they lie in it."""

    name: bytes
    """DIGITS of the act's number."""
    cgroup: bytes
    """Its id: 8 bytes."""
    level: bytes
    """How deep it lies below the cgroup2 root: 4 bytes, most significant first."""
    interface: bytes
    """Its number: 4 bytes."""
    handle: bytes
    """Of a queueing discipline: 4 bytes."""


class Blank(msgspec.Struct, frozen=True, array_like=True):
    """Where a message is filled in, and with which field of Filling."""

    at: int
    what: int


class Message(msgspec.Struct, frozen=True, array_like=True):
    """Bytes with blanks."""

    data: bytes
    blanks: tuple[Blank, ...] = ()


class Messages(msgspec.Struct, frozen=True, array_like=True):
    """All that one step sends."""

    protocol: int
    """Of the socket: NETLINK_NETFILTER or NETLINK_ROUTE."""
    make: Message
    find: Message
    """Asks for what was made."""
    mark: Message
    """What the answer has in it if it is still ours."""
    remove: Message


class Removal(msgspec.Struct, frozen=True, array_like=True):
    """How an act is taken back, filled in; it is journalled with the act's intent."""

    namespace: int
    """Inode of the network namespace."""
    protocol: int
    find: bytes
    mark: bytes
    remove: bytes


Order = tuple[str, tuple[Amount, ...], tuple[Network, ...], str]
"""What of a step its messages depend on."""


def must_order(step: Step) -> Order:
    """Steps of one order share their messages."""
    return step.act, step.amounts, step.allow, step.interface


def orders_of(rules: Iterable[Rule]) -> dict[Order, Step]:
    """What must be encoded before these rules can act, with one step each."""
    return {
        must_order(step): step
        for rule in rules
        if rule.mode == "enforce"
        for step in rule.ladder
        if step.act in PREPARED_ACTS
    }


STEPS: Final = msgspec.msgpack.Decoder(tuple[Step, ...])
"""What the child is asked for."""
PREPARED: Final = msgspec.msgpack.Decoder(tuple[Messages, ...])
"""What it answers, in the same order."""
REMOVALS: Final = msgspec.msgpack.Decoder(Removal)
ENCODER: Final = msgspec.msgpack.Encoder()
