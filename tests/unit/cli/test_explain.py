"""`reflexarc explain`: the page as a whole, and that any evidence makes one."""

import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.cli.explanation import WIDTH, explanation, folded
from controlplane.link import records
from controlplane.link.samples import Sample, pack
from controlplane.plane.api.explain import explanation as answer
from controlplane.plane.story import Story
from controlplane.wire import management_pb2 as pb
from tests.unit.cli.conftest import Ask
from tests.unit.plane import told
from tests.unit.plane.served import Served

OTHER = told.TRACE[:4] + bytes([7] * 12)
PAGE = """
why
    process.fork rate 812 > 500 in /storm pid 1234 (sh)
    over the fixed threshold by 312 events, 1.62 times as much
    with 312 events fewer, or as many in a longer time, it would not have fired
    one record earlier it stood at 81% of the threshold

what was done
              0.0 us  event     process.fork rate 812 > 500 in /storm pid 1234 (sh)
             41.0 us  decision  fork-storm fired, mode enforce
             45.0 us  intent    freeze /storm
             55.0 us  returned  freeze done
             80.0 us  effect    freeze in effect
     10,000,000.0 us  undo      freeze undone (timer)

who
    pid 1200 (sh) is the parent of those named in 8 of the last 8 records
    in the 10s before, told of process.fork where a policy looks:
    EVENTS   SO FAR  STREAM
       255   40,255  /storm  <- this one
        64  120,000  /builds

the statistic against its threshold
       812.8 |       #
             |       #
             |       #
         500 |-------#
             |      ##
             |      ##
             |     ###
             |########
           0 +--------
              -70,000.0 us ... the record that fired

the last 8 records
         SINCE EVENT  VALUE  EVENTS  STATISTIC   PID
        -70,000.0 us      1       1       6.35  1227
        -60,000.0 us      2       2       12.7  1228
        -50,000.0 us      4       4       25.4  1229
        -40,000.0 us      8       8       50.8  1230
        -30,000.0 us     16      16      101.6  1231
        -20,000.0 us     32      32      203.2  1232
        -10,000.0 us     64      64      406.4  1233
              0.0 us    128     128      812.8  1234
"""


def page(*told_records: records.Record) -> list[str]:
    story = Story()
    for number, record in enumerate(told_records):
        story.feed(f"i-{number}", record.time_ns, record)
    reflex = story.reflex(told.TRACE)
    assert reflex is not None
    return list(explanation(answer(reflex)))


def of_values(**changes: object) -> list[records.Record]:
    """A finding of a run-queue delay above a level, with its histogram."""
    buckets = tuple(records.Bucket(float(2**power), 1 << (20 - power)) for power in range(10, 20))
    changed = {
        "signal": "cpu.runq_delay",
        "unit": "ns",
        "test": "level",
        "culprit": 3,
        "culprit_path": "/hog",
    }
    finding = msgspec.structs.replace(told.finding(), value=300_000.0, statistic=300_000.0, threshold=2e5)
    evidence = msgspec.structs.replace(
        told.evidence(), buckets=buckets, suspects=(records.Suspect(3, "/hog", 0, "", 6),), **changes
    )
    return [msgspec.structs.replace(finding, **changed), evidence]


def test_the_whole_page(ask: Ask, plane: Served) -> None:
    plane.feed(*told.explained())
    head, *rest = ask("explain", told.TRACE.hex()).out.splitlines()
    assert head.endswith(f"fork-storm  trace {told.TRACE.hex()}")
    assert rest == PAGE.splitlines()


def test_the_histogram_marks_value_threshold_and_floor() -> None:
    told_page = page(*of_values(floor=20_000.0))
    drawn = [line for line in told_page if " us |#" in line]
    assert len(drawn) == 10
    assert [line.partition("  <- ")[2] for line in drawn if "<-" in line] == [
        "the floor: what is below is no evidence",
        "the threshold",
        "the value",
    ]


def test_who_ran_instead() -> None:
    assert "    /hog ran instead in 6 of the last 8 records" in page(*of_values())


@pytest.mark.parametrize(
    ("test", "statistic", "threshold", "words"),
    [
        ("histogram", 30.0, 29.0, "at most once in 20 days on this node, if nothing had changed (1.73e+09"),
        ("poisson", 21.0, 21.0, "at most once in 10 days on this node, if nothing had changed (8.64e+08"),
        ("betting", 1e9, 1e8, "at most once in 100 days on this node, if nothing had changed (8.64e+09"),
    ],
)
def test_what_chance_would_have_done(test: str, statistic: float, threshold: float, words: str) -> None:
    finding = msgspec.structs.replace(told.finding(), test=test, statistic=statistic, threshold=threshold)
    evidence = msgspec.structs.replace(told.evidence(), allowed=8.64e8, tests_per_s=1000.0, streams=12)
    told_page = "\n".join(page(finding, evidence))
    assert f"by chance: {words}" in told_page
    assert "over 12 streams" in " ".join(told_page.split())
    assert "    the policy allows one in 10 days" in told_page
    assert "with `false_alarms` rarer than one in" in told_page


def test_without_a_measured_rate_chance_is_told_in_tests() -> None:
    finding = msgspec.structs.replace(told.finding(), test="poisson", statistic=14.0, threshold=13.0)
    evidence = msgspec.structs.replace(told.evidence(), allowed=1e6)
    assert "at most once in 2.72e+06 tests of this policy" in "\n".join(page(finding, evidence))
    assert "    how likely that is by chance is not known" in page(finding, told.evidence())


def test_in_the_cooldown_of_an_earlier_one() -> None:
    trail = [sample._replace(statistic=900.0) for sample in told.samples()]
    evidence = msgspec.structs.replace(told.evidence(), trail=pack(trail))
    assert any(
        "over the threshold for 7 records, 70,000.0 us" in line for line in page(told.finding(), evidence)
    )


def test_without_evidence_it_says_so() -> None:
    assert page(told.finding())[-1].startswith("what led to it is not known")
    assert "(finding no longer known)" in page(told.evidence())[0]


def test_a_reflex_by_the_first_digits_of_its_trace(ask: Ask, plane: Served) -> None:
    plane.feed(*told.explained(), told.finding(OTHER))
    explained = json.loads(ask("explain", "--json", told.TRACE.hex()[:12].upper()).out)
    assert explained["reflex"]["trace_id"] == told.TRACE.hex()
    assert len(explained["evidence"]["trail"]) == 8
    assert explained["evidence"]["trail"][-1]["since_event_ns"] == 0


def test_digits_that_do_not_tell_which(ask: Ask, plane: Served) -> None:
    plane.feed(*told.explained(), told.finding(OTHER))
    said = ask("explain", told.TRACE.hex()[:6])
    assert "2 reflexes begin so" in said.err
    assert said.exit != 0
    assert "1,000" in ask("explain", "ffff").err


def test_nothing_of_a_line_is_lost_and_no_order_reaches_the_terminal() -> None:
    lines = list(folded([f"    {'a' * 300}\x1b[31m"]))
    assert "".join(line.strip() for line in lines) == "a" * 300 + "?[31m"
    assert {line[:4] for line in lines} == {"    "}


NUMBERS = st.one_of(st.floats(), st.sampled_from([0.0, 1e300, -1e300, math.nan, math.inf]))
U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
SAMPLES = st.builds(Sample, st.integers(-(2**62), 2**62), NUMBERS, NUMBERS, U32, U32, U32, U64)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
COUNTS = st.integers(0, 2**62)
RIVALS = st.builds(records.Rival, TEXTS, COUNTS, NUMBERS, COUNTS)
TESTS = st.sampled_from(["rate", "level", "betting", "poisson", "histogram", "pressure", "slope", ""])


@given(data=st.data())
def test_any_evidence_makes_a_page_that_is_not_too_wide(data: st.DataObject) -> None:
    finding = msgspec.structs.replace(
        told.finding(),
        statistic=data.draw(NUMBERS),
        threshold=data.draw(NUMBERS),
        value=data.draw(NUMBERS),
        test=data.draw(TESTS),
        unit=data.draw(st.sampled_from(["1", "ns", "%"])),
        path=data.draw(TEXTS),
    )
    evidence = msgspec.structs.replace(
        told.evidence(),
        trail=pack(data.draw(st.lists(SAMPLES, max_size=32))),
        buckets=tuple(data.draw(st.lists(st.builds(records.Bucket, NUMBERS, COUNTS), max_size=60))),
        itself=data.draw(RIVALS),
        rivals=tuple(data.draw(st.lists(RIVALS, max_size=5))),
        floor=data.draw(NUMBERS),
        allowed=data.draw(NUMBERS),
        tests_per_s=data.draw(NUMBERS),
    )
    lines = page(finding, evidence)
    assert max(map(len, lines)) <= WIDTH
    assert all(line.isprintable() for line in lines)


def test_the_page_of_a_reflex_that_is_not_known_any_more_is_short() -> None:
    assert next(explanation(pb.ExplainResponse())).startswith("(finding no longer known)")
