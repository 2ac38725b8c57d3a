"""What the kernel side of a daemon has counted and learned, read from the very maps that its arc has open.

The API does not tell how far bets have come; a benchmark that awaits the end of an alarm wants to know.
"""

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, Self

from controlplane.arc.kernel.events import (
    BET,
    COUNT_STREAM,
    ODDS,
    STREAM_KEY,
    VALUE_STREAM,
    Bet,
    CountStream,
    Odds,
    Signal,
    StreamKey,
    ValueStream,
)
from controlplane.arc.kernel.libbpf import Map
from tests.bench.testbed import CannotMeasureError

UNIT: Final = 64
"""Of statistics and thresholds, in a bit."""
_PIDFD_GETFD: Final = 438
_libc: Final = ctypes.CDLL(None, use_errno=True)


class Bets(NamedTuple):
    """How far the bets of one stream have come."""

    gathered: int
    every: int
    """Values per bet."""
    armed: bool
    open: bool
    """An alarm is."""
    bits: float
    """Statistic."""
    threshold: float
    """In bits, too."""


NONE: Final = Bets(0, 1, armed=False, open=False, bits=0.0, threshold=0.0)


class Felt:
    """The streams of the arc with that pid; in a `with` block."""

    def __init__(self, pid: int) -> None:
        self._counts = _map_of(pid, STREAM_KEY.size, COUNT_STREAM.size)
        self._values = _map_of(pid, STREAM_KEY.size, VALUE_STREAM.size)
        self._bets = _map_of(pid, 4, BET.size)
        self._odds = _map_of(pid, 4, ODDS.size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._counts, self._values, self._bets, self._odds):
            os.close(each.fd)

    def total(self, signal: Signal, key: int) -> int:
        """Kernel events of one stream so far."""
        name = STREAM_KEY.pack(key, signal, 0)
        if data := self._values.lookup(name):
            return ValueStream._make(VALUE_STREAM.unpack(data)).total
        if data := self._counts.lookup(name):
            return CountStream._make(COUNT_STREAM.unpack(data)).total
        return 0

    def bets(self, signal: Signal, key: int) -> Bets:
        """Of one stream of values."""
        data = self._values.lookup(STREAM_KEY.pack(key, signal, 0))
        slot = ValueStream._make(VALUE_STREAM.unpack(data)).slot if data else 0
        return self._bets_of(slot, key) if slot else NONE

    def keys(self, signal: Signal) -> Iterator[int]:
        """Of all its streams."""
        for streams in (self._counts, self._values):
            for name, _ in streams.items():  # noqa: PERF102  # a map is no dict
                key = StreamKey._make(STREAM_KEY.unpack(name))
                if key.signal == signal:
                    yield key.key

    def _bets_of(self, slot: int, key: int) -> Bets:
        bet_data, odds_data = (each.lookup(slot.to_bytes(4, "little")) for each in (self._bets, self._odds))
        if not bet_data or not odds_data:
            return NONE
        bet, odds = Bet._make(BET.unpack(bet_data)), Odds._make(ODDS.unpack(odds_data))
        return Bets(
            gathered=bet.gathered,
            every=2 * odds.half or 1,
            armed=odds.of == key and odds.most > 0,
            open=bet.told > 0,
            bits=bet.statistic / UNIT,
            threshold=odds.threshold / UNIT,
        )


def _map_of(pid: int, key_size: int, value_size: int) -> Map:
    """The arc has one map of each of these sizes, whatever number of descriptors for it."""
    sizes = {"key_size": str(key_size), "value_size": str(value_size)}
    for info in Path(f"/proc/{pid}/fdinfo").iterdir():
        told = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        if all(told.get(name, "").strip() == size for name, size in sizes.items()):
            return Map(_taken(pid, int(info.name)), key_size, value_size)
    raise CannotMeasureError(f"process {pid} has no map with values of {value_size} bytes")


def _taken(pid: int, number: int) -> int:
    """A copy of another process's descriptor."""
    process = os.pidfd_open(pid)
    try:
        fd = int(_libc.syscall(_PIDFD_GETFD, process, number, 0))
    finally:
        os.close(process)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    return fd
