"""What rtnetlink says of network interfaces, read and asked for: the few header fields that are needed.

Pure: bytes in, links out; no socket. include/uapi/linux/{netlink,rtnetlink,if_link}.h.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

GROUP_LINK: Final = 1
"""RTMGRP_LINK: interfaces that came, went or changed."""

_HEADER: Final = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence, port."""
_LINK: Final = struct.Struct("=BxHiII")
"""struct ifinfomsg: family, type, index, flags, change."""
_ATTRIBUTE: Final = struct.Struct("=HH")
"""struct rtattr: length, type."""

_DONE: Final = 3
_NEW_LINK: Final = 16
_DEL_LINK: Final = 17
_GET_LINK: Final = 18
_REQUEST_DUMP: Final = 0x1 | 0x300
_NAME: Final = 3
"""IFLA_IFNAME."""
_UP_AND_RUNNING: Final = 0x1 | 0x40
"""IFF_UP: somebody wants it; IFF_RUNNING: its operational state is up, or is not told."""


class Link(NamedTuple):
    """One message about an interface, and its number (ifindex)."""

    number: int
    name: str
    up: bool
    gone: bool


END: Final = Link(0, "", up=False, gone=False)
"""Stands for the end of the answer to `dump_request`."""


def dump_request() -> bytes:
    """Ask for every interface there is; they are told like changes, then `END`."""
    length = _HEADER.size + _LINK.size
    return _HEADER.pack(length, _GET_LINK, _REQUEST_DUMP, 0, 0) + _LINK.pack(0, 0, 0, 0, 0)


def links_in(datagram: bytes) -> Iterator[Link]:
    """The links of one datagram; what is cut short or of another kind is left out.

    A bridge tells of its ports in messages of the same types with a family of its own: a port that leaves
    it is not a link that is gone.
    """
    start = 0
    while start + _HEADER.size <= len(datagram):
        length, kind, _, _, _ = _HEADER.unpack_from(datagram, start)
        end = start + length
        if length < _HEADER.size or end > len(datagram):
            return
        body = start + _HEADER.size
        if kind == _DONE:
            yield END
        elif kind in (_NEW_LINK, _DEL_LINK) and end - body >= _LINK.size:
            family, _, number, flags, _ = _LINK.unpack_from(datagram, body)
            if not family:
                name = _name_in(datagram[body + _LINK.size : end])
                up = flags & _UP_AND_RUNNING == _UP_AND_RUNNING
                yield Link(number, name, up=up, gone=kind == _DEL_LINK)
        start = end + 3 & ~3


def _name_in(attributes: bytes) -> str:
    start = 0
    while start + _ATTRIBUTE.size <= len(attributes):
        length, kind = _ATTRIBUTE.unpack_from(attributes, start)
        if length < _ATTRIBUTE.size:
            break
        if kind == _NAME:
            value = attributes[start + _ATTRIBUTE.size : start + length]
            return value.rstrip(b"\0").decode(errors="replace")
        start += length + 3 & ~3
    return ""
