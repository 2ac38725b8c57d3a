"""A user's own sensor, as the launcher has read it from sensors.d and the arc takes it."""

from typing import Final, Literal

import msgspec

from controlplane.link.compiling import Source
from controlplane.link.signals import Signal

FIRST_NUMBER: Final = 27
"""SIGNAL_USER of bpf/events.h."""
MAX_SIGNALS: Final = 16
"""Room that bpf/events.h leaves for all of them together."""


class UserSensor(msgspec.Struct, frozen=True, kw_only=True):
    """A source over bpf/dialect.h, and the signals it yields."""

    name: str
    path: str
    signals: tuple[Signal, ...]
    first_number: int
    """Of its first signal; the others follow."""

    @property
    def numbers(self) -> dict[str, int]:
        """Of its signals in the kernel, by name."""
        return {signal.name: self.first_number + at for at, signal in enumerate(self.signals)}

    def source(self, loader: Literal["core", "bcc"]) -> Source:
        """For the compiler; its macros are `fs.fsync_time` -> SIGNAL_FS_FSYNC_TIME."""
        numbers = {macro_of(name): number for name, number in self.numbers.items()}
        compiler: Literal["clang", "bcc"] = "clang" if loader == "core" else "bcc"
        return Source(name=self.name, path=self.path, numbers=numbers, compiler=compiler)


def macro_of(signal: str) -> str:
    """What a signal is called in C."""
    return f"SIGNAL_{signal.replace('.', '_').upper()}"
