"""Just enough HTTP/2 by hand to send what no well-behaved client would."""

import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM = ACK = 1
END_HEADERS = 4
INITIAL_WINDOW_SIZE = 4


class Frame(NamedTuple):
    """One that the server sent."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """One header, neither indexed nor compressed."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def message(stream: int, body: bytes, flags: int = 0) -> bytes:
    """A gRPC message in one frame."""
    return frame(DATA, flags, stream, struct.pack(">BI", 0, len(body)) + body)


def window(size: int) -> bytes:
    """The server may send so many bytes on each stream."""
    return frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, size))


def received(connection: socket.socket) -> Iterator[Frame]:
    """Frames as they come, until the server closes the connection."""
    with connection.makefile("rb") as reader:
        while len(head := reader.read(9)) == 9:
            size, kind, flags, stream = struct.unpack(">IBBI", b"\0" + head)
            yield Frame(kind, flags, stream, reader.read(size))


def call(path: bytes, stream: int, **more: bytes) -> bytes:
    """The headers of a gRPC call."""
    headers = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": path,
        b":authority": b"localhost",
        b"content-type": b"application/grpc",
        b"te": b"trailers",
        **{name.encode(): value for name, value in more.items()},
    }
    block = b"".join(literal(name, value) for name, value in headers.items())
    return frame(HEADERS, END_HEADERS, stream, block)


BEGINNING = PREFACE + frame(SETTINGS, 0, 0) + frame(SETTINGS, ACK, 0)
"""All that a server needs to hear before calls."""


def connect(address: str | tuple[str, int], *, acknowledging: bool = True) -> socket.socket:
    """A connection past the preface; whoever writes to it owns the rest of the protocol."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    connection = socket.socket(family)
    connection.settimeout(5)
    connection.connect(address)
    connection.sendall(BEGINNING if acknowledging else PREFACE + frame(SETTINGS, 0, 0))
    return connection
