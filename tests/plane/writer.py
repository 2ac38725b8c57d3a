"""A journal head written by the arc's own writer, and records to write into it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from controlplane.arc.reflex.journal import Journal as Writer
from controlplane.link.records import Finding, Intent, Notice, Record

SEGMENT = 4096


@contextmanager
def writing(
    head: Path, *, size: int = SEGMENT, keep: int = 1000, carry: tuple[Intent, ...] = ()
) -> Iterator[Writer]:
    """A new arc that writes into `head`, in small segments."""
    head.mkdir(mode=0o755, exist_ok=True)
    directory = os.open(head, os.O_RDONLY | os.O_DIRECTORY)
    writer = Writer(directory, size, keep, os.getgid(), lambda: carry)
    try:
        yield writer
    finally:
        writer.close()
        os.close(directory)


def notice(number: int, text: str = "") -> Notice:
    return Notice(time_ns=number, name="test.noticed", text=text or f"number {number}")


def finding(trace: int = 1) -> Finding:
    return Finding(
        time_ns=10_000,
        trace_id=trace.to_bytes(16, "big"),
        span_id=trace.to_bytes(8, "big"),
        decided_ns=35_000,
        rule="fork-storm",
        signal="process.fork",
        unit="1",
        cgroup=77,
        path="/kubepods.slice/kubepods-pod0f4e2cb8_0d8e_4d0a_9d75_5a5d4e2f3a10.slice/cri-containerd-"
        + "ab" * 32
        + ".scope",
        pid=4242,
        start_ns=9_000,
        comm="stress",
        count=64,
        value=5120.0,
        statistic=12.5,
        threshold=8.0,
        test="rate",
        mode="observe",
    )


def append(writer: Writer, *records: Record) -> None:
    for record in records:
        writer.must_append(record)
    writer.tend()
