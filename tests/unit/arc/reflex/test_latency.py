"""The histogram of latencies, and the times of its exemplars."""

from controlplane.arc.reflex.latency import BOUNDS_NS, STEP_NS, LatencyHistogram

TRACE = b"t" * 16
WALL_NS = 1_700_000_000_000_000_000


def test_a_latency_counts_in_its_bucket_and_is_its_exemplar() -> None:
    histogram = LatencyHistogram()
    histogram.must_observe(BOUNDS_NS[0], TRACE, 5)
    histogram.must_observe(BOUNDS_NS[-1] + 1, TRACE, 7)
    told = histogram.snapshot(WALL_NS)
    assert (told.counts[0], told.counts[-1], sum(told.counts)) == (1, 1, 2)
    assert told.sum_ns == BOUNDS_NS[0] + BOUNDS_NS[-1] + 1
    first = told.exemplars[0]
    assert first is not None
    assert (first.trace_id, first.value_ns, first.wall_ns) == (TRACE, BOUNDS_NS[0], WALL_NS + 5)


def test_an_exemplar_is_told_with_one_time_until_the_clock_is_set() -> None:
    histogram = LatencyHistogram()
    histogram.must_observe(1, TRACE, 5)
    first = histogram.snapshot(WALL_NS)
    assert histogram.snapshot(WALL_NS + 1_000_000) == first
    later = histogram.snapshot(WALL_NS + STEP_NS + 1).exemplars[0]
    assert later is not None
    assert later.wall_ns == WALL_NS + STEP_NS + 6
