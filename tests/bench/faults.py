"""Faults that can be done to a machine and taken back, each beside a stream that should tell of it."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final, NamedTuple

from controlplane.arc.kernel.keys import device_key, label_of
from tests.bench.learned import cgroup_key
from tests.bench.testbed import CannotMeasureError, cgroup, cgroup_mount, compiled, running

WAKERS: Final = (4, 2000)
WORKERS: Final = (2, 30_000)
"""Processes, and microseconds between two times that one wakes up; the workers need milliseconds then."""
HOGS: Final = 32
FORKS_PER_S: Final = 200
STORM_PER_S: Final = 3000
READ_GAP_US: Final = 2000
WRITERS: Final = 32
DEVICE_BYTES: Final = 64 << 20
CONNECTIONS: Final = 64
SEND_GAP_US: Final = 10_000
USUAL: Final = "20\n"
"""Of 1,000 segments that are lost."""
LOSSY: Final = "200\n"


class Subject(NamedTuple):
    """Whose stream should tell, and what is done to it."""

    policy: str
    key: int
    """Of the stream."""
    path: str
    """Of the cgroup, or what the stream is called."""
    fault: Callable[[], AbstractContextManager[int]]
    """For the length of a block; gives the CLOCK_MONOTONIC time at which it began."""


@contextmanager
def program(place: Path, *words: object, **options: object) -> "Iterator[tuple[subprocess.Popen[str], int]]":
    """`fault` with these words, and when it began."""
    command = [str(word) for word in (compiled("fault"), place, *words)]
    with running(command, stdout=subprocess.PIPE, **options) as process:
        try:
            yield process, begun(process)
        finally:
            (place / "cgroup.kill").write_text("1")


def begun(process: "subprocess.Popen[str]") -> int:
    """The time it says next."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise CannotMeasureError(f"{process.args!r} did not begin")
    return int(line)


def path_of(place: Path) -> str:
    """As findings have it."""
    return f"/{place.relative_to(cgroup_mount())}"


@contextmanager
def processors() -> Iterator[Subject]:
    """A service that wakes up often and works now and then; in another cgroup, many that never sleep."""
    with ExitStack() as stack:
        victim, hog = stack.enter_context(cgroup("victim")), stack.enter_context(cgroup("hog"))
        stack.enter_context(program(victim, "wake", *WAKERS))
        stack.enter_context(program(victim, "work", *WORKERS))

        @contextmanager
        def fault() -> Iterator[int]:
            with program(hog, "burn", HOGS, 0) as (_, began_ns):
                yield began_ns

        yield Subject("runq-delay", cgroup_key(victim), path_of(victim), fault)


@contextmanager
def forks() -> Iterator[Subject]:
    """One that forks now and then, and begins to do nothing else."""
    with cgroup("forks") as place, program(place, "fork", FORKS_PER_S, 0):

        @contextmanager
        def fault() -> Iterator[int]:
            with program(place, "fork", STORM_PER_S, 0) as (_, began_ns):
                yield began_ns

        yield Subject("forks", cgroup_key(place), path_of(place), fault)


@contextmanager
def disk() -> Iterator[Subject]:
    """One that reads from a device, and others that write to it and wait for each write."""
    with ExitStack() as stack:
        reader, writer = stack.enter_context(cgroup("reader")), stack.enter_context(cgroup("writer"))
        device = stack.enter_context(loop_device())
        stack.enter_context(program(reader, "read", device, READ_GAP_US))

        @contextmanager
        def fault() -> Iterator[int]:
            with program(writer, "write", device, WRITERS) as (_, began_ns):
                yield began_ns

        number = Path(device).stat().st_rdev
        key = device_key(os.major(number), os.minor(number), 0)
        yield Subject("block-latency", key, label_of("device", key), fault)


@contextmanager
def loop_device() -> Iterator[str]:
    """A block device over a file of its own, on the disk."""
    with NamedTemporaryFile(prefix="reflexarc-bench-", dir="/var/tmp") as file:
        os.posix_fallocate(file.fileno(), 0, DEVICE_BYTES)
        command = ("losetup", "-f", "--show", file.name)
        made = subprocess.run(command, check=False, capture_output=True, text=True)
        if made.returncode:
            raise CannotMeasureError(f"no loop device: {made.stderr.strip()}")
        device = made.stdout.strip()
        try:
            yield device
        finally:
            subprocess.run(("losetup", "-d", device), check=True)


@contextmanager
def network() -> Iterator[Subject]:
    """Connections that lose a segment now and then, and then one in five.

    Lost by a filter of the receiving socket, which works where there is no netem; the sender cannot tell.
    """
    words = ("talk", CONNECTIONS, SEND_GAP_US)
    with cgroup("network") as place, program(place, *words, stdin=subprocess.PIPE) as (talk, _):

        def lose(share: str) -> int:
            assert talk.stdin is not None
            talk.stdin.write(share)
            talk.stdin.flush()
            return begun(talk)

        @contextmanager
        def fault() -> Iterator[int]:
            yield lose(LOSSY)

        lose(USUAL)
        yield Subject("retransmits", cgroup_key(place), path_of(place), fault)


class Kind(NamedTuple):
    """A kind of fault."""

    subject: Callable[[], AbstractContextManager[Subject]]
    fresh: bool
    """Each time a new stream: what keeps coming and going is trusted less, and in the end usual."""
    age_s: float = 15
    """Of a stream before its first fault: a younger one takes what it feels for usual within moments."""
    found_s: float = 10
    """A fault that is not found so soon is missed."""


KINDS: Final = {
    "cpu hog": Kind(processors, fresh=True),
    "fork storm": Kind(forks, fresh=True),
    "sync writes": Kind(disk, fresh=False),
    "segments lost": Kind(network, fresh=True),
}
