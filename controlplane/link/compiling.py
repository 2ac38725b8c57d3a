"""Between the arc and the compiler it starts: what to compile, and what has come of each source.

One msgpack message per SOCK_SEQPACKET datagram, descriptors alongside (SCM_RIGHTS).
"""

from typing import Final, Literal

import msgspec

MAX_MESSAGE: Final = 160 * 1024
MAX_LOG: Final = 128 * 1024
MAX_DESCRIPTORS: Final = 250
"""The kernel takes 253 with one message (SCM_MAX_FD)."""

Compiler = Literal["clang", "bcc"]


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One sensor's source. With `clang` where that is present, else with bcc."""

    name: str
    path: str
    numbers: dict[str, int] = {}
    """Macros to define: the names of a user's own signals."""
    compiler: Compiler = "bcc"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Compile these. The descriptors of the maps named in `shared` come along, in that order."""

    sources: tuple[Source, ...]
    shared: tuple[str, ...] = ()
    perf: bool = False
    """Events through perf ring buffers instead of the BPF ring buffer."""
    ring_bytes: int


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What has come of one source, in the order of the request.

    Descriptors: with `clang` the object file; with `bcc` a map for each of `maps`, then for each of
    `programs` the program and the link that keeps it attached. None when there is a reason.
    """

    name: str
    compiler: Compiler = "bcc"
    reason: str = ""
    """Why it does not feel, on one line; empty when it does."""
    log: str = ""
    """All that compiler or verifier said."""
    maps: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()


REQUESTS: Final = msgspec.msgpack.Decoder(Request)
ANSWERS: Final = msgspec.msgpack.Decoder(Answer)
