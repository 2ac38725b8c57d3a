"""Our few header fields are those that pyroute2 reads, in datagrams recorded from a kernel.

`links.netlink` is what Linux 6.18 said, in a namespace of its own, of two interfaces, a bridge and lo while
they were dumped, joined, brought up and down, parted and deleted: each datagram after its length.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.marshal import MarshalRtnl

from controlplane.arc.kernel.rtnetlink import END, Link, dump_request, links_in

RECORDED = Path(__file__).with_name("links.netlink").read_bytes()
AF_UNSPEC, IFF_UP, IFF_RUNNING, RTM_DELLINK = 0, 0x1, 0x40, 17


def recorded() -> Iterator[bytes]:
    rest = RECORDED
    while rest:
        (length,) = struct.unpack_from("<I", rest)
        yield rest[4 : 4 + length]
        rest = rest[4 + length :]


DATAGRAMS = [*recorded()]


def as_pyroute2(datagram: bytes) -> list[Link]:
    """The same by the library."""
    return [
        Link(
            message["index"],
            message.get("ifname"),
            up=bool(message["flags"] & IFF_UP and message["flags"] & IFF_RUNNING),
            gone=message["header"]["type"] == RTM_DELLINK,
        )
        for message in MarshalRtnl().parse(datagram)
        if "index" in message and message["family"] == AF_UNSPEC
    ]


@pytest.mark.parametrize("datagram", DATAGRAMS, ids=range(len(DATAGRAMS)))
def test_it_reads_what_pyroute2_reads(datagram: bytes) -> None:
    assert [link for link in links_in(datagram) if link is not END] == as_pyroute2(datagram)


def test_the_recording_has_everything_in_it() -> None:
    links = [link for datagram in DATAGRAMS for link in links_in(datagram)]
    assert {link.name for link in links if link is not END} == {"lo", "east", "west", "span"}
    assert {(link.up, link.gone) for link in links} == {(True, False), (False, False), (False, True)}
    assert links.count(END) == 1


def test_a_port_that_leaves_its_bridge_is_not_gone() -> None:
    told = [message for datagram in DATAGRAMS for message in MarshalRtnl().parse(datagram)]
    parted = [message for message in told if message["header"]["type"] == RTM_DELLINK and message["family"]]
    assert parted
    assert not [link for message in parted for link in links_in(bytes(message.data))]


def test_the_request_is_one_that_pyroute2_reads() -> None:
    (message,) = MarshalRtnl().parse(dump_request())
    assert message["header"]["flags"] == 0x301
    assert (message["header"]["type"], message["family"]) == (18, AF_UNSPEC)


@given(datagram=st.sampled_from(DATAGRAMS), length=st.integers(0, 8192))
def test_what_is_cut_short_is_read_as_far_as_it_goes(datagram: bytes, length: int) -> None:
    whole = [*links_in(datagram)]
    part = [*links_in(datagram[:length])]
    assert part == whole[: len(part)]


@given(st.binary(max_size=256))
def test_any_bytes_are_read(datagram: bytes) -> None:
    assert all(isinstance(link, Link) for link in links_in(datagram))


@given(st.sampled_from(DATAGRAMS), st.integers(0, 2048), st.integers(0, 255))
def test_any_byte_may_be_wrong(datagram: bytes, at: int, byte: int) -> None:
    spoiled = bytearray(datagram)
    spoiled[at % len(spoiled)] = byte
    assert all(isinstance(link, Link) for link in links_in(bytes(spoiled)))
