"""The live view of `reflexarc top`, drawn with rich. Asks the client, prints nothing once it is left.

Redrawn when something is told, and once a second for the counts while somebody looks.
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from controlplane.cli.show import NS_PER_S, date, mode_word
from controlplane.cli.status import in_force_words
from controlplane.cli.words import event_line, quantity
from controlplane.client import Client, ClientError
from controlplane.wire import management_pb2 as pb

REFRESH_S: Final = 1.0
LINES_KEPT: Final = 200
COLOURS: Final = {"finding": "yellow", "step": "bold", "loss": "red", "notice": "dim"}


class Feed:
    """Lines of what is told, gathered by a thread of its own. Ends with the client's connection."""

    def __init__(self, events: Iterator[pb.WatchResponse]) -> None:
        self.lines: deque[Text] = deque(maxlen=LINES_KEPT)
        self.error: ClientError | None = None
        """Why nothing more is told."""
        self._news = threading.Event()
        self._events = events
        threading.Thread(target=self._gather, daemon=True).start()

    def wait(self, timeout_s: float) -> None:
        """Returns at news, or after the time. Raises ClientError once nothing more is told."""
        self._news.wait(timeout_s)
        self._news.clear()
        if self.error:
            raise self.error

    def _gather(self) -> None:
        try:
            for event in self._events:
                self.lines.append(Text(event_line(event), COLOURS[event.WhichOneof("event") or "notice"]))
                self._news.set()
        except ClientError as error:
            self.error = error
            self._news.set()


class Rates:
    """Events per second of each stream, from one snapshot to the next."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, int], int] = {}
        self._time_ns = 0

    def update(self, streams: Sequence[pb.Stream], time_ns: int) -> list[tuple[float, pb.Stream]]:
        """Streams with their rate since the last snapshot, the busiest first; none has one at first."""
        seconds = (time_ns - self._time_ns) / NS_PER_S if self._time_ns else 0.0
        rated = [(self._rate(stream, seconds), stream) for stream in streams]
        self._before = {(stream.signal, stream.of.cgroup): stream.count for stream in streams}
        self._time_ns = time_ns
        return sorted(rated, key=lambda pair: (-pair[0], -pair[1].count))

    def _rate(self, stream: pb.Stream, seconds: float) -> float:
        before = self._before.get((stream.signal, stream.of.cgroup), 0)
        return (stream.count - before) / seconds if seconds > 0 else 0.0


def show(client: Client) -> None:
    """Draws until interrupted, or until the daemon ends: ClientError. Leaves the terminal clean."""
    feed, rates = Feed(client.watch()), Rates()
    with Live(console=Console(), screen=True, auto_refresh=False) as live:
        while True:
            status = client.status()
            streams = rates.update(client.streams(), status.time.ToNanoseconds())
            live.update(page(status, streams, list(feed.lines), live.console.height), refresh=True)
            feed.wait(REFRESH_S)


def page(
    status: pb.GetStatusResponse,
    streams: Iterable[tuple[float, pb.Stream]],
    lines: Sequence[Text],
    height: int,
) -> RenderableType:
    """One screen: the daemon, the busiest streams, what is in force, and what was told last."""
    in_force = [Text(in_force_words(act), "bold red", no_wrap=True) for act in status.in_force[: height // 6]]
    room = max(4, height - len(in_force) - 6)
    told = lines[-(room // 2) :]
    busiest = islice(streams, max(1, room - len(told)))
    return Group(
        _headline(status),
        Rule("felt"),
        _felt(busiest),
        Rule("in force"),
        *(in_force or [Text("nothing", "dim")]),
        Rule("told"),
        *(_cropped(line) for line in told),
    )


def _headline(status: pb.GetStatusResponse) -> Text:
    lost = sum(status.watchers_dropped.values()) + status.link_dropped
    colour = "red" if status.mode == pb.MODE_ENFORCE else "green"
    return Text.assemble(
        ("reflexarc ", "bold"),
        f"{status.version}  mode ",
        (mode_word(status.mode), colour),
        f"  up since {date(status.start_time)}  streams {status.streams:,}  policies {status.policies:,}",
        f"  findings {sum(status.findings.values()):,}" + (f"  not told {lost:,}" if lost else ""),
        no_wrap=True,
    )


def _felt(streams: Iterable[tuple[float, pb.Stream]]) -> Table:
    table = Table(box=None, pad_edge=False, expand=True)
    for name in ("signal", "per second", "events", "last", "peak"):
        table.add_column(name, justify="left" if name == "signal" else "right", no_wrap=True)
    table.add_column("cgroup", no_wrap=True, ratio=1)
    for rate, stream in streams:
        last, peak = (quantity(value, stream.signal, stream.unit) for value in (stream.last, stream.peak))
        table.add_row(stream.signal, f"{rate:,.0f}", f"{stream.count:,}", last, peak, stream.of.path)
    return table


def _cropped(line: Text) -> Text:
    line.no_wrap = True
    return line
