"""Quarantine and shape of a cgroup on the running kernel: packets are dropped, spared, and pass again."""

import errno
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controlplane.arc.kernel.cgroups import Cgroups
from controlplane.arc.kernel.namespaces import Namespaces
from controlplane.arc.kernel.netlink import must_ask, open_netlink
from controlplane.arc.reflex.acts import AbsentError
from controlplane.arc.reflex.network import FORBIDDEN, NetworkAct, Prepared, must_fill
from controlplane.arc.reflex.victims import Victim
from controlplane.link.amounts import Amount
from controlplane.link.messages import must_order
from controlplane.link.reach import Network
from controlplane.link.records import Change, Effect, GuardRefused, Intent, Outcome, Undo
from controlplane.link.rules import RuleSet, Step
from controlplane.policy.messages import FILLINGS, messages_of
from tests.kernel.conftest import TestCgroup, Turned, await_until, fork_rule
from tests.kernel.networks import (
    HERE,
    OTHER,
    THERE,
    Talker,
    another_namespace,
    answers,
    cable,
    run,
    server,
    tables,
)
from tests.kernel.test_by_hand import ask, begun, refused
from tests.kernel.test_hot_path import SLACK, blocks_kept_by
from tests.kernel.test_recover import intent_on, leave_journal
from tests.namespaces import own_namespace

Turn = Callable[..., Turned]
BRIEF_NS = 100_000_000
SPARED = (
    Network(bytes([10, 77, 0, 3]), 32),
    Network(b"\xfd\x77" + bytes(13) + b"\x03", 128),
    # Looks like what the encoder puts into blanks.
    Network(bytes([0xD1, 0xE2, 0x53, 0x74]), 32),
)
CUT = Step("quarantine", for_ns=BRIEF_NS, allow=SPARED)
SLOW = Step("shape", for_ns=BRIEF_NS, amounts=(Amount("rate", 800_000),))
OPENING = """
import os, sys
from controlplane.arc.kernel.cgroups import Cgroups
from controlplane.arc.kernel.namespaces import Namespaces
from controlplane.arc.reflex.acts import AbsentError
from controlplane.arc.reflex.network import NetworkAct, Prepared
from controlplane.arc.reflex.victims import Victim
from controlplane.link.messages import must_order
from controlplane.link.rules import Step
from controlplane.policy.messages import messages_of
directory, path = sys.argv[1:]
step, known = Step("quarantine"), Prepared()
known.messages[must_order(step)] = messages_of(step)
act = NetworkAct("quarantine", Namespaces(Cgroups(os.path.dirname(directory))), known)
try:
    act.must_open(Victim(os.stat(directory).st_ino, path), step)
except AbsentError as absent:
    print(absent.detail)
"""
"""The act on a cgroup, by a process of its own."""


@pytest.fixture(autouse=True)
def peer() -> Iterator[int]:
    """A process in another network, which answers there."""
    with own_namespace(), another_namespace() as peer:
        if not matches_cgroups():
            pytest.skip("nftables matches no cgroup here")
        cable(peer)
        with server(peer, (*THERE, *OTHER)):
            await_until(lambda: all(answers(host) for host in (*THERE, *OTHER)), 10)
            yield peer


@pytest.fixture
def below(cgroup: TestCgroup) -> Iterator[TestCgroup]:
    """A cgroup in that cgroup."""
    made = TestCgroup(cgroup.directory / "below", f"{cgroup.path}/below")
    yield made
    made.remove()


def matches_cgroups() -> bool:
    """Whether this kernel takes a table of ours."""
    messages, filling = messages_of(CUT), FILLINGS[0]._replace(level=bytes((0, 0, 0, 1)))
    try:
        must_ask(open_netlink(messages.protocol), must_fill(messages.make, filling))
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return False
        raise
    must_ask(open_netlink(messages.protocol), must_fill(messages.remove, filling))
    return True


def prepared(turned: Turned) -> Turned:
    """Once the child has encoded what its rules need."""
    turned.turn_until(lambda: bool(turned.arc._prepared.messages))
    return turned


def acting(cgroup: TestCgroup, step: Step = CUT) -> NetworkAct:
    """The act by itself."""
    known = Prepared()
    known.messages[must_order(step)] = messages_of(step)
    cgroups = Cgroups(str(cgroup.directory.parent))
    return NetworkAct(step.act, Namespaces(cgroups), known)


def done(act: NetworkAct, cgroup: TestCgroup, step: Step = CUT) -> tuple[Change, ...]:
    opened = act.must_open(Victim(cgroup.id, cgroup.path), step)
    act.must_apply(opened)
    act.must_release(opened)
    return opened.changes


def test_a_cgroup_is_cut_off_save_from_whom_it_may_talk_to(turn: Turn, cgroup: TestCgroup) -> None:
    turned = prepared(turn(fork_rule(cgroup, CUT)))
    victim = Talker(cgroup)
    assert victim.reaches(*THERE, *OTHER) == [True] * 4
    victim.fork()
    effect = turned.await_record(Effect)
    (intent,) = turned.of(Intent)
    assert tables() == [intent.changes[0].what.removeprefix("table inet ")]
    assert victim.reaches(*THERE, *OTHER) == [False, False, True, True]
    undo = turned.await_record(Undo)
    assert (effect.act, undo.act, undo.reason) == ("quarantine", "quarantine", "timer")
    assert (undo.ok, undo.error) == (True, "")
    assert (tables(), victim.reaches(*THERE)) == ([], [True, True])


def test_those_below_are_cut_off_and_others_are_not(
    cgroup: TestCgroup, below: TestCgroup, make_cgroup: Callable[[], TestCgroup]
) -> None:
    inner, outer = Talker(below), Talker(make_cgroup())
    act = acting(cgroup)
    changes = done(act, cgroup)
    assert (inner.reaches(*THERE), outer.reaches(*THERE)) == ([False, False], [True, True])
    act.undo(Victim(cgroup.id, cgroup.path), changes)
    assert inner.reaches(*THERE) == [True, True]


def test_those_above_are_not_cut_off(cgroup: TestCgroup, below: TestCgroup) -> None:
    outer, inner = Talker(cgroup), Talker(below)
    done(acting(cgroup), below)
    assert (inner.reaches(*THERE), outer.reaches(*THERE)) == ([False, False], [True, True])


def test_nobody_reaches_a_cgroup_that_is_cut_off(
    cgroup: TestCgroup, peer: int, make_cgroup: Callable[[], TestCgroup]
) -> None:
    asking = Talker(make_cgroup(), "nsenter", "-t", str(peer), "-n")
    Talker(cgroup).serve(HERE[0])
    assert asking.reaches(HERE[0]) == [True]
    done(acting(cgroup), cgroup)
    assert asking.reaches(HERE[0]) == [False]


@pytest.mark.skipif("VM_REPO" in os.environ, reason="an emulated machine sends more slowly than the rate")
def test_what_a_cgroup_sends_is_kept_to_its_rate(turn: Turn, cgroup: TestCgroup) -> None:
    turned = prepared(turn(fork_rule(cgroup, SLOW)))
    victim = Talker(cgroup)
    assert victim.sends(THERE[0], 1000) == 1_000_000
    victim.fork()
    turned.await_record(Effect)
    # A second's worth, and what a socket may send at once, pass before it holds.
    assert 90_000 <= victim.sends(THERE[0], 1000) < 400_000
    assert turned.await_record(Undo).error == ""
    assert victim.sends(THERE[0], 1000) == 1_000_000


def test_a_table_that_somebody_removed_is_not_looked_for(turn: Turn, cgroup: TestCgroup) -> None:
    turned = prepared(turn(fork_rule(cgroup, CUT)))
    Talker(cgroup).fork()
    turned.await_record(Effect)
    run("nft", "delete", "table", "inet", tables()[0])
    undo = turned.await_record(Undo)
    assert (undo.ok, undo.error) == (True, "foreign")


def test_a_table_that_somebody_put_in_its_place_is_left(turn: Turn, cgroup: TestCgroup) -> None:
    turned = prepared(turn(fork_rule(cgroup, CUT)))
    Talker(cgroup).fork()
    turned.await_record(Effect)
    (name,) = tables()
    run("nft", f"delete table inet {name}; add table inet {name}")
    undo = turned.await_record(Undo)
    assert (undo.ok, undo.error, tables()) == (True, "foreign", [name])


def test_tables_of_others_are_left(cgroup: TestCgroup) -> None:
    run("nft", "add table inet reflexarc; add table inet filter")
    Talker(cgroup)
    act = acting(cgroup)
    changes = done(act, cgroup)
    act.undo(Victim(cgroup.id, cgroup.path), changes)
    assert tables() == ["reflexarc", "filter"]


def test_the_table_goes_though_its_cgroup_is_gone(turn: Turn, cgroup: TestCgroup) -> None:
    turned = prepared(turn(fork_rule(cgroup, CUT)))
    Talker(cgroup).fork()
    turned.await_record(Effect)
    cgroup.remove()
    undo = turned.await_record(Undo)
    assert (undo.ok, undo.error, tables()) == (True, "", [])


def test_after_a_crash_it_is_taken_back(turn: Turn, cgroup: TestCgroup, tmp_path: Path) -> None:
    victim = Talker(cgroup)
    changes = done(acting(cgroup), cgroup)
    assert victim.reaches(THERE[0]) == [False]
    leave_journal(tmp_path, intent_on(cgroup, act="quarantine", changes=changes))
    undo = turn().of(Undo)[0]
    assert (undo.reason, undo.ok, undo.error) == ("restart", True, "")
    assert (tables(), victim.reaches(THERE[0])) == ([], [True])


def test_a_cgroup_with_a_network_of_its_own_is_cut_off_there(
    turn: Turn, cgroup: TestCgroup, peer: int
) -> None:
    turned = prepared(turn(fork_rule(cgroup, CUT)))
    victim = Talker(cgroup, "nsenter", "-t", str(peer), "-n")
    run("ip", "link", "set", "lo", "up", inside=peer)
    assert victim.reaches(*THERE) == [True, True]
    victim.fork()
    turned.await_record(Effect)
    assert (tables(), len(tables(peer))) == ([], 1)
    assert victim.reaches(*THERE, *OTHER) == [False, False, True, True]
    assert turned.await_record(Undo).error == ""
    assert tables(peer) == []


def test_after_a_crash_it_is_taken_back_in_another_network(
    turn: Turn, cgroup: TestCgroup, peer: int, tmp_path: Path
) -> None:
    Talker(cgroup, "nsenter", "-t", str(peer), "-n")
    changes = done(acting(cgroup), cgroup)
    assert len(tables(peer)) == 1
    cgroup.clear()
    leave_journal(tmp_path, intent_on(cgroup, act="quarantine", changes=changes))
    assert turn().of(Undo)[0].error == ""
    assert tables(peer) == []


def test_a_network_that_is_gone_needs_no_undo(cgroup: TestCgroup, tmp_path: Path, turn: Turn) -> None:
    with another_namespace() as passing:
        Talker(cgroup, "nsenter", "-t", str(passing), "-n")
        changes = done(acting(cgroup), cgroup)
        cgroup.clear()
    leave_journal(tmp_path, intent_on(cgroup, act="quarantine", changes=changes))
    undo = turn().of(Undo)[0]
    assert (undo.ok, undo.error) == (True, "")


def test_nothing_stays_open_of_a_network_once_nothing_is_in_force_there(
    cgroup: TestCgroup, peer: int
) -> None:
    Talker(cgroup, "nsenter", "-t", str(peer), "-n")
    act, victim = acting(cgroup), Victim(cgroup.id, cgroup.path)
    act.undo(victim, done(act, cgroup))
    before = len([*Path("/proc/self/fd").iterdir()])
    first, second = done(act, cgroup), done(act, cgroup)
    act.undo(victim, first)
    act.undo(victim, second)
    assert len([*Path("/proc/self/fd").iterdir()]) == before
    with pytest.raises(AbsentError):
        act.must_open(victim, Step("shape", interface="east"))
    assert len([*Path("/proc/self/fd").iterdir()]) == before


def test_before_its_messages_are_there_it_is_refused(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(fork_rule(cgroup, CUT))
    turned.arc._prepared.messages.clear()
    turned.arc._encoding._asked.clear()
    Talker(cgroup).fork()
    refused = turned.await_record(GuardRefused)
    assert (refused.guard, refused.detail) == (
        "absent",
        "its messages are being encoded, which takes a moment",
    )
    assert not turned.of(Outcome)


def test_what_is_made_reads_as_it_is_meant(cgroup: TestCgroup) -> None:
    Talker(cgroup)
    done(acting(cgroup), cgroup)
    found = json.loads(run("nft", "-j", "list", "ruleset"))["nftables"]
    hooks = {(each["chain"].get("hook"), each["chain"].get("prio")) for each in found if "chain" in each}
    assert hooks == {("input", -300), ("output", -300), (None, None)}


def test_a_cgroup_that_is_gone_is_not_cut_off(cgroup: TestCgroup) -> None:
    act, victim = acting(cgroup), Victim(cgroup.id, cgroup.path)
    with pytest.raises(ProcessLookupError):
        act.must_open(victim, CUT)
    act.prepare(cgroup.id, CUT)
    cgroup.remove()
    with pytest.raises(OSError, match="No such device"):
        act.must_open(victim, CUT)
    act.forget(cgroup.id)
    with pytest.raises(OSError, match="Stale"):
        act.must_open(victim, CUT)
    assert tables() == []


def test_a_network_that_may_not_be_entered_is_told(cgroup: TestCgroup, peer: int) -> None:
    Talker(cgroup, "nsenter", "-t", str(peer), "-n")
    confined = ("setpriv", "--bounding-set", "-sys_admin", sys.executable, "-c", OPENING)
    said = run(*confined, str(cgroup.directory), cgroup.path)
    assert said == f"{FORBIDDEN}\n"


def test_two_reflexes_have_a_table_each(cgroup: TestCgroup) -> None:
    talking = Talker(cgroup)
    act, victim = acting(cgroup), Victim(cgroup.id, cgroup.path)
    first, second = done(act, cgroup), done(act, cgroup)
    act.undo(victim, first)
    assert (len(tables()), talking.reaches(THERE[0])) == (1, [False])
    act.undo(victim, second)
    assert (tables(), talking.reaches(THERE[0])) == ([], [True])


def test_cutting_off_keeps_no_memory(cgroup: TestCgroup) -> None:
    Talker(cgroup)
    act, victim = acting(cgroup), Victim(cgroup.id, cgroup.path)

    def call() -> None:
        opened = act.must_open(victim, CUT)
        act.must_apply(opened)
        act.must_have(victim, opened.changes)
        act.must_release(opened)
        act.undo(victim, opened.changes)

    assert blocks_kept_by(call, 300, 300) < SLACK


def test_by_hand_it_is_encoded_when_first_asked_for(turn: Turn, cgroup: TestCgroup) -> None:
    turned, victim = turn(), Talker(cgroup)
    first = refused(ask(turned, CUT, path=cgroup.path))
    assert "its messages are being encoded" in first.message
    prepared(turned)
    turned.arc._reloaded(RuleSet())
    begun(ask(turned, CUT, path=cgroup.path))
    assert victim.reaches(THERE[0], OTHER[0]) == [False, True]
    assert turned.await_record(Undo).error == ""
    assert victim.reaches(THERE[0]) == [True]
