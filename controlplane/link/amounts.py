"""What an act sets and to what: `cpu: 10` of a reweigh, `max: 50%` of a limit. Integers and names only.

One table says which keys an act takes, for a cgroup and for a process, and within which bounds.
"""

from collections.abc import Iterator, Mapping
from typing import Final, Literal, NamedTuple

import msgspec

Key = Literal[
    "cpu", "io", "nice", "ionice", "oom_score_adj", "max", "more", "read", "write", "rate", "amount"
]
Way = Literal["", "share"]
"""As it stands; or in hundredths of a percent of what the victim uses now."""

BEST_EFFORT: Final = 2 << 13
IDLE: Final = 3 << 13
"""I/O priorities: the class above 13 bits of level (include/uapi/linux/ioprio.h)."""


class Amount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One value that is written, in the unit of its key."""

    key: Key
    number: int
    way: Way = ""


class Bounds(NamedTuple):
    """Of one key: the least and the greatest number, how people write them, and in which unit."""

    least: int
    most: int
    words: str
    unit: Literal["", "%", "By", "By/s", "bit/s"] = ""
    shares: bool = False
    """It may be a share of what is used."""


Target = tuple[str, bool]
"""Name of an act and whether its victim is one process."""

WEIGHT: Final = Bounds(1, 10_000, "must be between 1 and 10000")
SHARE: Final = Bounds(1, 100_000, "must be above 0% and at most 1000%", "%")
MEMORY: Final = Bounds(1 << 16, 1 << 50, "must be at least 64KiB", "By", shares=True)
DISK: Final = Bounds(1 << 10, 1 << 50, "must be at least 1KiB/s", "By/s")
PIDS: Final = Bounds(1, 4_194_304, "must be between 1 and 4194304")
NETWORK: Final = Bounds(8_000, 1_000_000_000_000, "must be between 8kbit/s and 1000Gbit/s", "bit/s")
CPU: Final = Bounds(100, 10_000 * 8192, "must be at least 1%, of one CPU", "%")
SETTABLE: Final[Mapping[Target, Mapping[str, Bounds]]] = {
    ("reweigh", False): {"cpu": WEIGHT, "io": WEIGHT},
    ("reweigh", True): {
        "nice": Bounds(-20, 19, "must be between -20 and 19"),
        "ionice": Bounds(BEST_EFFORT, IDLE, "must be `idle`, or between 0 and 7"),
        "oom_score_adj": Bounds(-1000, 1000, "must be between -1000 and 1000"),
    },
    ("limit-cpu", False): {"max": CPU},
    ("limit-memory", False): {"max": MEMORY},
    ("limit-pids", False): {"max": PIDS, "more": PIDS},
    ("reclaim", False): {"amount": MEMORY},
    ("limit-io", False): {"read": DISK, "write": DISK},
    ("shape", False): {"rate": NETWORK},
}


class Misfit(NamedTuple):
    """What is wrong with a step's amounts; `key` is empty where it is the step as a whole."""

    key: str
    message: str
    hint: str = ""


def misfits(act: str, amounts: tuple[Amount, ...], *, process: bool) -> Iterator[Misfit]:
    """What is wrong with the amounts of one step."""
    settable = SETTABLE.get((act, process), {})
    takes = f"{act} takes {' and '.join(settable)}" if settable else f"{act} sets nothing"
    keys = [amount.key for amount in amounts]
    if {"max", "more"} <= set(keys):
        yield Misfit("more", "does not go with `max`", "leave one of them out")
    if settable and not amounts:
        yield Misfit("", f"{act} needs something to set", takes)
    if len(set(keys)) < len(keys):
        yield Misfit("", f"{act} sets the same twice")
    for key, number, way in ((each.key, each.number, each.way) for each in amounts):
        bounds = settable.get(key)
        if bounds is None:
            instead = (act, not process) in SETTABLE and key in SETTABLE[act, not process]
            per = f"write `per: {'cgroup' if process else 'process'}`, or see: {takes}"
            yield Misfit(key, f"is not what {act} sets here", per if instead else takes)
        elif way and not bounds.shares:
            yield Misfit(key, "cannot be a share of what is used")
        elif not is_within(key, number, SHARE if way else bounds):
            yield Misfit(key, (SHARE if way else bounds).words)


def is_within(key: str, number: int, bounds: Bounds) -> bool:
    """Between the bounds; an I/O priority is one of nine numbers there."""
    if key == "ionice":
        return number == IDLE or BEST_EFFORT <= number <= BEST_EFFORT + 7
    return bounds.least <= number <= bounds.most


def in_words(act: str, amount: Amount) -> str:
    """As people read it."""
    bounds = SETTABLE.get((act, False), {}).get(amount.key)
    unit = bounds.unit if bounds else ""
    if amount.way:
        return f"{amount.key} {amount.number / 100:g}% of its use"
    if unit == "%":
        return f"{amount.key} {amount.number / 100:g}%"
    if unit == "bit/s":
        return f"{amount.key} {_bits(amount.number)}/s"
    if unit:
        return f"{amount.key} {_bytes(amount.number)}{unit.removeprefix('By')}"
    if amount.key == "ionice":
        return "ionice idle" if amount.number == IDLE else f"ionice {amount.number - BEST_EFFORT}"
    return f"{amount.key} {amount.number}"


def _bytes(number: int) -> str:
    """In the largest unit of which it is a whole number."""
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if number % (1 << power) == 0:
            return f"{number >> power}{unit}"
    return f"{number}B"


def _bits(number: int) -> str:
    """In the largest unit of which it is a whole number."""
    for power, unit in ((9, "Gbit"), (6, "Mbit"), (3, "kbit")):
        if number % 10**power == 0:
            return f"{number // 10**power}{unit}"
    return f"{number}bit"
