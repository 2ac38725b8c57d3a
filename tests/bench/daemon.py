"""A daemon to measure: started with given rules in folders of its own, and what its journal says."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Final, Self

import msgspec

from controlplane.link.config import Config
from controlplane.link.records import DECODER, Record
from controlplane.link.rules import Boot, Rule, RuleSet
from controlplane.link.segment import HEADER, DamagedSegmentError, read_entries, read_header
from tests.bench.testbed import CannotMeasureError, end, start

START_SECONDS: Final = 15
BREAKER_ACTS: Final = 1_000_000


def free_port() -> int:
    """A port of the loopback that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def config(folder: Path, **settings: object) -> Config:
    """An enforcing configuration whose every file lies in `folder`, without policies of the host."""
    given: dict[str, object] = {
        "mode": "enforce",
        "runtime_dir": str(folder / "run"),
        "state_dir": str(folder / "state"),
        "policies": str(folder / "policies.d"),
        "default_policies": False,
        "metrics": f"127.0.0.1:{free_port()}",
        "health": f"127.0.0.1:{free_port()}",
        "breaker_acts": BREAKER_ACTS,
    }
    return msgspec.convert(given | settings, Config)


class Daemon:
    """Arc and plane. In a `with` block it is armed; afterwards it has stopped."""

    def __init__(self, config: Config, rules: Iterable[Rule]) -> None:
        self.config = config
        self._boot = Boot(config, RuleSet(tuple(rules)))
        self._process: subprocess.Popen[str] | None = None
        self._said: list[str] = []
        self._changed = threading.Condition()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Of the arc."""
        assert self._process is not None
        return self._process.pid

    @property
    def plane_pid(self) -> int:
        """Of the plane, the arc's one child; 0 while there is none."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return int(children[0]) if children else 0

    @property
    def socket(self) -> Path:
        """Where management listens."""
        return Path(self.config.runtime_dir, "management.sock")

    def start(self) -> None:
        """Returns when the arc has said that it is armed."""
        fd = os.memfd_create("boot")
        os.write(fd, msgspec.msgpack.encode(self._boot))
        command = [sys.executable, "-m", "controlplane.arc", "--boot-fd", str(fd)]
        self._said.clear()
        self._process = start(command, pass_fds=(fd,), stderr=subprocess.PIPE)
        os.close(fd)
        assert self._process.stderr is not None
        threading.Thread(target=self._listen, args=(self._process.stderr,), daemon=True).start()
        self.await_said("arc.armed")

    def stop(self) -> None:
        """As systemd would; nothing when it is dead already."""
        if self._process is not None:
            end(self._process)

    def kill(self) -> None:
        """SIGKILL to the arc."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def await_said(self, words: str) -> str:
        """The first line on stderr that matches, as soon as there is one."""
        with self._changed:
            found = self._changed.wait_for(lambda: self._find(words), START_SECONDS)
        if not found:
            raise CannotMeasureError(f"the daemon did not say {words!r}: {''.join(self._said)}")
        return found

    def _find(self, words: str) -> str | None:
        return next((line for line in self._said if re.search(words, line)), None)

    def _listen(self, stderr: IO[str]) -> None:
        for line in stderr:
            with self._changed:
                self._said.append(line)
                self._changed.notify_all()

    def records(self) -> list[Record]:
        """Everything journalled in the folders of this configuration, in order, each once."""
        return [record for _, record in journalled(self.config)]


def journalled(config: Config) -> list[tuple[tuple[int, int], Record]]:
    """((instance, index), record) from the head and from the plane's copy of it."""
    found: dict[tuple[int, int], bytes] = {}
    for directory in (Path(config.state_dir, "journal"), Path(config.runtime_dir, "journal")):
        for path in sorted(directory.glob("*.seg")):
            found.update(_entries(path))
    return [(key, DECODER.decode(found[key])) for key in sorted(found)]


def _entries(path: Path) -> Iterator[tuple[tuple[int, int], bytes]]:
    try:
        buffer = path.read_bytes()
        header = read_header(buffer)
    except (FileNotFoundError, DamagedSegmentError):
        return  # moved to the disk, or begun this moment
    for entry in read_entries(buffer, HEADER.size):
        yield (header.instance, entry.index), entry.payload


def now_ns() -> int:
    """CLOCK_MONOTONIC, as everywhere in the journal."""
    return time.monotonic_ns()
