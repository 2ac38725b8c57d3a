"""What a hostile client does to a listener: used by tests and by the benchmark `abuse`.

`python -m tests.plane.attacks NAME ADDRESS METHOD AMOUNT` begins, says so, and goes on until its input ends;
its connections end with it. A process of its own, so that it takes nothing from clients that are measured.
"""

import random
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Final

from tests.readable import readable
from tests.unit.plane.api import raw_http2
from tests.unit.plane.api.raw_http2 import CONTINUATION, END_HEADERS, HEADERS, RST_STREAM, frame

Address = str | tuple[str, int]
Steps = Iterator[None]
Attack = Callable[[Address, bytes, int], AbstractContextManager[Steps]]
"""(where, a method, how many connections) -> what goes on while it lasts."""

SEED: Final = 7
NO_ERROR: Final = bytes(4)
RESETS: Final = 500
"""Streams a write."""
CALLS: Final = 90
"""On one connection; fewer than it may have."""


def opened(address: Address) -> socket.socket:
    """A connection on which nothing was said."""
    connection = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    connection.settimeout(5)
    connection.connect(address)
    return connection


def said(connection: socket.socket, *what: bytes) -> None:
    """Sends as far as the server lets it: that one may have hung up already."""
    with suppress(OSError):
        for part in what:
            connection.sendall(part)


@contextmanager
def half_open(address: Address, _method: bytes, amount: int) -> Iterator[Steps]:
    """So many connections on which not a byte is sent."""
    with ExitStack() as stack:
        for _ in range(amount):
            with suppress(OSError):
                stack.enter_context(opened(address))
        yield iter(())


@contextmanager
def garbage(address: Address, method: bytes, amount: int) -> Iterator[Steps]:
    """Noise; noise in frames after a proper beginning; noise after the headers of a call."""
    dice = random.Random(SEED)
    with ExitStack() as stack:
        for number in range(amount):
            connection = stack.enter_context(opened(address))
            noise = dice.randbytes(dice.randrange(1, 2_000))
            match number % 3:
                case 0:
                    said(connection, noise)
                case 1:
                    framed = frame(dice.randrange(16), dice.randrange(256), dice.randrange(1 << 31), noise)
                    said(connection, raw_http2.PREFACE, frame(raw_http2.SETTINGS, 0, 0), framed)
                case _:
                    said(connection, raw_http2.BEGINNING, raw_http2.call(method, 1), noise)
        yield iter(())


@contextmanager
def tiny_windows(address: Address, method: bytes, amount: int) -> Iterator[Steps]:
    """Calls, `CALLS` on each of so many connections, that leave no room for an answer."""
    with ExitStack() as stack:
        for _ in range(amount):
            connection = stack.enter_context(raw_http2.connect(address))
            said(connection, raw_http2.window(0))
            for stream in range(1, 2 * CALLS, 2):
                said(
                    connection,
                    raw_http2.call(method, stream),
                    raw_http2.message(stream, b"", raw_http2.END_STREAM),
                )
        yield iter(())


@contextmanager
def slowloris(address: Address, method: bytes, amount: int) -> Iterator[Steps]:
    """A third stops within the preface, a third within headers, a third calls and sends no request."""
    with ExitStack() as stack:
        for number in range(amount):
            connection = stack.enter_context(opened(address))
            match number % 3:
                case 0:
                    said(connection, raw_http2.PREFACE[:10])
                case 1:
                    said(connection, raw_http2.BEGINNING, raw_http2.call(method, 1)[:30])
                case _:
                    calls = (raw_http2.call(method, stream) for stream in range(1, 2 * CALLS, 2))
                    said(connection, raw_http2.BEGINNING, *calls)
        yield iter(())


@contextmanager
def rapid_resets(address: Address, method: bytes, amount: int) -> Iterator[Steps]:
    """So many connections on which calls begin and are reset, as fast as one thread can."""
    yield in_turn([resets(address, method) for _ in range(amount)])


def resets(address: Address, method: bytes) -> Steps:
    """Of one connection after the other, as the server closes them."""
    while True:
        with suppress(OSError), raw_http2.connect(address) as connection:
            connection.setblocking(False)
            yield from reset(connection, method)
        yield


def reset(connection: socket.socket, method: bytes) -> Steps:
    """Streams of one connection, and what the server says of them is read and forgotten."""
    for first in range(1, 1 << 30, 2 * RESETS):
        streams = range(first, first + 2 * RESETS, 2)
        begun_and_reset = (
            raw_http2.call(method, stream) + frame(RST_STREAM, 0, stream, NO_ERROR) for stream in streams
        )
        left = memoryview(b"".join(begun_and_reset))
        while left:
            with suppress(BlockingIOError):
                left = left[connection.send(left) :]
            with suppress(BlockingIOError):
                connection.recv(65536)
            yield


@contextmanager
def endless_headers(address: Address, method: bytes, amount: int) -> Iterator[Steps]:
    """So many connections whose headers go on and on, and which never agree to a limit."""
    yield in_turn([headers(address, method) for _ in range(amount)])


def headers(address: Address, method: bytes) -> Steps:
    """Of one connection after the other."""
    block = b"".join(raw_http2.literal(b"x%d" % number, bytes(100)) for number in range(100))
    while True:
        with suppress(OSError), opened(address) as connection:
            begun = raw_http2.call(method, 1)[9:]
            connection.sendall(raw_http2.PREFACE + frame(raw_http2.SETTINGS, 0, 0))
            connection.sendall(frame(HEADERS, 0, 1, begun))
            for _ in range(400):
                connection.sendall(frame(CONTINUATION, 0, 1, block))
                yield
            connection.sendall(frame(CONTINUATION, END_HEADERS, 1))
        yield


def in_turn(steps: list[Steps]) -> Steps:
    """A step of each, on and on."""
    while True:
        for each in steps:
            yield next(each)


ATTACKS: Final[Mapping[str, Attack]] = {
    "garbage": garbage,
    "tiny windows": tiny_windows,
    "slowloris": slowloris,
    "rapid resets": rapid_resets,
    "endless headers": endless_headers,
    "half-open": half_open,
}


@contextmanager
def attacking(name: str, address: Address, method: str, amount: int) -> Iterator[None]:
    """The attack as a process, begun when the block begins."""
    where = address if isinstance(address, str) else ":".join(map(str, address))
    command = (sys.executable, "-m", "tests.plane.attacks", name, where, method, str(amount))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"begun\n"
            yield
            assert process.poll() is None, "the attack ended by itself"
        finally:
            process.stdin.close()


def attack(name: str, where: str, method: str, amount: str) -> None:
    """Until standard input ends."""
    host, _, port = where.partition(":")
    address = (host, int(port)) if port else where
    with ATTACKS[name](address, method.encode(), int(amount)) as steps:
        sys.stdout.write("begun\n")
        sys.stdout.flush()
        for _ in steps:
            if readable(sys.stdin.fileno(), 0):
                return
        sys.stdin.read()


if __name__ == "__main__":
    attack(*sys.argv[1:])
