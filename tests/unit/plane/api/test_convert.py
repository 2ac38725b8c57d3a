"""Domain values to messages: what is easily got wrong."""

import msgspec
import pytest

from controlplane.link import rules
from controlplane.link.amounts import Amount
from controlplane.link.frames import BudgetStatus, RuleStatus
from controlplane.link.reach import Network
from controlplane.link.rules import NS, Betting, Level, Poisson, Pressure, Rare, Rule, Test
from controlplane.plane.api import convert
from controlplane.plane.story import Step, Story, Told
from controlplane.wire import management_pb2 as pb
from tests.unit.plane import told
from tests.unit.plane.responder import STATUS

WALL_OFFSET_NS = 1_700_000_000_000_000_000


def step(record: Step) -> pb.ReflexStep:
    return convert.told(Told("i-1", record.time_ns + WALL_OFFSET_NS, record, told.EVENT_NS)).step


def test_monotonic_times_become_wall_clock() -> None:
    status = convert.status(STATUS, WALL_OFFSET_NS)
    assert status.start_time.ToNanoseconds() == WALL_OFFSET_NS + STATUS.started_ns
    assert status.in_force[0].until.ToNanoseconds() == WALL_OFFSET_NS + STATUS.in_force[0].until_ns
    until = step(told.intent()).until
    assert until.ToNanoseconds() == WALL_OFFSET_NS + told.intent().until_ns


def test_an_act_without_an_end_has_none() -> None:
    assert not step(msgspec.structs.replace(told.intent(), until_ns=0)).HasField("until")


def test_each_kind_of_step_has_its_own_fields() -> None:
    assert step(told.intent()).mode == pb.MODE_ENFORCE
    assert step(told.outcome()).ok
    assert step(told.effect()).kind == pb.ReflexStep.KIND_EFFECT
    undo = step(told.undo())
    assert (undo.reason, undo.ok, undo.victim.path, undo.parent_id) == ("timer", True, "/storm", "01" * 8)
    refused = step(told.refused())
    assert (refused.guard, refused.detail, refused.victim.pid) == ("protected", "sshd", 1)


def test_times_since_the_event_are_those_of_the_journal() -> None:
    assert step(told.effect()).since_event_ns == 80_000
    unknown = convert.told(Told("i-1", 0, told.refused(), None)).step
    assert not unknown.HasField("since_event_ns")


def test_a_culprit_only_where_there_is_one() -> None:
    story = Story()
    story.feed("i-1", 0, told.finding())
    story.feed("i-2", 0, msgspec.structs.replace(told.finding(bytes(16)), culprit=7, culprit_path="/hog"))
    blamed, alone = (convert.reflex(reflex).finding for reflex in story.reflexes())
    assert (blamed.culprit.cgroup, blamed.culprit.path) == (7, "/hog")
    assert not alone.HasField("culprit")


def test_a_policy_shows_what_its_steps_reach() -> None:
    cut = rules.Step("quarantine", for_ns=1, allow=(Network(bytes([10, 0, 0, 0]), 8), Network(bytes(16), 0)))
    slow = rules.Step("shape", for_ns=1, amounts=(Amount("rate", 1_500_000),), interface="eth0")
    rule = Rule(name="p", signal="net.drop", test=Level(1), ladder=(cut, slow))
    sets = [[*rung.sets] for rung in convert.policy(rule).ladder]
    assert sets == [["sparing 10.0.0.0/8, ::/0"], ["rate 1500kbit/s", "on eth0"]]


def test_a_policy_shows_the_test_it_has() -> None:
    policy = convert.policy(Rule(name="p", signal="cpu.runq_delay", test=Level(5_000_000), mode="off"))
    assert (policy.WhichOneof("test"), policy.level.above, policy.mode) == ("level", 5_000_000, pb.MODE_OFF)


@pytest.mark.parametrize(
    ("test", "field", "message"),
    [
        (Poisson(99), "learned_rate", pb.Learned(allowed_ns=99)),
        (Betting(99, 5), "learned_values", pb.Learned(allowed_ns=99, above=5)),
        (Rare(7, 99), "rare", pb.Rare(interval_ns=7, allowed_ns=99)),
        (Pressure(4000), "pressure", pb.Level(above=4000)),
    ],
)
def test_a_policy_shows_what_is_allowed(test: Test, field: str, message: object) -> None:
    policy = convert.policy(Rule(name="p", signal="process.fork", test=test))
    assert (policy.WhichOneof("test"), getattr(policy, field)) == (field, message)


def test_a_policy_shows_what_its_budget_comes_to() -> None:
    rule = Rule(name="p", signal="process.fork", test=Poisson(NS))
    status = convert.policy_status(
        RuleStatus(rule=rule, effective_mode="observe", budget=BudgetStatus(3, 0.5, 43_200))
    )
    assert (status.streams, status.tests_per_second, status.tests_per_alarm) == (3, 0.5, 43_200)
