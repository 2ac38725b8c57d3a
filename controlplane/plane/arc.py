"""The plane's end of the link: asks the arc and hears what it tells by itself.

Best effort and bounded, like the link. Knows frames and nothing of the API; when the socket ends the arc is
gone, and it is for the caller to end the plane.
"""

import asyncio
import logging
import socket
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Final, Self, TypeVar, assert_never

from controlplane.link import frames
from controlplane.link.malformed import MALFORMED

TIMEOUT_S: Final = 5.0
MAX_OUTSTANDING: Final = 64
"""Questions without an answer; more is a flood of API calls, which the arc must not be made to feel."""
MAX_UNSENT: Final = 256
READS_PER_WAKEUP: Final = 64

Health = Mapping[str, tuple[bool, str]]
Make = Callable[[int], frames.Command]
"""Makes a command once its id is known."""
R = TypeVar("R", bound=frames.Result)

log = logging.getLogger(__name__)


class ArcUnavailableError(Exception):
    """The arc did not answer: it is gone, too slow, or asked too much at once."""


class ArcRefusedError(Exception):
    """The arc answered that it does not carry out the command."""

    def __init__(self, refused: frames.Refused) -> None:
        super().__init__(refused.message)
        self.refused = refused


class Arc:
    """One link to one arc, over a connected SOCK_SEQPACKET socket. Belongs to the running event loop."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.counters: Counter[str] = Counter()
        """Frames skipped or dropped, by `bad_frame`, `late_reply` and `unsent`."""
        self.health: Health = {}
        """What the arc last said of its components."""
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._closed = asyncio.Event()
        self._waiting: dict[int, asyncio.Future[frames.Result]] = {}
        self._unsent: deque[bytes] = deque()
        self._last_id = 0
        self._listeners: list[Callable[[Health], None]] = []
        self._loop.add_reader(sock, self._read)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    @property
    def is_closed(self) -> bool:
        """Whether the link has ended."""
        return self._closed.is_set()

    async def closed(self) -> None:
        """Returns when the link has ended, from either side."""
        await self._closed.wait()

    def on_health(self, listener: Callable[[Health], None]) -> None:
        """Calls `listener` now and at every change, from the event loop; it must not block."""
        self._listeners.append(listener)
        listener(self.health)

    async def ask(self, make: Make) -> frames.Result:
        """Sends a command and waits for its result. Raises ArcUnavailableError after 5 s without one.

        Raises ValueError for a command that does not fit into a frame.
        """
        if self.is_closed:
            raise ArcUnavailableError("the arc is gone")
        if len(self._waiting) >= MAX_OUTSTANDING:
            raise ArcUnavailableError("too many questions at once")
        number = self._next_id()
        frame = _encode(make(number))
        future: asyncio.Future[frames.Result] = self._loop.create_future()
        self._waiting[number] = future
        try:
            if not self._send(frame):
                raise ArcUnavailableError("the arc does not read")
            async with asyncio.timeout(TIMEOUT_S):
                return await future
        except TimeoutError:
            raise ArcUnavailableError(f"no answer within {TIMEOUT_S:.0f} s") from None
        finally:
            del self._waiting[number]

    async def ask_for(self, kind: type[R], make: Make) -> R:
        """As `ask`, for the one kind of result that answers this command. Raises ArcRefusedError, too."""
        result = await self.ask(make)
        if isinstance(result, frames.Refused):
            raise ArcRefusedError(result)
        if not isinstance(result, kind):
            raise ArcUnavailableError(f"answered with {type(result).__name__} instead of {kind.__name__}")
        return result

    def tell(self, make: Make) -> None:
        """Sends a command and waits for nothing; with no room left it is dropped and counted."""
        if not self.is_closed:
            self._send(_encode(make(self._next_id())))

    def close(self) -> None:
        """Ends the link; whoever waits for an answer gets ArcUnavailableError."""
        if self.is_closed:
            return
        self._closed.set()
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ArcUnavailableError("the arc is gone"))

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _send(self, frame: bytes) -> bool:
        if len(self._unsent) >= MAX_UNSENT:
            self.counters["unsent"] += 1
            return False
        self._unsent.append(frame)
        self._write()
        return True

    def _write(self) -> None:
        try:
            while self._unsent:
                self._sock.send(self._unsent[0])
                self._unsent.popleft()
        except BlockingIOError:
            self._loop.add_writer(self._sock, self._write)
        except (BrokenPipeError, ConnectionResetError):
            self.close()
        else:
            self._loop.remove_writer(self._sock)

    def _read(self) -> None:
        for _ in range(READS_PER_WAKEUP):
            try:
                frame = self._sock.recv(frames.MAX_FRAME + 1)
            except BlockingIOError:
                return
            except ConnectionResetError:
                frame = b""
            if not frame:
                self.close()
                return
            self._take(frame)

    def _take(self, frame: bytes) -> None:
        if len(frame) > frames.MAX_FRAME:
            self.counters["bad_frame"] += 1
            return
        try:
            telling = frames.TELLINGS.decode(frame)
        except MALFORMED as error:
            self.counters["bad_frame"] += 1
            log.warning("skipped a frame from the arc: %s", error)
            return
        match telling:
            case frames.Reply():
                self._answer(telling)
            case frames.Changed():
                self.health = telling.health
                for listener in self._listeners:
                    listener(self.health)
            case frames.Closing():
                pass  # done by reading it
            case _:
                assert_never(telling)

    def _answer(self, reply: frames.Reply) -> None:
        future = self._waiting.get(reply.id)
        if future is None or future.done():
            self.counters["late_reply"] += 1
        else:
            future.set_result(reply.result)


def _encode(command: frames.Command) -> bytes:
    frame = frames.ENCODER.encode(command)
    if len(frame) > frames.MAX_FRAME:
        raise ValueError(f"{type(command).__name__} of {len(frame)} bytes, a frame holds {frames.MAX_FRAME}")
    return frame
