"""Requests to the kernel over netlink, whose bytes others have made: sent, and the answer read at once.

The kernel works on a request while it is sent, so its answer is there afterwards and nothing is waited for.
It may wait for its own lock of that network namespace, as whoever changes anything there.
"""

import errno
import os
import socket
import struct
from typing import Final

MOST_READ: Final = 16384
NETLINK_NETFILTER: Final = 12
"""Which the module socket lacks."""
SOL_NETLINK: Final = 270
NETLINK_CAP_ACK: Final = 10
"""An acknowledgement without the request that it is for."""

_HEADER: Final = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence, port."""
_ERROR: Final = struct.Struct("=i")
"""struct nlmsgerr: 0, or a negative error number."""
_TYPE_ERROR: Final = 2


def open_netlink(protocol: int) -> int:
    """A descriptor into the network namespace in which this process is now; raises OSError."""
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    made = socket.socket(socket.AF_NETLINK, kind, protocol)
    made.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
    return made.detach()


def must_ask(to: int, request: bytes) -> bytes:
    """Send it, and return what was answered beside acknowledgements. Raises OSError if any part failed.

    Some part of the request must ask for an acknowledgement.
    """
    os.write(to, request)
    found, code = b"", errno.EPROTO
    while True:
        try:
            datagram = os.read(to, MOST_READ)
        except BlockingIOError:
            break
        _, kind, _, _, _ = _HEADER.unpack_from(datagram)
        if kind != _TYPE_ERROR:
            found += datagram
            continue
        (said,) = _ERROR.unpack_from(datagram, _HEADER.size)
        # Of a batch that failed, parts before the one that did are acknowledged as well.
        if code in (0, errno.EPROTO):
            code = -said
    if code:
        raise OSError(code, os.strerror(code))
    return found
