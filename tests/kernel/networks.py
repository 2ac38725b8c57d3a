"""Networks for tests: a namespace in place of the node's, one that answers, real packets between them.

`nft` and `tc` read what was made there, independently of the code that made it.
"""

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.kernel.conftest import TestCgroup, await_until

HERE: Final = ("10.77.0.1", "fd77::1")
THERE: Final = ("10.77.0.2", "fd77::2")
OTHER: Final = ("10.77.0.3", "fd77::3")
PORT: Final = 7777

TALKER: Final = """
import os, socket, sys
def asked(host):
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(kind, socket.SOCK_DGRAM) as talking:
        talking.settimeout(0.1)
        for _ in range(5):
            try:
                talking.sendto(b"?", (host, 7777))
                return talking.recv(10) == b"!"
            except OSError:
                pass
    return False
def sent(host, times):
    done = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talking:
        for _ in range(times):
            try:
                done += talking.sendto(bytes(1000), (host, 9))
            except OSError:
                pass
    return done
def serve(host):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as answering:
        answering.bind((host, 7777))
        print(1, flush=True)
        while True:
            _, sender = answering.recvfrom(10)
            answering.sendto(b"!", sender)
print(1, flush=True)
for line in sys.stdin:
    what, *words = line.split()
    if what == "fork":
        for _ in range(5):
            if os.fork() == 0:
                os._exit(0)
            os.wait()
    elif what == "ask":
        print(int(asked(words[0])), flush=True)
    elif what == "serve":
        serve(words[0])
    elif what == "send":
        print(sent(words[0], int(words[1])), flush=True)
"""
"""Forks, asks a server whether it is there, and sends a number of kilobytes: as it is told on its input."""

SERVER: Final = """
import selectors, socket, sys
waiting = selectors.DefaultSelector()
for host in sys.argv[1:]:
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    answering = socket.socket(kind, socket.SOCK_DGRAM)
    answering.bind((host, 7777))
    waiting.register(answering, selectors.EVENT_READ)
print(flush=True)
while True:
    for ready, _ in waiting.select():
        _, sender = ready.fileobj.recvfrom(10)
        ready.fileobj.sendto(b"!", sender)
"""


def run(*command: str, inside: int = 0) -> str:
    """Output of a command in this namespace, or in that of a process."""
    prefix = ("nsenter", "-t", str(inside), "-n") if inside else ()
    return subprocess.run([*prefix, *command], check=True, capture_output=True, text=True).stdout


def tables(inside: int = 0) -> list[str]:
    """Names of the tables that nft finds."""
    found = json.loads(run("nft", "-j", "list", "tables", inside=inside))["nftables"]
    return [each["table"]["name"] for each in found if "table" in each]


def discipline(interface: str, inside: int = 0) -> tuple[str, str]:
    """Kind and handle of the queueing discipline at the root of an interface, as tc finds it."""
    found = json.loads(run("tc", "-j", "qdisc", "show", "dev", interface, "root", inside=inside))
    return found[0]["kind"], found[0]["handle"]


class Talker:
    """A process in a cgroup that does what it is told."""

    def __init__(self, cgroup: TestCgroup, *prefix: str) -> None:
        self.process = cgroup.run(*prefix, sys.executable, "-c", TALKER, stdout=subprocess.PIPE)
        self.pid = self.process.pid
        self._answer()

    def tell(self, *words: str) -> None:
        """No answer follows."""
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join(words).encode() + b"\n")
        self.process.stdin.flush()

    def fork(self) -> None:
        """Five times, one after another."""
        self.tell("fork")

    def reaches(self, *hosts: str) -> list[bool]:
        """Which of them answer."""
        return [bool(self._asked("ask", host)) for host in hosts]

    def sends(self, host: str, kilobytes: int) -> int:
        """Bytes that the kernel has taken from it."""
        return self._asked("send", host, str(kilobytes))

    def serve(self, host: str) -> None:
        """Answers whoever asks at this address from now on."""
        assert self._asked("serve", host)

    def _asked(self, *words: str) -> int:
        self.tell(*words)
        return self._answer()

    def _answer(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


@contextlib.contextmanager
def another_namespace() -> Iterator[int]:
    """A process that stays in one of its own."""
    with subprocess.Popen(["unshare", "-n", "cat"], stdin=subprocess.PIPE) as staying:
        own = Path("/proc/self/ns/net").stat().st_ino
        await_until(lambda: Path(f"/proc/{staying.pid}/ns/net").stat().st_ino != own, 10)
        yield staying.pid


def cable(inside: int, near: str = "east", far: str = "west") -> None:
    """From here to the namespace of a process; with the addresses HERE, and there THERE and OTHER."""
    run("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", str(inside))
    for host in HERE:
        add(host, near)
    for host in (*THERE, *OTHER):
        add(host, far, inside)
    run("ip", "link", "set", near, "up")
    run("ip", "link", "set", far, "up", inside=inside)


def add(host: str, interface: str, inside: int = 0) -> None:
    """An address, with which nothing is to be waited for."""
    form = (f"{host}/64", "nodad") if ":" in host else (f"{host}/24",)
    run("ip", "address", "add", *form[:1], "dev", interface, *form[1:], inside=inside)


@contextlib.contextmanager
def server(inside: int, hosts: Sequence[str]) -> Iterator[None]:
    """Answers whoever asks at these addresses."""
    command = ["nsenter", "-t", str(inside), "-n", sys.executable, "-c", SERVER, *hosts]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as answering:
        assert answering.stdout is not None
        answering.stdout.readline()
        yield
        answering.kill()


def answers(host: str) -> bool:
    """Whether the server there does, asked from here."""
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(kind, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.1)
        try:
            asking.sendto(b"?", (host, PORT))
            return asking.recv(10) == b"!"
        except OSError:
            return False
