"""Shape of an interface as netlink messages: a token bucket filter at its root (net/sched/sch_tbf.c).

What waits longer than LATENCY_MS is dropped. Pure: no socket.
"""

import struct
from typing import Final

from pyroute2.netlink import NETLINK_ROUTE, NLM_F_ACK, NLM_F_CREATE, NLM_F_ECHO, NLM_F_EXCL, NLM_F_REQUEST
from pyroute2.netlink.rtnl import RTM_DELQDISC, RTM_GETQDISC, RTM_NEWQDISC, TC_H_ROOT
from pyroute2.netlink.rtnl.tcmsg import sched_tbf, tcmsg

from controlplane.link.messages import Filling
from controlplane.link.rules import Step
from controlplane.policy.parts import Parts

LATENCY_MS: Final = 50
LEAST_BURST: Final = 1 << 16
"""What a network card is given at once."""
PER_MS: Final = 8_000
NARROW: Final = (1 << 32) - 1
"""A rate beyond it goes into an attribute of its own."""
_WHO: Final = struct.Struct("=4s4sI")
"""In struct tcmsg: interface, handle, parent."""


class _Options(sched_tbf.options):
    """With the attributes for rates beyond 32 bits and for a burst in bytes."""

    nla_map = (  # type: ignore[assignment]  # a tuple of another length
        *sched_tbf.options.nla_map,
        ("TCA_TBF_RATE64", "uint64"),
        ("TCA_TBF_PRATE64", "uint64"),
        ("TCA_TBF_BURST", "uint32"),
    )


class _Discipline(tcmsg):
    """One of its kind only."""

    nla_map = (  # type: ignore[assignment]  # a tuple of another length
        ("TCA_UNSPEC", "none"),
        ("TCA_KIND", "asciiz"),
        ("TCA_OPTIONS", "_options"),
    )
    _options = _Options


MESSAGE: Final[type[tcmsg]] = _Discipline


def shaping(step: Step, filling: Filling) -> Parts:
    """Of the interface that is filled in, with a handle that is."""
    return Parts(
        NETLINK_ROUTE,
        (_made(step.amounts[0].number, filling),),
        (_asked(filling),),
        _WHO.pack(filling.interface, filling.handle, TC_H_ROOT),
        (_about(RTM_DELQDISC, filling),),
    )


def _made(bits_per_s: int, filling: Filling) -> tcmsg:
    message = _about(RTM_NEWQDISC, filling)
    message["header"]["flags"] |= NLM_F_CREATE | NLM_F_EXCL
    rate = bits_per_s // 8
    burst = max(LEAST_BURST, bits_per_s // PER_MS)
    limit = min(NARROW, burst + rate * LATENCY_MS // 1000)
    parameters = {"rate": min(rate, NARROW), "limit": limit, "mtu": LEAST_BURST}
    options = [("TCA_TBF_PARMS", parameters), ("TCA_TBF_BURST", min(burst, NARROW))]
    if rate > NARROW:
        options.append(("TCA_TBF_RATE64", rate))
    message["attrs"] = [("TCA_KIND", "tbf"), ("TCA_OPTIONS", {"attrs": options})]
    return message


def _about(kind: int, filling: Filling) -> tcmsg:
    message = MESSAGE()
    message["header"]["type"] = kind
    message["header"]["flags"] = NLM_F_REQUEST | NLM_F_ACK
    (message["index"],) = struct.unpack("=i", filling.interface)
    (message["handle"],) = struct.unpack("=I", filling.handle)
    message["parent"] = TC_H_ROOT
    return message


def _asked(filling: Filling) -> tcmsg:
    """For whatever is at the root; the answer is an echo to whoever asks."""
    message = _about(RTM_GETQDISC, filling._replace(handle=bytes(4)))
    message["header"]["flags"] |= NLM_F_ECHO
    return message
