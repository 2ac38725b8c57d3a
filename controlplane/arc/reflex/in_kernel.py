"""Which policies the kernel carries out by itself, and for which cgroups.

Settled when rules change and when cgroups are born, and kept in the kernel's maps: when an event comes,
nobody has to be asked.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from controlplane.arc.feeling import Feeling
from controlplane.arc.kernel.denials import NUMBERS as DENIED
from controlplane.arc.kernel.denials import Denials
from controlplane.arc.kernel.events import ActInKernel, Event, Gate, ModeInKernel, Placed, TestInKernel
from controlplane.arc.kernel.placements import NOTHING, PLACES, Placements
from controlplane.arc.kernel.processes import TICK_NS
from controlplane.arc.monitor.gates import reacting
from controlplane.arc.monitor.streams import Monitor, Place
from controlplane.arc.reflex.modes import weaker
from controlplane.arc.reflex.plans import Acts, Plan, plan_for
from controlplane.arc.reflex.protection import Protection
from controlplane.arc.reflex.taking_up import TakingUp
from controlplane.arc.reflex.victims import Victim
from controlplane.link.config import Config, Mode
from controlplane.link.placing import belongs_to_kernel
from controlplane.link.rules import Betting, Level, Rate, Rule, allowance_of, allowance_of_node

MODES: Final[dict[Mode, int]] = {
    "off": ModeInKernel.OFF,
    "observe": ModeInKernel.OBSERVE,
    "enforce": ModeInKernel.ENFORCE,
}
MAX_RETIRED: Final = 64
"""Rules that are no longer in force, of which something may still be in the ring."""
PLACES_A_BREATH: Final = 16
NO_MAPS: Final = "sensors compiled by bcc leave every policy to the arc"


class Seat(NamedTuple):
    """A rule in the kernel."""

    at: int
    id: int
    plan: Plan


class InKernel:
    """A follower of cgroups, see `Follower`."""

    def __init__(
        self,
        shared: Mapping[str, int],
        denials: Denials,
        monitor: Monitor,
        engine: TakingUp,
        acts: Acts,
        protection: Protection,
        config: Config,
    ) -> None:
        """`shared`: maps of the sensors; bcc's have none for this, and leave everything to the arc."""
        self._placements = Placements(shared) if "placed" in shared else None
        self._denials = denials
        self._monitor = monitor
        self._engine = engine
        self._acts = acts
        self._protection = protection
        self._config = config
        self._seats: dict[str, Seat] = {}
        self._modes: dict[str, Mode] = {}
        self._by_id: dict[int, Plan] = {}
        self._scopes: dict[int, int] = {}
        self._ids = 0
        self._crowded = False

    def attend(self, feeling: Feeling) -> None:
        """Be told of cgroups, of protected processes, and of what the kernel did."""
        feeling.followers.append(self)
        feeling.acted, feeling.protected = self.take_up, self.protected
        if self._placements is not None:
            self._engine.last_fired = self._placements.last_fired
            self._engine.rest_until = self._placements.rest_until

    def follow(self, rules: Iterable[Rule], breathe: Callable[[], None]) -> None:
        """Put rules in force, once the monitor has settled who looks where."""
        live = [rule for rule in rules if rule.mode != "off"]
        resting: dict[str, str] = {}
        taken = list(self._takes(live, resting))
        self._engine.in_kernel = {rule.name for rule in taken} | resting.keys()
        self._engine.resting = resting
        if self._placements is not None and (taken or self._seats):
            self._seat(self._placements, taken)
            for number, place in enumerate(list(self._monitor.places.values())):
                if number % PLACES_A_BREATH == 0:
                    breathe()
                if place.cgroup:
                    self._scope(self._placements, place)
            self._place(self._placements)

    def _takes(self, live: list[Rule], resting: dict[str, str]) -> Iterator[Rule]:
        """Those that can be carried out on this machine; of others that belong there only, why not."""
        number = 0
        for rule in filter(belongs_to_kernel, live):
            reason = self._reason(rule, live) or ("" if number < PLACES else f"it has room for {PLACES}")
            if not reason:
                number += 1
                yield rule
            elif rule.where == "kernel":
                resting[rule.name] = f"not in the kernel: {reason}"

    def _reason(self, rule: Rule, rules: list[Rule]) -> str:
        if self._placements is None:
            return NO_MAPS
        if rule.ladder[0].act == "deny" and self._denials.absent:
            return self._denials.absent
        bets = [each for each in rules if isinstance(each.test, Betting) and each.signal == rule.signal]
        if isinstance(rule.test, Betting) and len(bets) > 1:
            return f"another policy learns {rule.signal}, at another threshold"
        return ""

    def _seat(self, placements: Placements, rules: list[Rule]) -> None:
        """Give places. A rule of which only the mode has changed keeps its own, and what it knows."""
        kept = {
            rule.name: seat._replace(plan=plan_for(rule, self._acts))
            for rule in rules
            if (seat := self._seats.get(rule.name)) and _looking(seat.plan.rule) == _looking(rule)
        }
        for name in self._seats.keys() - kept.keys():
            placements.place(self._seats[name].at, NOTHING)
        free = iter(sorted(set(range(PLACES)) - {seat.at for seat in kept.values()}))
        for rule in rules:
            if rule.name not in kept:
                self._ids += 1
                kept[rule.name] = Seat(next(free), self._ids, plan_for(rule, self._acts))
                placements.forget_acts(kept[rule.name].at)
        self._seats = kept
        self._by_id |= {seat.id: seat.plan for seat in kept.values()}
        while len(self._by_id) > PLACES + MAX_RETIRED:
            del self._by_id[next(iter(self._by_id))]

    def _place(self, placements: Placements) -> None:
        opened = self._engine.breaker.open
        self._protect(placements, self._protection.processes)
        closed = [seat.at for name, seat in self._seats.items() if name not in opened]
        placements.close_breakers(closed if "" in opened else [*closed, PLACES])
        self._modes.clear()
        self.tend()

    def _protect(self, placements: Placements, processes: Iterable[tuple[int, int]]) -> None:
        """Where not all can be protected, nobody is killed."""
        self._crowded = not placements.protect(processes) or self._crowded

    def tend(self) -> None:
        """Between batches: a breaker may have opened, or a mode have changed."""
        for name, seat in self._seats.items():
            mode = self._engine.effective_mode(seat.plan.rule)
            if self._crowded and seat.plan.rule.per == "process":
                mode = weaker(mode, "observe")
            if self._placements is not None and self._modes.get(name) != mode:
                self._modes[name] = mode
                number = self._monitor.numbers[seat.plan.rule.signal]
                self._placements.place(seat.at, placed(seat, number, MODES[mode], self._config))

    def left(self, rules: Iterable[Rule]) -> list[Rule]:
        """Rules of which the arc must be told; odds are made here, whoever goes by them."""
        return [
            rule
            for rule in rules
            if rule.name not in self._engine.in_kernel or isinstance(rule.test, Betting)
        ]

    def opened(self, gates: dict[str, Gate]) -> dict[str, Gate]:
        """Gates with those open behind which the kernel carries out a rule."""
        signals = {seat.plan.rule.signal for seat in self._seats.values()}
        return {name: reacting(gate) if name in signals else gate for name, gate in gates.items()}

    def born(self, cgroup: int, path: str) -> None:
        """See `Follower`."""
        place = self._monitor.places.get(cgroup)
        if self._seats and self._placements is not None and place is not None:
            self._scope(self._placements, place)

    def forget(self, cgroup: int) -> None:
        """See `Follower`."""
        if self._scopes.pop(cgroup, 0) and self._placements is not None:
            self._placements.scope(cgroup, 0)

    def protected(self, event: Event, path: str | None) -> None:
        """A program that must never be a victim runs there: nothing is denied to the cgroup or above it."""
        if not self._seats or self._placements is None:
            return
        self._protect(self._placements, [(event.pid, event.start_ns // TICK_NS)])
        for place in list(self._monitor.places.values()):
            if path is not None and place.cgroup and f"{path}/".startswith(f"{place.path.rstrip('/')}/"):
                self._scope(self._placements, place)

    def _scope(self, placements: Placements, place: Place) -> None:
        seats = [self._seats[rule.name] for rule in place.rules() if rule.name in self._seats]
        bits = sum(1 << seat.at for seat in seats if not self._forbids(place, seat.plan.rule))
        if bits != self._scopes.get(place.cgroup, 0):
            placements.scope(place.cgroup, bits)
            self._scopes[place.cgroup] = bits

    def _forbids(self, place: Place, rule: Rule) -> bool:
        """Whether a cgroup, or anybody in it, must not be touched. The kernel knows protected processes."""
        anybody = 0 if rule.per == "cgroup" else -1
        return bool(self._protection.must_forbid(Victim(place.cgroup, place.path, anybody), rule))

    def take_up(self, event: Event, place: Place) -> None:
        """The kernel has acted."""
        plan = self._by_id.get(event.slot)
        if plan is not None:
            self._engine.take_up(place, plan, event)


def _looking(rule: Rule) -> Rule:
    """The rule, whatever its mode."""
    return msgspec.structs.replace(rule, mode="observe")


def placed(seat: Seat, signal: int, mode: int, config: Config) -> Placed:
    """A rule as the kernel has it."""
    rule = seat.plan.rule
    interval_ns = burst_ns = level = 0
    match rule.test:
        case Rate():
            test, interval_ns = TestInKernel.RATE, rule.test.interval_ns
            burst_ns = rule.test.burst * interval_ns
        case Level(above=level):
            test = TestInKernel.LEVEL
        case _:
            test = TestInKernel.BETS
    step = seat.plan.at_once[0].step
    own, node = allowance_of(rule, config), allowance_of_node(config)
    return Placed(
        interval_ns=interval_ns,
        burst_ns=burst_ns,
        level=level,
        quiet_ns=seat.plan.rest_ns,
        breaker_ns=own.within_ns,
        node_ns=node.within_ns,
        allow=own.acts,
        node_allow=node.acts,
        id=seat.id,
        signal=signal,
        test=test,
        act=ActInKernel.DENY if step.act == "deny" else ActInKernel.KILL,
        what=DENIED[step.what] if step.what else 0,
        per_process=int(rule.per == "process"),
        mode=mode,
        padding=0,
    )
