"""What an act sets and to what: `cpu: 10` of a reweigh, `max: 50%` of a limit. Integers and names only.

One table says which keys an act takes, for a cgroup and for a process, and within which bounds.
"""

from collections.abc import Iterator, Mapping
from typing import Final, Literal, NamedTuple

import msgspec

Key = Literal["cpu", "io", "nice", "ionice", "oom_score_adj"]

BEST_EFFORT: Final = 2 << 13
IDLE: Final = 3 << 13
"""I/O priorities: the class above 13 bits of level (include/uapi/linux/ioprio.h)."""


class Amount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One value that is written, in the unit of its key."""

    key: Key
    number: int


class Bounds(NamedTuple):
    """Of one key: the least and the greatest number, and how people write them."""

    least: int
    most: int
    words: str


Target = tuple[str, bool]
"""Name of an act and whether its victim is one process."""

WEIGHT: Final = Bounds(1, 10_000, "must be between 1 and 10000")
SETTABLE: Final[Mapping[Target, Mapping[str, Bounds]]] = {
    ("reweigh", False): {"cpu": WEIGHT, "io": WEIGHT},
    ("reweigh", True): {
        "nice": Bounds(-20, 19, "must be between -20 and 19"),
        "ionice": Bounds(BEST_EFFORT, IDLE, "must be `idle`, or between 0 and 7"),
        "oom_score_adj": Bounds(-1000, 1000, "must be between -1000 and 1000"),
    },
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
    if settable and not amounts:
        yield Misfit("", f"{act} needs something to set", takes)
    if len(set(keys)) < len(keys):
        yield Misfit("", f"{act} sets the same twice")
    for key, number in ((amount.key, amount.number) for amount in amounts):
        bounds = settable.get(key)
        if bounds is None:
            instead = (act, not process) in SETTABLE and key in SETTABLE[act, not process]
            per = f"write `per: {'cgroup' if process else 'process'}`, or see: {takes}"
            yield Misfit(key, f"is not what {act} sets here", per if instead else takes)
        elif not is_within(key, number, bounds):
            yield Misfit(key, bounds.words)


def is_within(key: str, number: int, bounds: Bounds) -> bool:
    """Between the bounds; an I/O priority is one of nine numbers there."""
    if key == "ionice":
        return number == IDLE or BEST_EFFORT <= number <= BEST_EFFORT + 7
    return bounds.least <= number <= bounds.most


def in_words(amount: Amount) -> str:
    """As it is written in a policy."""
    if amount.key == "ionice":
        return "ionice idle" if amount.number == IDLE else f"ionice {amount.number - BEST_EFFORT}"
    return f"{amount.key} {amount.number}"
