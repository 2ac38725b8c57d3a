"""Quarantine, and shape of a cgroup, as netlink messages: a table of our own (net/netfilter/nf_tables_api.c).

Its chains `in` and `out` see all packets of the node's own sockets, and send those of one cgroup on to `from`
and `to`, where they are spared or dropped. Pure: no socket.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Final

from pyroute2.netlink import (
    NETLINK_NETFILTER,
    NLM_F_ACK,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REQUEST,
    nlmsg,
)
from pyroute2.netlink.nfnetlink import NFNL_SUBSYS_NFTABLES, nfgen_msg, nftsocket

from controlplane.link.messages import Filling
from controlplane.link.reach import Network
from controlplane.link.rules import Step
from controlplane.policy.parts import Parts

BEGIN: Final = 0x10
END: Final = 0x11
"""NFNL_MSG_BATCH_BEGIN and _END."""
CREATE: Final = NLM_F_CREATE | NLM_F_EXCL
APPEND: Final = NLM_F_CREATE | NLM_F_APPEND
HOOKS: Final = {"in": 1, "out": 3}
"""NF_INET_LOCAL_IN and _OUT."""
FIRST: Final = -300
"""Priority: as NF_IP_PRI_RAW, before connections are tracked."""
VERDICTS: Final = {"in": "from", "out": "to"}
OFFSETS: Final = {(4, "from"): 12, (4, "to"): 16, (16, "from"): 8, (16, "to"): 24}
"""Of an address in a header, by its length: the source of what comes in, the destination of what goes out."""
FAMILIES: Final = {4: nftsocket.NFPROTO_IPV4, 16: nftsocket.NFPROTO_IPV6}
ACCEPT, DROP, JUMP = 1, 0, -3
BURST: Final = 1 << 16
"""Beyond a second's worth, which the kernel adds: what a socket sends at once is one packet here."""
BYTES: Final = 1
BEYOND: Final = 1
"""NFT_LIMIT_PKT_BYTES and NFT_LIMIT_F_INV."""

Attributes = Sequence[tuple[str, object]]


class _Rule(nftsocket.nft_rule_msg):
    """Knows a socket's cgroup as well (include/uapi/linux/netfilter/nf_tables.h, NFT_SOCKET_CGROUPV2)."""

    class nft_expr(nftsocket.nft_contains_expr.nft_expr):  # noqa: N801 - found by this name
        class nft_socket(nftsocket.nft_regs):  # noqa: N801
            nla_map = (  # type: ignore[assignment]  # a tuple of another length
                ("NFTA_SOCKET_UNSPEC", "none"),
                ("NFTA_SOCKET_KEY", "be32"),
                ("NFTA_SOCKET_DREG", "regs"),
                ("NFTA_SOCKET_LEVEL", "be32"),
            )


RULE: Final[type[nftsocket.nft_rule_msg]] = _Rule
CGROUP: Final = 3


def table(step: Step, filling: Filling) -> Parts:
    """A table that does this to the cgroup that is filled in."""
    name, note = b"reflexarc-" + filling.name, b"act " + filling.name
    made = nftsocket.nft_table_msg()
    made["attrs"] = [("NFTA_TABLE_NAME", name.decode()), ("NFTA_TABLE_USERDATA", note.decode())]
    named = nftsocket.nft_table_msg()
    named["attrs"] = [("NFTA_TABLE_NAME", name.decode())]
    asked = nftsocket.nft_table_msg()
    asked["attrs"] = named["attrs"]
    contents = (*_chains(name.decode()), *_rules(step, name.decode(), filling))
    return Parts(
        NETLINK_NETFILTER,
        _batch(_typed(made, nftsocket.NFT_MSG_NEWTABLE, CREATE), *contents),
        (_typed(asked, nftsocket.NFT_MSG_GETTABLE, NLM_F_ACK),),
        note + b"\0",
        _batch(_typed(named, nftsocket.NFT_MSG_DELTABLE, 0)),
    )


def _typed(message: nfgen_msg, kind: int, flags: int) -> nfgen_msg:
    message["header"]["type"] = NFNL_SUBSYS_NFTABLES << 8 | kind
    message["header"]["flags"] = NLM_F_REQUEST | flags
    message["nfgen_family"] = nftsocket.NFPROTO_INET
    return message


def _batch(*messages: nfgen_msg) -> tuple[nlmsg, ...]:
    """All of it or nothing, acknowledged once."""
    messages[-1]["header"]["flags"] |= NLM_F_ACK
    return _bracket(BEGIN), *messages, _bracket(END)


def _bracket(kind: int) -> nfgen_msg:
    message = nfgen_msg()
    message["header"]["type"] = kind
    message["header"]["flags"] = NLM_F_REQUEST
    message["res_id"] = NFNL_SUBSYS_NFTABLES
    return message


def _chains(name: str) -> Iterator[nfgen_msg]:
    for verdict in VERDICTS.values():
        yield _chain(name, verdict, [])
    for base, hook in HOOKS.items():
        place = [("NFTA_HOOK_HOOKNUM", hook), ("NFTA_HOOK_PRIORITY", FIRST)]
        yield _chain(name, base, [("NFTA_CHAIN_HOOK", {"attrs": place}), ("NFTA_CHAIN_TYPE", "filter")])


def _chain(name: str, chain: str, more: Attributes) -> nfgen_msg:
    message = nftsocket.nft_chain_msg()
    message["attrs"] = [("NFTA_CHAIN_TABLE", name), ("NFTA_CHAIN_NAME", chain), *more]
    return _typed(message, nftsocket.NFT_MSG_NEWCHAIN, CREATE)


def _rules(step: Step, name: str, filling: Filling) -> Iterator[nfgen_msg]:
    for base, verdict in VERDICTS.items():
        for network in step.allow:
            yield _rule(name, verdict, *_is_of(network, verdict), _verdict(ACCEPT))
        beyond = [_limit(amount.number // 8) for amount in step.amounts]
        yield _rule(name, verdict, *beyond, _expression("counter", []), _verdict(DROP))
        yield _rule(name, base, *_is_cgroup(filling), _verdict(JUMP, verdict))


def _rule(name: str, chain: str, *expressions: object) -> nfgen_msg:
    message = RULE()
    message["attrs"] = [
        ("NFTA_RULE_TABLE", name),
        ("NFTA_RULE_CHAIN", chain),
        ("NFTA_RULE_EXPRESSIONS", [*expressions]),
    ]
    return _typed(message, nftsocket.NFT_MSG_NEWRULE, APPEND)


def _expression(name: str, attributes: Attributes) -> object:
    prefix = f"NFTA_{name.upper()}_"
    data = [(prefix + key, value) for key, value in attributes]
    return {"attrs": [("NFTA_EXPR_NAME", name), ("NFTA_EXPR_DATA", {"attrs": data})]}


def _value(data: bytes) -> object:
    return {"attrs": [("NFTA_DATA_VALUE", data)]}


def _equals(data: bytes) -> object:
    return _expression("cmp", [("SREG", 1), ("OP", nftsocket.Cmp.NFT_CMP_EQ), ("DATA", _value(data))])


def _is_cgroup(filling: Filling) -> Iterator[object]:
    """The socket's own cgroup or one above it, on the level that is filled in."""
    (level,) = struct.unpack(">I", filling.level)
    yield _expression("socket", [("KEY", CGROUP), ("DREG", 1), ("LEVEL", level)])
    yield _equals(filling.cgroup)


def _is_of(network: Network, verdict: str) -> Iterator[object]:
    length = len(network.address)
    bits = 8 * length
    mask = ((1 << bits) - (1 << bits - network.prefix)).to_bytes(length, "big")
    yield _expression("meta", [("DREG", 1), ("KEY", nftsocket.Meta.NFT_META_NFPROTO)])
    yield _equals(bytes([FAMILIES[length]]))
    place = [("DREG", 1), ("BASE", 1), ("OFFSET", OFFSETS[length, verdict]), ("LEN", length)]
    yield _expression("payload", place)
    masked = [
        ("SREG", 1),
        ("DREG", 1),
        ("LEN", length),
        ("MASK", _value(mask)),
        ("XOR", _value(bytes(length))),
    ]
    yield _expression("bitwise", masked)
    yield _equals(network.address)


def _limit(bytes_per_s: int) -> object:
    """True of what comes on top of it."""
    kind = [("TYPE", BYTES), ("FLAGS", BEYOND)]
    return _expression("limit", [("RATE", bytes_per_s), ("UNIT", 1), ("BURST", BURST), *kind])


def _verdict(code: int, chain: str = "") -> object:
    where = [("NFTA_VERDICT_CHAIN", chain)] if chain else []
    verdict = {"attrs": [("NFTA_VERDICT_CODE", code), *where]}
    return _expression("immediate", [("DREG", 0), ("DATA", {"attrs": [("NFTA_DATA_VERDICT", verdict)]})])
