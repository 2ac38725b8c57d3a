"""What one screen of the live view holds."""

from rich.console import Console
from rich.text import Text

from controlplane.cli.screen import Rates, page
from controlplane.plane.api import convert
from controlplane.wire import management_pb2 as pb
from tests.unit.plane.responder import STATUS

NS = 1_000_000_000


def stream(cgroup: int, count: int) -> pb.Stream:
    return pb.Stream(
        signal="process.fork", unit="1", of=pb.Victim(cgroup=cgroup, path=f"/c{cgroup}"), count=count
    )


def test_rates_follow_from_two_snapshots() -> None:
    rates = Rates()
    assert [rate for rate, _ in rates.update([stream(1, 100), stream(2, 50)], 10 * NS)] == [0, 0]
    later = rates.update([stream(1, 101), stream(2, 250), stream(3, 4)], 12 * NS)
    assert [(rate, one.of.cgroup) for rate, one in later] == [(100, 2), (2, 3), (0.5, 1)]


def test_a_page_fits_the_terminal_and_keeps_the_newest() -> None:
    console = Console(width=120, height=24, record=True, force_terminal=False)
    streams = [(float(number), stream(number, number)) for number in range(99, 0, -1)]
    lines = [Text(f"line {number} " + "x" * 200) for number in range(100)]
    with console.capture() as capture:
        console.print(page(convert.status(STATUS, 0), streams, lines, 24))
    shown = capture.get().splitlines()
    assert len(shown) <= 24
    assert "mode observe" in shown[0]
    assert any("freeze /storm by fork-storm" in line for line in shown)
    assert any(line.startswith("line 99 ") for line in shown)
    assert any("/c99" in line for line in shown)
    assert not any("/c1 " in line for line in shown)
