"""What a plane can do that was taken over: each attempt is made by a process that became the plane."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from controlplane.plane import landlock
from controlplane.plane.seccomp import LAST_KNOWN, MACHINES, Machine, program
from tests.plane.running import Node, node

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to lose")

HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


@pytest.fixture(scope="module")
def where() -> Iterator[Node]:
    with node() as made:
        (made.root / "bait").mkdir(mode=0o755)
        (made.root / "bait" / "open").write_text("for everybody")
        (made.root / "bait" / "open").chmod(0o644)
        yield made


@pytest.fixture(scope="module")
def outcomes(where: Node) -> dict[str, str]:
    """By attempt, what became of it."""
    config = where.config(policies=str(where.root / "policies.d"))
    (where.root / "policies.d").mkdir()
    memory = os.memfd_create("config")
    os.write(memory, msgspec.msgpack.encode(config))
    options = ("--link-fd", "0", "--doorbell-fd", "0", "--config-fd", str(memory))
    command = [sys.executable, "-m", "tests.plane.hostile", *options]
    with socket.socket(socket.AF_UNIX) as bait:
        bait.bind("\0reflexarc-bait")
        bait.listen()
        done = subprocess.run(command, pass_fds=(memory,), capture_output=True, text=True, check=False)
    os.close(memory)
    assert done.returncode == 0, done.stderr
    if landlock.abi():
        assert done.stderr == ""
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_what_it_never_does_is_refused_whoever_asks(outcomes: dict[str, str]) -> None:
    calls = {name.removeprefix("call "): came for name, came in outcomes.items() if name[:5] == "call "}
    assert len(calls) > 60
    assert calls.pop("clone3") == "ENOSYS"
    assert set(calls.values()) == {"EPERM"}, calls


@pytest.mark.parametrize(
    "attempt",
    [
        *("run a program", "run a program from memory", "start a process", "start a process by spawn"),
        *("a thread in a namespace", "signal the arc", "signal everybody", "signal the arc's thread"),
        *("a raw packet", "talk to nftables", "type into the terminal"),
    ],
)
def test_no_program_no_process_no_signal_no_kernel_interface(outcomes: dict[str, str], attempt: str) -> None:
    assert outcomes[attempt] == "EPERM"


def test_what_nobody_has_looked_at_is_not_there(outcomes: dict[str, str]) -> None:
    assert outcomes["the 32-bit way"] == outcomes["a call of tomorrow"] == "ENOSYS"


@pytest.mark.skipif(not landlock.abi(), reason="this kernel offers no landlock")
@pytest.mark.parametrize(
    "attempt",
    [
        *("read a home", "read the root", "read temporary files", "read what is world-readable elsewhere"),
        *("write beside its folders", "write into the runtime folder", "write a policy"),
        *("forge the journal", "delete from the journal", "the arc's memory", "the arc's files"),
        *("a link among its sockets", "a link in its state"),
    ],
)
def test_no_file_but_its_own(outcomes: dict[str, str], attempt: str) -> None:
    assert outcomes[attempt] in {"EACCES", "EPERM"}


@pytest.mark.skipif(landlock.abi() < 6, reason="this kernel's landlock keeps no sockets apart")
def test_no_socket_without_a_file(outcomes: dict[str, str]) -> None:
    assert outcomes["an unseen socket of others"] == "EPERM"


def test_what_it_has_to_do_it_may(outcomes: dict[str, str]) -> None:
    allowed = {name: came for name, came in outcomes.items() if name[:3] == "ok:"}
    assert len(allowed) == 10
    assert set(allowed.values()) == {"done"}, allowed


@pytest.mark.parametrize("name", MACHINES)
def test_the_numbers_are_the_kernels(name: str) -> None:
    header = HEADERS[name]
    if not header.exists():
        pytest.skip(f"{header} is not installed")
    found = dict(re.findall(r"#define __NR_(?:3264_|3264)?(\w+)\s+(\d+)", header.read_text()))
    own = MACHINES[name].numbers
    assert {call: number for call, number in own.items() if int(found.get(call, number)) != number} == {}
    assert own.keys() <= found.keys()


def ran(machine: Machine, audit: int, number: int, *arguments: int) -> int:
    """What a filter says of one call: the instructions, carried out as the kernel does."""
    data = [number, audit, 0, 0]
    for argument in arguments:
        data += [argument & 0xFFFFFFFF, argument >> 32]
    data += [0] * 16
    code = [
        (int.from_bytes(each[:2], "little"), each[2], each[3], int.from_bytes(each[4:], "little"))
        for each in program(machine, 812)
    ]
    at = accumulator = 0
    while True:
        kind, true, false, operand = code[at]
        at += 1
        match kind:
            case 0x06:
                return operand
            case 0x20:
                accumulator = data[operand // 4]
            case 0x15:
                at += true if accumulator == operand else false
            case 0x25:
                at += true if accumulator > operand else false
            case 0x45:
                at += true if accumulator & operand else false


@pytest.mark.parametrize("name", MACHINES)
def test_the_filter_of_a_machine_that_is_not_here(name: str) -> None:
    machine = MACHINES[name]
    numbers = machine.numbers
    refused, absent, allowed = 0x50001, 0x50026, 0x7FFF0000

    def say(number: int, *arguments: int) -> int:
        return ran(machine, machine.audit, number, *arguments)

    assert say(numbers["execve"]) == say(numbers["bpf"]) == say(numbers["mount"]) == refused
    assert ran(machine, 0x40000003, 1) == refused, "another machine's numbers mean something else"
    assert say(LAST_KNOWN + 1) == absent
    assert say(LAST_KNOWN) == allowed
    assert say(numbers["kill"], 812) == allowed
    assert say(numbers["kill"], 811) == say(numbers["kill"], -1 & 0xFFFFFFFFFFFFFFFF) == refused
    assert say(numbers["clone"], 0x3D0F00) == allowed, "a thread, as libc makes it"
    assert say(numbers["clone"], 0x11) == say(numbers["clone"], 0x3D0F00 | 0x20000000) == refused
    assert say(numbers["socket"], 2, 1, 0) == say(numbers["socket"], 16, 3, 0) == allowed
    assert say(numbers["socket"], 16, 3, 12) == say(numbers["socket"], 17, 3, 0) == refused
