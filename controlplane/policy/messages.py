"""Encodes the netlink messages of steps, for an arc that does not: pyroute2 takes more memory than all of it.

Run by the arc as `python -m controlplane.policy.messages --in-fd N --out-fd M`: reads steps from the one,
writes their messages to the other, both as msgpack in the same order.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from pyroute2.netlink import nlmsg

from controlplane.link.capabilities import keep_only
from controlplane.link.messages import ENCODER, STEPS, Blank, Filling, Message, Messages
from controlplane.link.rules import Step
from controlplane.policy import nftables, traffic

FILLINGS: Final = (
    Filling(
        name=b"0f1e2d3c4b5a6978",
        cgroup=b"\xc1\x52\xe3\x74\xa5\x96\x87\xb8",
        level=b"\xd1\xe2\x53\x74",
        interface=b"\x11\x92\xb3\x54",
        handle=b"\x00\x00\xb7\x49",
    ),
    Filling(
        name=b"8796a5b4c3d2e1f0",
        cgroup=b"\x3e\xad\x1c\x8b\x5a\x69\x78\x47",
        level=b"\x2e\x1d\xac\x8b",
        interface=b"\xee\x6d\x4c\x2b",
        handle=b"\x00\x00\x48\x36",
    ),
)
"""What stands in the blanks while a message is encoded. Where both stand, it is no address of a policy."""


def messages_of(step: Step) -> Messages:
    """All that one step sends."""
    encode = traffic.shaping if step.interface else nftables.table
    one, other = (encode(step, filling) for filling in FILLINGS)
    return Messages(
        one.protocol,
        message_of(encoded(one.make), encoded(other.make)),
        message_of(encoded(one.find), encoded(other.find)),
        message_of(one.mark, other.mark),
        message_of(encoded(one.remove), encoded(other.remove)),
    )


def encoded(messages: Iterable[nlmsg]) -> bytes:
    """One after another, as they are sent together."""
    found = b""
    for sequence, message in enumerate(messages, 1):
        message["header"]["sequence_number"] = sequence
        message.reset()
        message.encode()
        found += bytes(message.data)
    return found


def message_of(one: bytes, other: bytes) -> Message:
    """The same message with one and with the other filling."""
    return Message(one, tuple(_blanks(one, other)))


def _blanks(one: bytes, other: bytes) -> Iterator[Blank]:
    for what, (value, instead) in enumerate(zip(*FILLINGS, strict=True)):
        at = one.find(value)
        while at >= 0:
            if other.startswith(instead, at):
                yield Blank(at, what)
            at = one.find(value, at + 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Encode what is asked for; 0."""
    parser = argparse.ArgumentParser(prog="controlplane.policy.messages", description=__doc__)
    parser.add_argument("--in-fd", type=int, required=True, metavar="N")
    parser.add_argument("--out-fd", type=int, required=True, metavar="M")
    options = parser.parse_args(arguments)
    keep_only(frozenset())
    with os.fdopen(options.in_fd, "rb") as asked:
        steps = STEPS.decode(asked.read())
    with os.fdopen(options.out_fd, "wb") as out:
        out.write(ENCODER.encode(tuple(messages_of(step) for step in steps)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
