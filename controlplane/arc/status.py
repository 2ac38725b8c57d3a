"""What the arc answers when asked how it is: status, streams and rules, as link frames.

Reads kernel maps in small pages, because every microsecond here is one in which no reflex runs.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Final

from controlplane.arc.kernel.events import COUNT_STREAM, STREAM_KEY, VALUE_STREAM, CountStream, ValueStream
from controlplane.arc.kernel.sensors import Sensors
from controlplane.arc.kernel.sources import Feeler
from controlplane.arc.monitor.budget import Budget
from controlplane.arc.monitor.streams import Monitor, Place
from controlplane.arc.reflex.engine import Engine
from controlplane.arc.reflex.holdings import InForce
from controlplane.arc.reflex.taking_up import TakingUp
from controlplane.arc.rulebook import RuleBook
from controlplane.link.frames import (
    PAGE,
    ActInForce,
    BudgetStatus,
    Rules,
    RuleStatus,
    SensorStatus,
    Stream,
    Streams,
)
from controlplane.link.rules import is_irreversible, signals_of
from controlplane.link.signals import Signal

PLACES_A_PAGE: Final = 8
RULES_A_PAGE: Final = 20
IN_FORCE_BYTES: Final = 16 * 1024
"""Of paths and names that a status tells: it must fit into a frame with the counts of all rules."""


class StreamReader:
    """Reads the kernel's aggregates of the cgroups that are known."""

    def __init__(self, sensors: Sensors, monitor: Monitor, breathe: Callable[[], None]) -> None:
        self._counts = sensors.shared_map("counts", STREAM_KEY.size, COUNT_STREAM.size)
        self._values = sensors.shared_map("values", STREAM_KEY.size, VALUE_STREAM.size)
        self._signals = [(signal, sensors.numbers[signal.name]) for signal in sensors.signals]
        self._monitor = monitor
        self._breathe = breathe

    def page(self, offset: int) -> Streams:
        """Streams of a few cgroups; `offset` counts cgroups."""
        places = list(islice(self._monitor.places.values(), offset, offset + PLACES_A_PAGE))
        streams = tuple(stream for place in places for stream in self._all_of(place))
        more = offset + len(places) < len(self._monitor.places)
        return Streams(streams, offset + len(places) if more else 0)

    def of(self, place: Place, name: str) -> Stream | None:
        """The stream of one signal in one place; None where the kernel keeps none."""
        for signal, number in self._signals:
            if signal.name == name:
                return self._read(place, signal, number)
        return None

    def budgets(self, now_ns: int) -> dict[str, BudgetStatus]:
        """Of every rule that is not off."""
        return budgets(self._monitor.budgets, now_ns)

    def _all_of(self, place: Place) -> Iterator[Stream]:
        self._breathe()
        for signal, number in self._signals:
            if place.signal == number or (place.cgroup and signal.key == "cgroup"):
                stream = self._read(place, signal, number)
                if stream is not None:
                    yield stream

    def _read(self, place: Place, signal: Signal, number: int) -> Stream | None:
        key = STREAM_KEY.pack(place.key, number, 0)
        total = last = peak = 0
        histogram: tuple[int, ...] = ()
        if signal.kind == "count":
            found = self._counts.lookup(key)
            if found is None:
                return None
            total = CountStream._make(COUNT_STREAM.unpack(found)).total
        else:
            found = self._values.lookup(key)
            if found is None:
                return None
            values = ValueStream._make(VALUE_STREAM.unpack(found))
            total, last, peak = values.total, values.last, values.peak
            histogram = tuple(memoryview(values.histogram).cast("I"))
        return Stream(
            signal=signal.name,
            unit=signal.unit,
            cgroup=place.cgroup,
            path=place.path,
            count=total,
            last=last,
            peak=peak,
            rules=tuple(rule.name for rule in place.rules_of(number)),
            histogram=histogram,
        )


def sensor_statuses(sensors: Sensors, breathe: Callable[[], None]) -> Iterator[SensorStatus]:
    """Counters and run times of each sensor."""
    for sensor in sensors.all:
        breathe()
        yield sensor.status()


def budgets(known: Mapping[str, Budget], now_ns: int) -> dict[str, BudgetStatus]:
    """What each budget comes to now."""
    return {
        name: BudgetStatus(budget.streams, budget.rate_per_s(now_ns), budget.events)
        if budget.allowed_ns
        else BudgetStatus(budget.streams)
        for name, budget in known.items()
    }


def rules_page(
    book: RuleBook, engine: TakingUp, known: dict[str, BudgetStatus], missing: dict[str, str], offset: int
) -> Rules:
    """Rules with their state and budget; `missing` says of a signal why it is not felt."""
    rules = book.rules()
    page = tuple(
        RuleStatus(
            rule=rule,
            effective_mode=engine.effective_mode(rule),
            findings=engine.findings.get(rule.name, 0),
            breaker_open=rule.name in engine.breaker.open or "" in engine.breaker.open,
            breaker=engine.breaker.allowance(rule.name) if is_irreversible(rule) else None,
            reason=next(
                (missing[name] for name in signals_of(rule) if name in missing),
                engine.resting.get(rule.name, ""),
            ),
            where="kernel" if rule.name in engine.in_kernel else "userspace",
            budget=known.get(rule.name, BudgetStatus(0)),
        )
        for rule in rules[offset : offset + RULES_A_PAGE]
    )
    end = offset + len(page)
    return Rules(page, end if end < len(rules) else 0)


def held(holdings: Iterable[InForce]) -> dict[str, int]:
    """Reversible acts not yet undone, by act."""
    counts: dict[str, int] = {}
    for each in holdings:
        counts[each.act.name] = counts.get(each.act.name, 0) + 1
    return counts


def in_force(holdings: Iterable[InForce]) -> tuple[ActInForce, ...]:
    """Reversible acts not yet undone, as many as a frame has room for."""
    return tuple(
        ActInForce(
            trace_id=held.intent.trace_id,
            rule=held.intent.rule,
            act=held.intent.act,
            cgroup=held.intent.cgroup,
            path=held.intent.path,
            pid=held.intent.pid,
            since_ns=held.intent.time_ns,
            until_ns=held.intent.until_ns,
        )
        for held in _first(holdings)
    )


def _first(holdings: Iterable[InForce]) -> Iterator[InForce]:
    room = IN_FORCE_BYTES
    for held in islice(holdings, PAGE):
        room -= len(held.intent.path) + len(held.intent.rule)
        if room < 0:
            return
        yield held


def health(
    armed_ns: int, sensors: list[Feeler], engine: Engine, policy_error: str
) -> dict[str, tuple[bool, str]]:
    """Component -> (serving, reason), for those the arc knows of."""
    opened = sorted(name or "node" for name in engine.breaker.open)
    trouble = policy_error or (f"breaker open: {', '.join(opened)}" if opened else "")
    components = {
        "arc": (armed_ns > 0, "" if armed_ns else "not armed yet"),
        "policy": (not trouble, trouble),
    }
    for sensor in sensors:
        components[f"sensor.{sensor.name}"] = (not sensor.reason, sensor.reason)
    return components
