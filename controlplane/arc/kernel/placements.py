"""The maps by which the kernel carries out policies by itself: which, for which cgroups, within which bounds.

Knows nothing of rules. Where sensors were compiled by bcc there are no such maps, and no `Placements`.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from controlplane.arc.kernel.events import (
    BREAKER,
    PLACED,
    STANDING,
    STANDING_KEY,
    Breaker,
    Placed,
    Standing,
    StandingKey,
)
from controlplane.arc.kernel.libbpf import Map

PLACES: Final = 16
"""PLACES of bpf/events.h: policies that may be placed."""
CLOSED_BYTES: Final = bytes(BREAKER.size)
CLOSED: Final = Breaker._make(BREAKER.unpack(CLOSED_BYTES))
NOTHING: Final = Placed(*(0,) * len(Placed._fields))


class Placements:
    """What the kernel goes by. Every call is a system call or some."""

    def __init__(self, shared: Mapping[str, int]) -> None:
        """`shared`: maps of the sensors; raises KeyError where they have none for this."""
        self._placed = Map(shared["placed"], 4, PLACED.size)
        self._scopes = Map(shared["scopes"], 8, 4)
        self._breakers = Map(shared["breakers"], 4, BREAKER.size)
        self._standings = Map(shared["standings"], STANDING_KEY.size, STANDING.size)
        self._protected = Map(shared["protected_processes"], 4, 8)

    def place(self, at: int, policy: Placed) -> None:
        """Put one in force, or with NOTHING take it out; with another id it begins anew."""
        self._placed.must_update(at.to_bytes(4, "little"), PLACED.pack(*policy))

    def scope(self, cgroup: int, places: int) -> None:
        """Which of the places, a bit for each, may act in a cgroup."""
        key = cgroup.to_bytes(8, "little")
        if places:
            self._scopes.must_update(key, places.to_bytes(4, "little"))
        else:
            self._scopes.must_delete(key)

    def protect(self, processes: Iterable[tuple[int, int]]) -> bool:
        """Processes, by pid and start in ticks, that are never a victim; False where there is no room."""
        entries = [(pid.to_bytes(4, "little"), ticks.to_bytes(8, "little")) for pid, ticks in processes]
        return all(self._protected.must_update(*entry) for entry in entries)

    def last_fired(self, key: StandingKey) -> int:
        """When a policy's test last fired against a victim, in monotonic ns; 0 where that is forgotten."""
        standing = self._standing(key)
        return standing.fired_ns if standing else 0

    def rest_until(self, key: StandingKey, until_ns: int) -> None:
        """Let a policy act upon a victim again from then on, where its long ladder has ended early."""
        standing = self._standing(key)
        if standing is not None:
            rested = standing._replace(quiet_until_ns=until_ns)
            self._standings.must_update(STANDING_KEY.pack(*key), STANDING.pack(*rested))

    def _standing(self, key: StandingKey) -> Standing | None:
        found = self._standings.lookup(STANDING_KEY.pack(*key))
        return Standing._make(STANDING.unpack(found)) if found else None

    def forget_acts(self, at: int) -> None:
        """Whatever was counted there was done by another policy."""
        self._breakers.must_update(at.to_bytes(4, "little"), CLOSED_BYTES)

    def close_breakers(self, places: Iterable[int]) -> None:
        """Those that have opened count anew; the node's, PLACES, goes on with what it has counted."""
        for at in places:
            found = self.breaker(at)
            if found.open:
                left = found._replace(open=0) if at == PLACES else CLOSED
                self._breakers.must_update(at.to_bytes(4, "little"), BREAKER.pack(*left))

    def breaker(self, at: int) -> Breaker:
        """What the kernel has counted."""
        return Breaker._make(BREAKER.unpack(self._breakers.lookup(at.to_bytes(4, "little")) or CLOSED_BYTES))
