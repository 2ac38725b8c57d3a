"""What of a network an act reaches and spares: one interface, some addresses. Bytes and names only."""

from collections.abc import Iterator
from typing import Final

import msgspec

from controlplane.link.amounts import Misfit

ADDRESSES: Final = (4, 16)
"""Bytes of an address."""
MAX_INTERFACE: Final = 15
MAX_ALLOWED: Final = 32
"""Networks that a quarantine spares: one rule of the kernel each and way."""


class Network(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Addresses that share their first `prefix` bits; of IPv4 or IPv6, by the length of `address`."""

    address: bytes
    prefix: int


def unreachable(act: str, allow: tuple[Network, ...], interface: str) -> Iterator[Misfit]:
    """What is wrong with these of one step."""
    if allow and act != "quarantine":
        yield Misfit("allow", f"{act} spares no network", "leave `allow` out")
    if len(allow) > MAX_ALLOWED:
        yield Misfit("allow", f"has more than {MAX_ALLOWED} networks")
    for index, network in enumerate(allow[:MAX_ALLOWED]):
        if not _is_network(network):
            yield Misfit(f"allow[{index}]", "is not a network")
    if interface and act != "shape":
        yield Misfit("interface", f"{act} is about no interface", "leave `interface` out")
    if interface and not _is_interface(interface):
        yield Misfit("interface", "is not the name of an interface", "write for example eth0")


def _is_network(network: Network) -> bool:
    return len(network.address) in ADDRESSES and 0 <= network.prefix <= 8 * len(network.address)


def _is_interface(name: str) -> bool:
    """As the kernel has it (net/core/dev.c, dev_valid_name)."""
    plain = name.isascii() and name.isprintable() and not frozenset("/: ").intersection(name)
    return plain and len(name) <= MAX_INTERFACE and name not in {".", ".."}
