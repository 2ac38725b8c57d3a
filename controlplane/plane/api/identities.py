"""Who calls, as far as the door they took says so: the words for it, and UNIX sockets.

What certificates say is for `certified`, what a role opens for the front door.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import grpc

from controlplane.wire.methods import Role

Context = grpc.aio.ServicerContext[Any, Any]


class Caller(NamedTuple):
    """Who calls, and what that one is trusted with."""

    identity: str
    role: Role | None
    """None: nothing."""


class StrangerError(Exception):
    """Nobody this door lets in; the message is for the caller."""

    def __init__(self, message: str, identity: str = "") -> None:
        super().__init__(message)
        self.identity = identity
        """Who that is, where a certificate says it that does not count."""


Identify = Callable[[Context], Caller]
"""Raises StrangerError."""


def by_socket(role: Role) -> Identify:
    """On a UNIX socket everybody has its role: the file system decided who may connect.

    Both signs are needed: TCP with local credentials says `local`, too, a socket without them `unix:`.
    """

    def identify(context: Context) -> Caller:
        shown = context.auth_context()
        if one(shown, "transport_security_type") == b"local" and context.peer().startswith("unix"):
            return Caller(f"unix:{role.name.lower()}", role)
        raise StrangerError("this is for the UNIX socket alone")

    return identify


def one(found: Mapping[str, Iterable[bytes]], key: str) -> bytes:
    """A property of a connection; empty where it has not just one of that name."""
    values = tuple(found.get(key, ()))
    return bytes(values[0]) if len(values) == 1 else b""
