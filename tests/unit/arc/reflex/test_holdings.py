"""Several reflexes on one victim: the first knows the values from before, the last to let go writes them."""

from controlplane.arc.kernel.events import Event, EventKind
from controlplane.arc.kernel.identity import ByIdentity
from controlplane.arc.monitor.streams import NOBODY
from controlplane.arc.monitor.tests import RateTest
from controlplane.arc.reflex.holdings import Holdings
from controlplane.arc.reflex.telling import Evidence, Reflex, must_intent
from controlplane.arc.reflex.victims import Victim
from controlplane.arc.reflex.weights import ReweighProcess
from controlplane.link.records import Change
from controlplane.link.rules import NS, Rate, Rule, Step

VICTIM = Victim(7, "/a")
EVENT_ONE = Event(NS, 1, NS, 7, 7, 0, 10, 0, 1, 1, 1, 0, 0, 1, EventKind.SIGNAL, 0, b"sh")
ACT = ReweighProcess(ByIdentity())
RULE = Rule(name="r", signal="process.fork", test=Rate(NS, 1))


def hold(holdings: Holdings, span: int, *found: Change, victim: Victim = VICTIM) -> bytes:
    """One more reflex sets these; `found` has the values that are there now."""
    evidence = Evidence(NOBODY, NOBODY, NOBODY, RateTest(Rate(NS, 1)), EVENT_ONE, "enforce")
    reflex = Reflex(RULE, victim, evidence, b"t" * 16, b"r" * 8, NS, NS)
    changes = holdings.must_changes(victim, found)
    span_id = span.to_bytes(8, "little")
    holdings.must_hold(reflex, ACT, must_intent(reflex, 0, Step("reweigh"), "enforce", changes, span_id))
    return span_id


def test_the_last_to_let_go_writes_what_was_before_the_first() -> None:
    holdings = Holdings()
    first = hold(holdings, 1, Change("cpu.weight", "100", "50"))
    second = hold(holdings, 2, Change("cpu.weight", "50", "10"))
    assert holdings.release(second)[1] == []
    assert holdings.release(first)[1] == [Change("cpu.weight", "100", "10")]


def test_values_are_shared_one_by_one() -> None:
    holdings = Holdings()
    cpu = hold(holdings, 1, Change("cpu.weight", "100", "50"))
    both = hold(holdings, 2, Change("cpu.weight", "50", "10"), Change("io.weight", "100", "20"))
    assert holdings.release(both)[1] == [Change("io.weight", "100", "20")]
    assert holdings.release(cpu)[1] == [Change("cpu.weight", "100", "10")]


def test_victims_share_nothing() -> None:
    holdings = Holdings()
    one = hold(holdings, 1, Change("nice", "0", "5"), victim=Victim(7, "/a", 1, 1))
    other = hold(holdings, 2, Change("nice", "1", "5"), victim=Victim(7, "/a", 2, 1))
    assert holdings.release(one)[1] == [Change("nice", "0", "5")]
    assert holdings.release(other)[1] == [Change("nice", "1", "5")]


def test_what_is_carried_over_has_the_values_that_are_there_now() -> None:
    holdings = Holdings()
    hold(holdings, 1, Change("cpu.weight", "100", "50"))
    second = hold(holdings, 2, Change("cpu.weight", "50", "10"))
    holdings.release(second)
    assert [intent.changes for intent in holdings.intents()] == [(Change("cpu.weight", "100", "10"),)]


def test_how_something_is_removed_stays_with_it() -> None:
    holdings = Holdings()
    made = Change("table inet a", "none", "quarantine", b"removal")
    span = hold(holdings, 1, made)
    assert [intent.changes for intent in holdings.intents()] == [(made,)]
    assert holdings.release(span)[1] == [made]
