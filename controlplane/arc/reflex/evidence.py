"""What led to a finding, gathered when the acts are done: trail, histogram, suspects, rivals.

The engine holds on to each finding with `must_hold`; `Gathering.tell` journals what belongs to it at the end
of the wake-up. Bounded in number, in rate and in size.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from heapq import nlargest
from operator import itemgetter
from typing import Final, NamedTuple

from controlplane.arc.kernel.events import Event
from controlplane.arc.monitor.bets import BetsTest
from controlplane.arc.monitor.budget import Budget
from controlplane.arc.monitor.streams import Monitor, Place, Probe
from controlplane.arc.monitor.trail import Trail
from controlplane.arc.reflex import telling
from controlplane.link import records
from controlplane.link.frames import Stream
from controlplane.link.rules import NS
from controlplane.link.samples import Sample, pack, samples_in

MAX_HELD: Final = 16
"""Findings of one wake-up that are explained; the first ones, as the others mostly follow from them."""
INTERVAL_NS: Final = NS // 8
BURST: Final = 32
"""So many at once, then 8 a second: some 30 KB/s of the journal at most."""
RECENT_NS: Final = 10 * NS
RIVALS: Final = 5
SUSPECTS: Final = 2
MAX_PATH: Final = 180
"""Bytes; the end of a path tells more than its beginning."""
MAX_BUCKETS: Final = 40
PLACES_A_BREATH: Final = 64
MAX_COMPARED: Final = 1024
"""Streams, of those that were told of lately: some 5 ms, in which the ring is drained now and then."""


class Held(NamedTuple):
    """A finding until it is explained."""

    reflex: telling.Reflex
    evidence: telling.Evidence
    trail: bytes


class Busy(NamedTuple):
    """A place of which something was told lately."""

    place: Place
    trail: Trail
    weight: int


Read = Callable[[Place, str], Stream | None]
"""What the kernel has counted of one signal in one place, None where it counts none."""


def must_hold(reflex: telling.Reflex, evidence: telling.Evidence) -> Held:
    """Copies the trail before more records are written over it."""
    for probes in evidence.place.probes.values():
        for probe in probes:
            if probe.rule is reflex.rule:
                return Held(reflex, evidence, probe.trail.must_copy())
    return Held(reflex, evidence, b"")


class Gathering:
    """Explains findings, not more of them than the journal can bear."""

    def __init__(
        self,
        held: deque[Held],
        monitor: Monitor,
        read: Read,
        append: Callable[[records.Record], None],
        breathe: Callable[[], None],
    ) -> None:
        self._held = held
        self._monitor = monitor
        self._read = read
        self._append = append
        self._breathe = breathe
        self._arrival_ns = 0
        self._busiest: dict[str, list[Busy]] = {}
        """By signal, in this wake-up."""

    def tell(self, now_ns: int) -> None:
        """Journal the evidence of what is held; records that come meanwhile go first."""
        self._busiest.clear()
        while self._held:
            held = self._held.popleft()
            if self._allows(now_ns):
                self._append(self._evidence(held, now_ns))

    def _allows(self, now_ns: int) -> bool:
        arrival = max(self._arrival_ns, now_ns)
        if arrival - now_ns >= BURST * INTERVAL_NS:
            return False
        self._arrival_ns = arrival + INTERVAL_NS
        return True

    def _evidence(self, held: Held, now_ns: int) -> records.Evidence:
        reflex, (place, _, _, test, event, _) = held.reflex, held.evidence
        rule = reflex.rule
        samples = samples_in(held.trail)
        if rule.per == "process":
            samples = [sample for sample in samples if sample.pid == event.pid]
        stream = self._read(place, rule.signal)
        begin_ns = event.time_ns - RECENT_NS
        budget = self._monitor.budgets.get(rule.name) or Budget(0)
        return records.Evidence(
            time_ns=now_ns,
            trace_id=reflex.trace_id,
            trace_flags=reflex.trace_flags,
            span_id=reflex.root,
            rule=rule.name,
            signal=rule.signal,
            trail=pack(samples),
            buckets=buckets_of(stream.histogram) if stream else (),
            floor=float(test.above) if isinstance(test, BetsTest) else 0.0,
            recent_ns=RECENT_NS,
            itself=_rival(place, [one for one in samples if one.time_ns >= begin_ns], stream),
            rivals=tuple(self._rivals(place, rule.signal, begin_ns)),
            suspects=tuple(self._suspects(samples, held.evidence)),
            allowed=budget.events if budget.allowed_ns else 0.0,
            tests_per_s=budget.rate_per_s(now_ns),
            streams=budget.streams,
        )

    def _rivals(self, itself: Place, signal: str, begin_ns: int) -> Iterator[records.Rival]:
        """Those of which most was told lately; looked for once in a wake-up."""
        busiest = self._busiest.get(signal)
        if busiest is None:
            # With the stream itself among them.
            found = nlargest(RIVALS + 1, self._busy(signal, begin_ns), key=lambda busy: busy.weight)
            busiest = self._busiest[signal] = found
        for place, trail, _ in [busy for busy in busiest if busy.place is not itself][:RIVALS]:
            samples = [sample for sample in samples_in(trail.must_copy()) if sample.time_ns >= begin_ns]
            yield _rival(place, samples, self._read(place, signal))

    def _busy(self, signal: str, begin_ns: int) -> Iterator[Busy]:
        """A place once, though several rules may look at it."""
        left = MAX_COMPARED
        for number, place in enumerate(list(self._monitor.places.values())):
            if number % PLACES_A_BREATH == 0:
                self._breathe()
            told = ((probe.trail.weight_since(begin_ns), probe.trail) for probe in probes_of(place, signal))
            weight, trail = max(told, key=itemgetter(0), default=(0, None))
            if trail is not None and weight:
                yield Busy(place, trail, weight)
                left -= 1
            if not left:
                return

    def _suspects(self, samples: list[Sample], evidence: telling.Evidence) -> Iterator[records.Suspect]:
        """Whom the trail names oftenest: cgroups if it names any but the stream's own, else processes."""
        own = (0, evidence.place.cgroup)
        cgroups = oftenest(sample.who for sample in samples if sample.who not in own)
        for cgroup, count in cgroups:
            place = self._monitor.places.get(cgroup)
            yield records.Suspect(cgroup, cut(place.path) if place else "", 0, "", count)
        if not cgroups:
            yield from _processes(samples, evidence.event)


def _processes(samples: list[Sample], event: Event) -> Iterator[records.Suspect]:
    """Those named or, where that is seldom the same, their parents: what forks is the parent."""
    named = oftenest(sample.pid for sample in samples if sample.pid)
    parents = oftenest(sample.parent for sample in samples if sample.parent)
    by_parent = bool(parents) and (not named or parents[0][1] > named[0][1])
    for pid, count in parents if by_parent else named:
        comm = telling.must_text(event.comm) if pid == event.pid else comm_of(pid)
        yield records.Suspect(0, "", pid, comm, count, by_parent)


def oftenest(named: Iterable[int]) -> list[tuple[int, int]]:
    """(who, how often) of the `SUSPECTS` that come most; the earlier first where it is as many."""
    counted: dict[int, int] = {}
    for who in named:
        counted[who] = counted.get(who, 0) + 1
    return nlargest(SUSPECTS, counted.items(), key=lambda each: each[1])


def comm_of(pid: int) -> str:
    """Name of a process, empty when it is gone."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return ""


def probes_of(place: Place, signal: str) -> Iterator[Probe]:
    """Those that look at a signal there."""
    for probes in place.probes.values():
        for probe in probes:
            if probe.rule.signal == signal:
                yield probe


def buckets_of(histogram: tuple[int, ...]) -> tuple[records.Bucket, ...]:
    """A histogram of powers of two from the first value to the last, in `MAX_BUCKETS` at most."""
    filled = [power for power, count in enumerate(histogram) if count]
    if not filled:
        return ()
    powers = range(filled[0], min(filled[-1], filled[0] + MAX_BUCKETS - 1) + 1)
    return tuple(records.Bucket(float(2**power) if power else 0.0, histogram[power]) for power in powers)


def cut(path: str) -> str:
    """Its end, in bytes that any reader can decode."""
    whole = path.encode(errors="replace")
    if len(whole) <= MAX_PATH:
        return whole.decode()
    return "..." + whole[3 - MAX_PATH :].decode(errors="ignore")


def _weight(samples: list[Sample]) -> int:
    return sum(sample.weight for sample in samples)


def _rival(place: Place, samples: list[Sample], stream: Stream | None) -> records.Rival:
    peak = max((sample.value for sample in samples), default=0.0)
    return records.Rival(cut(place.path), _weight(samples), peak, stream.count if stream else 0)
