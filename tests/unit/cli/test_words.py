"""Steps in words: what was done, what would have been, and what was not."""

import pytest

from controlplane.cli import words
from controlplane.plane.api import convert
from controlplane.plane.story import Story
from controlplane.wire import management_pb2 as pb
from tests.unit.plane import told

Step = pb.ReflexStep
STORM = pb.Victim(cgroup=9, path="/storm")


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (
            Step(kind=Step.KIND_INTENT, act="freeze", mode=pb.MODE_OBSERVE, victim=STORM),
            "would freeze /storm",
        ),
        (Step(kind=Step.KIND_INTENT, act="freeze", mode=pb.MODE_ENFORCE, victim=STORM), "freeze /storm"),
        (Step(kind=Step.KIND_OUTCOME, act="kill", ok=True), "kill done"),
        (Step(kind=Step.KIND_OUTCOME, act="kill", error="EBUSY"), "kill failed: EBUSY"),
        (Step(kind=Step.KIND_EFFECT, act="kill"), "kill in effect"),
        (Step(kind=Step.KIND_UNDO, act="freeze", ok=True, reason="timer"), "freeze undone (timer)"),
        (
            Step(kind=Step.KIND_UNDO, act="deny", ok=True, reason="timer", detail="forks denied: 12"),
            "deny undone (timer); forks denied: 12",
        ),
        (
            Step(
                kind=Step.KIND_INTENT,
                act="reweigh",
                mode=pb.MODE_ENFORCE,
                victim=STORM,
                changes=["cpu.weight 100 -> 10", "io.weight default 100 -> default 10"],
            ),
            "reweigh /storm (cpu.weight 100 -> 10, io.weight default 100 -> default 10)",
        ),
        (
            Step(kind=Step.KIND_UNDO, act="freeze", reason="command", actor="local", error="Device busy"),
            "freeze undone (command by local), failed: Device busy",
        ),
        (
            Step(kind=Step.KIND_UNDO, act="freeze", ok=True, reason="timer", error="foreign"),
            "freeze undone (timer), what somebody else changed meanwhile was left",
        ),
        (
            Step(kind=Step.KIND_UNDO, act="freeze", ok=True, reason="timer", error="shared"),
            "freeze undone (timer), still held by another reflex",
        ),
        (Step(kind=Step.KIND_REFUSED, act="kill", guard="cooldown"), "kill forbidden by cooldown"),
        (
            Step(kind=Step.KIND_REFUSED, act="kill", guard="protected", detail="sshd"),
            "kill forbidden by protected: sshd",
        ),
    ],
    ids=str,
)
def test_steps(step: pb.ReflexStep, text: str) -> None:
    assert words.step_words(step) == text


@pytest.mark.parametrize(
    ("victim", "text"),
    [
        (STORM, "/storm"),
        (pb.Victim(cgroup=9), "cgroup 9"),
        (pb.Victim(path="/a", pid=7, comm="sh"), "/a pid 7 (sh)"),
        (pb.Victim(pid=7), "pid 7"),
    ],
    ids=str,
)
def test_victims(victim: pb.Victim, text: str) -> None:
    assert words.victim_words(victim) == text


def test_a_level_is_told_in_its_unit() -> None:
    finding = pb.Finding(
        signal="cpu.runq_delay",
        unit="ns",
        test="level",
        statistic=250_143_300,
        threshold=2e8,
        victim=STORM,
        culprit=pb.Victim(cgroup=3),
    )
    assert words.finding_words(finding) == (
        "cpu.runq_delay 250,143.3 us > 200,000.0 us in /storm, cgroup 3 ran instead"
    )


def test_a_timeline_without_its_finding_does_not_invent_one() -> None:
    story = Story()
    story.feed("i-1", 1, told.refused())
    reflex = story.reflex(told.TRACE)
    assert reflex is not None
    head, step = words.timeline(convert.reflex(reflex))
    assert head.startswith("(finding no longer known)  fork-storm  trace 0001")
    assert step.split() == ["?", "refused", "kill", "forbidden", "by", "protected:", "sshd"]
