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
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, Self

import msgspec

from controlplane.client import HealthClient
from controlplane.link.config import Config
from controlplane.link.records import DECODER, Notice, Record
from controlplane.link.rules import WHOLE, Boot, Rule, RuleSet
from controlplane.link.segment import HEADER, DamagedSegmentError, read_entries, read_header
from tests.bench.testbed import CannotMeasureError, end, python, start

START_SECONDS: Final = 300
"""An emulated machine beside others takes its time."""
ACTS_A_SECOND: Final = 1000
"""More than any benchmark has irreversible ones, and all that a breaker can allow."""


def free_port() -> int:
    """A port of the loopback that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def budget(patience: int) -> int:
    """The arc's own, in hundredths of a per cent of a CPU: a slow machine would have sensors shed by it."""
    return min(WHOLE, 500 * patience**2)


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
        "breaker_acts": ACTS_A_SECOND,
        "breaker_window_s": 1,
    }
    return msgspec.convert(given | settings, Config)


class Daemon:
    """Arc and plane. In a `with` block it is armed; afterwards it has stopped.

    With `rules` the arc is started with just these; without, as a person does it: `reflexarc run` in observe
    mode with the default policies.
    """

    def __init__(self, config: Config, rules: Iterable[Rule] | None = None) -> None:
        self.config = config
        self.exec_ns = 0
        """CLOCK_MONOTONIC just before it was started."""
        self._boot = None if rules is None else Boot(config, RuleSet(tuple(rules)))
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
        self.launch()
        self.await_said("arc.armed")

    def launch(self) -> None:
        """Returns when it has been executed."""
        self._said.clear()
        with self._command() as (command, descriptors):
            self.exec_ns = now_ns()
            self._process = start(command, pass_fds=descriptors, stderr=subprocess.PIPE)
        assert self._process.stderr is not None
        threading.Thread(target=self._listen, args=(self._process.stderr,), daemon=True).start()

    @contextmanager
    def _command(self) -> Iterator[tuple[list[str], tuple[int, ...]]]:
        if self._boot is None:
            yield self._launcher(), ()
            return
        fd = os.memfd_create("boot")
        try:
            os.write(fd, msgspec.msgpack.encode(self._boot))
            yield python("controlplane.arc", "--boot-fd", fd), (fd,)
        finally:
            os.close(fd)

    def _launcher(self) -> list[str]:
        config = self.config
        Path(config.policies).mkdir(exist_ok=True)
        options = {
            "--policies": config.policies,
            "--runtime-dir": config.runtime_dir,
            "--state-dir": config.state_dir,
            "--metrics": config.metrics,
            "--health": config.health,
            "--loader": config.loader,
        }
        words = [word for option in options.items() for word in option]
        return [str(Path(sys.executable).with_name("reflexarc")), "run", *words]

    def await_serving(self) -> int:
        """Returns when its health says SERVING; the CLOCK_MONOTONIC time of that."""
        host, _, port = self.config.health.partition(":")
        while not _accepts(host, int(port)):
            time.sleep(0.005)
        with HealthClient(self.config.health) as client:
            if "serving" not in client.watch(""):
                raise CannotMeasureError("the daemon does not serve")
        return now_ns()

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

    def armed_ms(self) -> float:
        """From just before it was executed to its own record of being armed."""
        armed = next(each for each in self.records() if isinstance(each, Notice) and each.name == "arc.armed")
        return (armed.time_ns - self.exec_ns) / 1e6

    def records(self) -> list[Record]:
        """Everything journalled in the folders of this configuration, in order, each once."""
        return [record for _, record in journalled(self.config)]


def _accepts(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


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
