"""What cgroups are denied: a map, and the BPF LSM programs that go by it.

Loaded at start and attached only while a policy wants it; the kernel takes both away with this process,
however that ends. Decides nothing.
"""

import errno
import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from controlplane.arc.kernel.events import DENIAL, DENIAL_KEY, Denial, Denied
from controlplane.arc.kernel.libbpf import LibbpfError, Map, Object, Program
from controlplane.arc.kernel.loader import OBJECTS
from controlplane.arc.kernel.lsm import why_absent
from controlplane.link.rules import DENIABLE

OBJECT: Final = f"{OBJECTS}/deny.bpf.o"
NUMBERS: Final[Mapping[str, int]] = {name: Denied[name.upper()].value for name in DENIABLE}
"""`fork` -> its number in the kernel."""
SHARED: Final = ("denials", "own_processes")
NONE_YET: Final = bytes(DENIAL.size)
IDLE: Final = "no enforcing policy names deny"


class Denials:
    """`reason` says why nothing can be denied now; empty while it can."""

    def __init__(self, object_path: str = OBJECT, shared: Mapping[str, int] = MappingProxyType({})) -> None:
        """`shared`: maps of sensors, which may deny by themselves."""
        self._lifted: dict[str, int] = dict.fromkeys(DENIABLE, 0)
        self._programs: list[Program] = []
        self._object: Object | None = None
        self._map: Map | None = None
        own = shared.get("own_processes")
        self._own = None if own is None else Map(own, 4, 4)
        self.absent = why_absent()
        """Why nothing can be denied on this machine; empty where it can."""
        if not self.absent:
            self._load(object_path, {name: shared[name] for name in SHARED if name in shared})
        self.reason = self.absent or IDLE

    def _load(self, path: str, shared: Mapping[str, int]) -> None:
        try:
            self._object = Object(path)
            for name, fd in shared.items():
                self._object.share(name, fd)
            self._object.load()
        except LibbpfError as error:
            self.absent = error.reason
            self.close()
            return
        self._programs = list(self._object.programs())
        self._map = Map(self._object.map_fd("denials"), DENIAL_KEY.size, DENIAL.size)
        self._own = self._own or Map(self._object.map_fd("own_processes"), 4, 4)

    def spare(self, processes: Sequence[int]) -> None:
        """Our own processes: whatever the kernel does by itself, it does not do to them."""
        if self._own is not None:
            for at, process in enumerate(processes):
                self._own.must_update(at.to_bytes(4, "little"), process.to_bytes(4, "little"))

    def follow(self, *, wanted: bool) -> None:
        """Be asked by the kernel from now on, or no longer."""
        if self.absent:
            return
        try:
            for program in self._programs:
                if wanted:
                    program.attach()
                else:
                    program.detach()
            self.reason = "" if wanted else IDLE
        except LibbpfError as error:
            self.close()
            self.reason = self.absent = error.reason

    def must_deny(self, cgroup: int, what: str) -> None:
        """To the cgroup and all below it; raises OSError. What is denied already stays so."""
        key = DENIAL_KEY.pack(cgroup, NUMBERS[what], 0)
        if self._map is None or not (self._map.must_has(key) or self._map.must_update(key, NONE_YET)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def must_have(self, cgroup: int, what: str) -> bool:
        """Whether it is denied, by what the kernel has."""
        return self._map is not None and self._map.must_has(DENIAL_KEY.pack(cgroup, NUMBERS[what], 0))

    def lift(self, cgroup: int, what: str) -> int | None:
        """Deny it no longer; how often it was denied, None where it was not denied at all."""
        key = DENIAL_KEY.pack(cgroup, NUMBERS[what], 0)
        found = None if self._map is None else self._map.lookup(key)
        if found is None or self._map is None:
            return None
        self._map.must_delete(key)
        count = Denial._make(DENIAL.unpack(found)).times
        self._lifted[what] += count
        return count

    def last(self, cgroup: int, what: str) -> int:
        """When it was last denied, in monotonic nanoseconds; 0 when never."""
        found = self._map and self._map.lookup(DENIAL_KEY.pack(cgroup, NUMBERS[what], 0))
        return Denial._make(DENIAL.unpack(found)).last_ns if found else 0

    def counted(self) -> dict[str, int]:
        """How often each was denied since the start, over all cgroups."""
        total = dict(self._lifted)
        names = {number: name for name, number in NUMBERS.items()}
        for key, found in () if self._map is None else self._map.items():
            total[names[DENIAL_KEY.unpack(key)[1]]] += Denial._make(DENIAL.unpack(found)).times
        return total

    def close(self) -> None:
        """Detach and unload."""
        for program in self._programs:
            program.detach()
        self._programs.clear()
        self._map = None
        if self._object is not None:
            self._object.close()
            self._object = None
