"""Steps of a ladder: what an act sets, from the keys beside it."""

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Final

import msgspec

from controlplane.link.amounts import BEST_EFFORT, IDLE, SETTABLE, Amount, Bounds, Key
from controlplane.link.hooks import Hook
from controlplane.link.reach import Network
from controlplane.link.rules import Step
from controlplane.policy import units
from controlplane.policy.errors import UnitError, shown
from controlplane.policy.model import Limit, StepSpec

_NUMBERS: Final[tuple[Key, ...]] = ("cpu", "io", "nice", "oom_score_adj", "more")
_LIMITS: Final[tuple[Key, ...]] = ("max", "read", "write", "rate", "amount")


class StepError(UnitError):
    """A quantity of a step that cannot be read; `key` names it."""

    def __init__(self, key: str, error: UnitError) -> None:
        super().__init__(str(error), error.hint)
        self.key = key


def step_of(spec: StepSpec) -> Step:
    """As the arc executes it. Raises StepError."""
    return Step(
        act=spec.act,
        after_ns=int(spec.after),
        for_ns=int(spec.for_ or 0),
        grace_ns=int(spec.grace or 0),
        amounts=tuple(amounts_of(spec)),
        hook=hook_of(spec),
        allow=tuple(_network(index, text) for index, text in enumerate(spec.allow)),
        interface=spec.interface,
        what=spec.what or "",
    )


def hook_of(spec: StepSpec) -> Hook | None:
    """What is run; None where nothing is said of it."""
    keys = (spec.run, spec.undo, spec.timeout, spec.as_)
    if all(key is None for key in keys):
        return None
    hook = Hook(spec.run or (), spec.undo or ())
    given = {"timeout_ns": spec.timeout and int(spec.timeout), "user": spec.as_}
    return msgspec.structs.replace(hook, **{key: value for key, value in given.items() if value is not None})


def reach_words(step: Step) -> Iterator[str]:
    """What it is about and whom it spares, as people read it."""
    if step.interface:
        yield f"on {step.interface}"
    if step.allow:
        networks = (ip_network((network.address, network.prefix)) for network in step.allow)
        yield f"sparing {', '.join(map(str, networks))}"


def _network(index: int, text: str) -> Network:
    try:
        found = ip_network(text)
    except ValueError as error:
        # What the library says of host bits is to the point; of the rest only that it is none.
        message = f"{shown(text)} {'has host bits set' if 'host bits' in str(error) else 'is not a network'}"
        raise StepError(
            f"allow[{index}]", UnitError(message, "write for example 10.0.0.0/8, fd00::/8")
        ) from None
    return Network(found.network_address.packed, found.prefixlen)


def amounts_of(spec: StepSpec) -> Iterator[Amount]:
    """In the order in which they are set. Raises StepError."""
    for key in _NUMBERS:
        number = getattr(spec, key)
        if number is not None:
            yield Amount(key, number)
    if spec.ionice is not None:
        yield Amount("ionice", IDLE if spec.ionice == "idle" else BEST_EFFORT + spec.ionice)
    for key in _LIMITS:
        limit = getattr(spec, key)
        if limit is not None:
            yield _limited(spec.act, key, limit)


def _limited(act: str, key: Key, limit: Limit) -> Amount:
    """A key that the act does not take is left to `amounts.misfits`."""
    bounds = SETTABLE.get((act, False), {}).get(key)
    try:
        return _amount(key, limit, bounds) if bounds else Amount(key, 0)
    except UnitError as error:
        raise StepError(key, error) from None


def _amount(key: Key, limit: Limit, bounds: Bounds) -> Amount:
    if bounds.shares and limit.endswith("%"):
        return Amount(key, units.percent(limit), "share")
    match bounds.unit:
        case "%":
            return Amount(key, units.percent(limit))
        case "By":
            return Amount(key, units.size_bytes(limit))
        case "By/s":
            return Amount(key, units.bytes_per_s(limit))
        case "bit/s":
            return Amount(key, units.bits_per_s(limit))
        case "":
            return Amount(key, _whole(limit))


def _whole(limit: Limit) -> int:
    if not limit.isascii() or not limit.isdecimal() or len(limit) > 18:
        raise UnitError(f"{shown(str(limit))} is not a whole number", "write for example 100")
    return int(limit)
