"""Shape of an interface in the network of a cgroup on the running kernel: set, confirmed, removed, left."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controlplane.link.amounts import Amount
from controlplane.link.records import Effect, GuardRefused, Outcome, Undo
from controlplane.link.rules import Step
from tests.kernel.conftest import TestCgroup, Turned, await_until, fork_rule
from tests.kernel.networks import HERE, Talker, another_namespace, cable, discipline, run
from tests.kernel.test_quarantine import BRIEF_NS, acting, done, prepared
from tests.kernel.test_recover import intent_on, leave_journal
from tests.namespaces import own_namespace

Turn = Callable[..., Turned]
MBIT = 1_000_000


def shape(interface: str = "west", bits_per_s: int = 8 * MBIT) -> Step:
    return Step("shape", for_ns=BRIEF_NS, amounts=(Amount("rate", bits_per_s),), interface=interface)


@pytest.fixture(autouse=True)
def inside() -> Iterator[int]:
    """A process in another network, whose `west` is the end of a cable."""
    with own_namespace(), another_namespace() as inside:
        cable(inside)
        yield inside


@pytest.fixture
def victim(cgroup: TestCgroup, inside: int) -> Talker:
    """It has that network."""
    return Talker(cgroup, "nsenter", "-t", str(inside), "-n")


def shaped(turn: Turn, cgroup: TestCgroup, victim: Talker) -> Turned:
    turned = prepared(turn(fork_rule(cgroup, shape())))
    victim.fork()
    turned.await_record(Effect)
    return turned


def test_an_interface_is_shaped_and_is_as_before(
    turn: Turn, cgroup: TestCgroup, victim: Talker, inside: int
) -> None:
    before = discipline("west", inside)
    turned = shaped(turn, cgroup, victim)
    assert discipline("west", inside)[0] == "tbf"
    assert "rate 8Mbit" in run("tc", "qdisc", "show", "dev", "west", inside=inside)
    undo = turned.await_record(Undo)
    assert (undo.act, undo.ok, undo.error, undo.reason) == ("shape", True, "", "timer")
    assert discipline("west", inside) == before


def test_no_more_than_its_rate_leaves_an_interface(cgroup: TestCgroup, victim: Talker) -> None:
    slow = shape(bits_per_s=800_000)
    done(acting(cgroup, slow), cgroup, slow)
    victim.sends(HERE[0], 1000)
    # What is sent at once, and what waits 50 ms.
    assert 60_000 < received() < 300_000


def received() -> int:
    """Bytes that came out at the other end of the cable."""
    (link,) = json.loads(run("ip", "-j", "-s", "link", "show", "east"))
    return int(link["stats64"]["rx"]["bytes"])


@pytest.mark.parametrize("bits_per_s", [8000, 10_000 * MBIT, 100_000 * MBIT])
@pytest.mark.usefixtures("victim")
def test_rates_from_slow_to_fast(cgroup: TestCgroup, inside: int, bits_per_s: int) -> None:
    step = shape(bits_per_s=bits_per_s)
    done(acting(cgroup, step), cgroup, step)
    words = "8Kbit" if bits_per_s < MBIT else f"{bits_per_s // 1000 // MBIT}Gbit"
    assert f"rate {words}" in run("tc", "qdisc", "show", "dev", "west", inside=inside)


def test_a_discipline_of_somebody_else_is_left(
    turn: Turn, cgroup: TestCgroup, victim: Talker, inside: int
) -> None:
    run("tc", "qdisc", "add", "dev", "west", "root", "handle", "7:", "pfifo", inside=inside)
    turned = prepared(turn(fork_rule(cgroup, shape())))
    victim.fork()
    outcome = turned.await_record(Outcome)
    assert (outcome.ok, outcome.error) == (False, "the interface has a queueing discipline already")
    assert discipline("west", inside) == ("pfifo", "7:")


@pytest.mark.parametrize("instead", [("pfifo", "handle", "7:"), ()])
def test_one_that_somebody_put_in_its_place_is_left(
    turn: Turn, cgroup: TestCgroup, victim: Talker, inside: int, instead: tuple[str, ...]
) -> None:
    turned = shaped(turn, cgroup, victim)
    run("tc", "qdisc", "delete", "dev", "west", "root", inside=inside)
    if instead:
        kind, *handle = instead
        run("tc", "qdisc", "add", "dev", "west", "root", *handle, kind, inside=inside)
    undo = turned.await_record(Undo)
    assert (undo.ok, undo.error) == (True, "foreign")
    assert discipline("west", inside)[0] == (instead[0] if instead else "noqueue")


def test_an_interface_that_is_gone_needs_no_undo(turn: Turn, cgroup: TestCgroup, victim: Talker) -> None:
    turned = shaped(turn, cgroup, victim)
    run("ip", "link", "delete", "east")
    undo = turned.await_record(Undo)
    assert (undo.ok, undo.error) == (True, "")


def test_the_undo_needs_no_cgroup(turn: Turn, cgroup: TestCgroup, victim: Talker, inside: int) -> None:
    turned = shaped(turn, cgroup, victim)
    cgroup.remove()
    assert turned.await_record(Undo).error == ""
    assert discipline("west", inside)[0] == "noqueue"


@pytest.mark.usefixtures("victim")
def test_after_a_crash_it_is_taken_back(turn: Turn, cgroup: TestCgroup, inside: int, tmp_path: Path) -> None:
    changes = done(acting(cgroup, shape()), cgroup, shape())
    assert discipline("west", inside)[0] == "tbf"
    leave_journal(tmp_path, intent_on(cgroup, act="shape", changes=changes))
    undo = turn().of(Undo)[0]
    assert (undo.reason, undo.ok, undo.error) == ("restart", True, "")
    assert discipline("west", inside)[0] == "noqueue"


def test_an_interface_that_is_not_there_is_told(turn: Turn, cgroup: TestCgroup, victim: Talker) -> None:
    turned = prepared(turn(fork_rule(cgroup, shape("eth9"))))
    victim.fork()
    refused = turned.await_record(GuardRefused)
    assert (refused.guard, refused.detail) == ("absent", "there is no interface eth9 in the cgroup's network")


def test_an_interface_of_the_whole_node_is_not_shaped(turn: Turn, cgroup: TestCgroup) -> None:
    turned = prepared(turn(fork_rule(cgroup, shape("east"))))
    Talker(cgroup).fork()
    refused = turned.await_record(GuardRefused)
    assert (refused.guard, discipline("east")[0]) == ("absent", "noqueue")
    assert refused.detail == "the cgroup shares east with all of the node: leave `interface` out"


def test_a_process_that_waits_to_be_reaped_has_no_network(cgroup: TestCgroup, victim: Talker) -> None:
    victim.process.send_signal(signal.SIGKILL)
    await_until(lambda: "Z" in stat_of(victim.process), 10)
    with pytest.raises(OSError, match="No such"):
        done(acting(cgroup, shape()), cgroup, shape())


def stat_of(process: subprocess.Popen[bytes]) -> str:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
