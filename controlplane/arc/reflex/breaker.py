"""The breaker: at most so many irreversible acts in a window, on the node and for each policy; then it opens.

A policy may have a number and a window of its own. What was counted lies in a small mapped file on tmpfs,
written before the act, so that neither a crash nor a restart of the daemon gives a new budget. A reboot does.
"""

import contextlib
import mmap
import os
import struct
from collections import deque
from collections.abc import Container, Iterable, Iterator
from typing import Final

from controlplane.arc.reflex.journal import boot_id
from controlplane.link.rules import MAX_RULES, Allowance, Rule

NAME: Final = "breaker"
MAGIC: Final = b"RFLXBRK1"
HEADER: Final = struct.Struct("<8sQ16s")
"""Magic, acts there is room for, boot."""
RULE_BYTES: Final = 64
ACT: Final = struct.Struct(f"<Q{RULE_BYTES}s")
"""When, 0 while the place is free, and of which rule."""
OPEN: Final = struct.Struct(f"<Q{RULE_BYTES}s")
"""1, 0 while the place is free, and which rule's; without a name the node's."""
WHEN: Final = struct.Struct("<Q")
MAX_OPEN: Final = MAX_RULES + 1
ROOM: Final = 2048
"""The last acts, of all policies, that outlive the process."""
MAX_BYTES: Final = 1 << 20

Buffer = bytearray | mmap.mmap


def size_for(acts: int) -> int:
    """Bytes of a memory with room for so many acts."""
    return HEADER.size + acts * ACT.size + MAX_OPEN * OPEN.size


class Memory:
    """The acts counted last and the breakers open, in a buffer that outlives the process."""

    def __init__(self, buffer: Buffer, acts: int) -> None:
        self._buffer = buffer
        self._acts = acts
        self._next = 0

    def must_note(self, time_ns: int, rule: str) -> None:
        """One more act; it takes the place of the oldest."""
        at = HEADER.size + self._next * ACT.size
        self._next = (self._next + 1) % self._acts
        self._must_write(at, time_ns, rule)

    def must_open(self, rule: str) -> None:
        """The breaker of a rule is open."""
        first = HEADER.size + self._acts * ACT.size
        for at in range(first, first + MAX_OPEN * OPEN.size, OPEN.size):
            if not WHEN.unpack_from(self._buffer, at)[0]:
                self._must_write(at, 1, rule)
                return

    def _must_write(self, at: int, number: int, rule: str) -> None:
        """The number last: before it, the place is free, whenever the process ends."""
        WHEN.pack_into(self._buffer, at, 0)
        ACT.pack_into(self._buffer, at, 0, rule.encode())
        WHEN.pack_into(self._buffer, at, number)

    def acts(self) -> list[tuple[int, str]]:
        """(time, rule) in the order of time."""
        return sorted(self._entries(HEADER.size, self._acts))

    def opened(self) -> set[str]:
        """Rules whose breaker is open, "" for the node."""
        first = HEADER.size + self._acts * ACT.size
        return {rule for _, rule in self._entries(first, MAX_OPEN)}

    def _entries(self, first: int, number: int) -> Iterator[tuple[int, str]]:
        for at in range(first, first + number * ACT.size, ACT.size):
            when, name = ACT.unpack_from(self._buffer, at)
            if when:
                yield when, name.rstrip(b"\0").decode(errors="replace")

    def rewrite(self, acts: list[tuple[int, str]], opened: set[str]) -> None:
        """Exactly these, of the acts the last ones there is room for."""
        HEADER.pack_into(self._buffer, 0, MAGIC, self._acts, boot_id())
        self._buffer[HEADER.size :] = bytes(size_for(self._acts) - HEADER.size)
        self._next = 0
        for rule in sorted(opened)[:MAX_OPEN]:
            self.must_open(rule)
        for time_ns, rule in acts[-self._acts :]:
            self.must_note(time_ns, rule)


def fresh(acts: int = ROOM) -> Memory:
    """One that is forgotten with the process."""
    memory = Memory(bytearray(size_for(acts)), acts)
    memory.rewrite([], set())
    return memory


def kept(folder: int, acts: int = ROOM) -> Memory:
    """The one in the file of a folder, whatever room the daemon before had; raises OSError.

    `folder` is the descriptor of a directory that nobody else may write in. What is damaged, or of another
    boot, is forgotten.
    """
    before = _read(folder)
    fd = os.open(f"{NAME}.new", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        os.posix_fallocate(fd, 0, size_for(acts))
        memory = Memory(mmap.mmap(fd, size_for(acts)), acts)
    finally:
        os.close(fd)
    memory.rewrite(before.acts(), before.opened())
    os.rename(f"{NAME}.new", NAME, src_dir_fd=folder, dst_dir_fd=folder)
    return memory


def _read(folder: int) -> Memory:
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
        with os.fdopen(fd, "rb") as file:
            data = bytearray(file.read(MAX_BYTES))
        if len(data) > HEADER.size:
            magic, acts, boot = HEADER.unpack_from(data)
            if magic == MAGIC and boot == boot_id() and len(data) == size_for(acts):
                return Memory(data, acts)
    return fresh(1)


class Breaker:
    """Opened it stays open until `close`: a person should look at what killed so often."""

    def __init__(self, acts: int, window_ns: int, memory: Memory | None = None) -> None:
        self._usual = Allowance(acts, window_ns)
        """The node's, and that of policies which have none of their own."""
        self._own: dict[str, Allowance] = {}
        self._memory = memory or fresh()
        self._times: dict[str, deque[int]] = {}
        self.open = self._memory.opened()
        """Rules that may no longer act; "" stands for the node."""
        self.news: tuple[str, ...] = tuple(sorted(self.open))
        """Of those, which have not been told of."""
        self._count({"", *(rule for _, rule in self._memory.acts())})

    def follow(self, rules: Iterable[Rule]) -> None:
        """Put the allowances of rules in force; what was done before counts under the new ones."""
        own = {rule.name: rule.breaker for rule in rules if rule.breaker is not None}
        changed = {name for name, _ in own.items() ^ self._own.items()}
        self._own = own
        self._count(changed)

    def _count(self, names: Container[str]) -> None:
        """Anew, what is remembered of these."""
        self._times = {name: times for name, times in self._times.items() if name not in names}
        for time_ns, rule in self._memory.acts():
            for name in (rule, ""):
                if name in names:
                    self._must_times(name).append(time_ns)

    def allowance(self, name: str) -> Allowance:
        """Of a rule, or with "" the node's."""
        return self._own.get(name, self._usual)

    def must_allow(self, rule: str, now_ns: int) -> bool:
        """Count one irreversible act of `rule`; False when it must not be done."""
        if rule in self.open or "" in self.open:
            return False
        for name in (rule, ""):
            if self._must_be_full(name, now_ns):
                self.must_open(name)
                return False
        for name in (rule, ""):
            self._must_times(name).append(now_ns)
        self._memory.must_note(now_ns, rule)
        return True

    def allows(self, rule: str, now_ns: int) -> bool:
        """The same, and nothing is counted or opened."""
        names = (rule, "")
        return not self.open.intersection(names) and not any(
            self._must_be_full(name, now_ns) for name in names
        )

    def _must_be_full(self, name: str, now_ns: int) -> bool:
        times, allowed = self._must_times(name), self._own.get(name, self._usual)
        return len(times) == allowed.acts and now_ns - times[0] < allowed.within_ns

    def _must_times(self, name: str) -> deque[int]:
        times = self._times.get(name)
        if times is None:
            times = self._times[name] = deque(maxlen=self._own.get(name, self._usual).acts)
        return times

    def must_open(self, name: str) -> None:
        """A rule, or with "" the node, may act no longer."""
        if name in self.open:
            return
        self.open.add(name)
        self.news += (name,)
        self._memory.must_open(name)

    def take_news(self) -> tuple[str, ...]:
        """Rules whose breakers have opened, once; "" for the node."""
        news, self.news = self.news, ()
        return news

    def close(self, rule: str) -> bool:
        """By command only; a budget begins anew, with the node's those of all. False when it is not open."""
        if rule not in self.open:
            return False
        self.open.discard(rule)
        left = [act for act in self._memory.acts() if rule not in ("", act[1])]
        if rule:
            self._times.pop(rule, None)
        else:
            self._times.clear()
        self._memory.rewrite(left, self.open)
        return True
