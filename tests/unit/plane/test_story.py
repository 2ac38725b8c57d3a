"""History and live feed, fed with records."""

import asyncio
import contextlib

import pytest

from controlplane.link import records
from controlplane.plane.story import (
    MAX_REFLEXES,
    MAX_STEPS,
    MAX_WAITING,
    MAX_WATCHERS,
    Story,
    StoryEndedError,
    TooManyWatchersError,
    WatcherDroppedError,
)
from tests.unit.plane import told

NOTICE = records.Notice(time_ns=1, name="arc.armed")


def feed(story: Story, *told_records: records.Record) -> None:
    for number, record in enumerate(told_records):
        story.feed(f"i-{number}", record.time_ns + 1_000, record)


def trace(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_a_reflex_is_assembled_by_trace() -> None:
    story = Story()
    feed(story, told.finding(), told.finding(trace(7)), *told.reflex()[1:], told.refused(trace(7)))
    reflex = story.reflex(told.TRACE)
    assert reflex is not None
    assert reflex.finding is not None
    assert [type(step.record) for step in reflex.steps] == [
        records.Intent,
        records.Outcome,
        records.Effect,
        records.Undo,
    ]
    assert reflex.steps[0].wall_ns == reflex.steps[0].record.time_ns + 1_000


def test_every_step_knows_the_event_that_began_it() -> None:
    story = Story()
    feed(story, *told.reflex(), told.refused())
    reflex = story.reflex(told.TRACE)
    assert reflex is not None
    assert {step.event_ns for step in reflex.steps} == {told.EVENT_NS}


def test_a_refusal_without_its_finding_does_not_guess() -> None:
    story = Story()
    feed(story, told.refused())
    reflex = story.reflex(told.TRACE)
    assert reflex is not None
    assert reflex.finding is None
    assert reflex.steps[0].event_ns is None


def test_a_carried_intent_happened_once() -> None:
    story = Story()

    async def main() -> records.Record:
        with story.subscribe() as watcher:
            feed(story, told.intent(carried=True), NOTICE)
            return (await watcher.next()).record

    assert asyncio.run(main()) == NOTICE
    assert story.reflex(told.TRACE) is None


def test_reflexes_come_newest_first_and_go_on_below_a_number() -> None:
    story = Story()
    for number in range(5):
        feed(story, told.finding(trace(number)))
    newest = [reflex.trace_id for reflex in story.reflexes()]
    assert newest == [trace(number) for number in (4, 3, 2, 1, 0)]
    third = list(story.reflexes())[2]
    assert [reflex.trace_id for reflex in story.reflexes(third.number)] == [trace(1), trace(0)]


def test_reflexes_and_their_steps_are_bounded() -> None:
    story = Story()
    for number in range(MAX_REFLEXES + 10):
        feed(story, told.finding(trace(number)))
    assert len(list(story.reflexes())) == MAX_REFLEXES
    assert story.reflex(trace(9)) is None
    feed(story, *[told.effect(trace(500))] * (MAX_STEPS + 3))
    reflex = story.reflex(trace(500))
    assert reflex is not None
    assert (len(reflex.steps), reflex.steps_dropped) == (MAX_STEPS, 3)


def test_a_watcher_hears_everything_fed_while_it_watches() -> None:
    story = Story()
    lost = records.Lost(time_ns=2, sensor="cpu", reason="ring", count=3)

    async def main() -> list[records.Record]:
        feed(story, NOTICE)
        with story.subscribe() as watcher:
            waiting = asyncio.create_task(watcher.next())
            await asyncio.sleep(0)
            feed(story, told.finding(), lost)
            return [(await waiting).record, (await watcher.next()).record]

    assert asyncio.run(main()) == [told.finding(), lost]
    assert story.watchers == 0


def test_a_watcher_that_does_not_read_is_dropped_and_holds_up_nobody() -> None:
    story = Story()

    async def main() -> int:
        with story.subscribe() as slow, story.subscribe() as quick:
            for _ in range(MAX_WAITING + 1):
                feed(story, NOTICE)
                await quick.next()
            assert dict(story.watchers_dropped) == {"slow": 1}
            with pytest.raises(WatcherDroppedError, match="waiting"):
                await slow.next()
            feed(story, NOTICE)
            await quick.next()
            return story.watchers

    assert asyncio.run(main()) == 2


def test_watchers_are_bounded_even_those_that_were_dropped() -> None:
    story = Story()
    with contextlib.ExitStack() as stack:
        for _ in range(MAX_WATCHERS):
            stack.enter_context(story.subscribe())
        feed(story, *[NOTICE] * (MAX_WAITING + 1))
        with pytest.raises(TooManyWatchersError):
            stack.enter_context(story.subscribe())
    with story.subscribe():
        assert story.watchers == 1


def test_watchers_are_let_go_when_they_have_read_the_rest() -> None:
    story = Story()

    async def main() -> None:
        with story.subscribe() as watcher:
            feed(story, NOTICE)
            story.end()
            assert (await watcher.next()).record == NOTICE
            with pytest.raises(StoryEndedError):
                await watcher.next()

    asyncio.run(main())


def test_evidence_is_kept_with_its_reflex_and_told_to_nobody() -> None:
    story = Story()

    async def main() -> records.Record:
        with story.subscribe() as watcher:
            feed(story, told.evidence(), NOTICE)
            return (await watcher.next()).record

    assert asyncio.run(main()) == NOTICE
    reflex = story.reflex(told.TRACE)
    assert reflex is not None
    assert records.EVIDENCE.decode(reflex.evidence) == told.evidence()


def test_reflexes_by_the_first_digits_the_newest_first() -> None:
    story = Story()
    feed(story, told.finding(bytes(16)), told.finding(trace(1)), told.finding(told.TRACE))
    assert [reflex.trace_id for reflex in story.named("0000")] == [trace(1), bytes(16)]
    assert story.named("f") == []
