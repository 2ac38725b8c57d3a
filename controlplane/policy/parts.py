"""What an encoder of netlink messages yields for one step: messages to be sent, not yet bytes."""

from typing import NamedTuple

from pyroute2.netlink import nlmsg


class Parts(NamedTuple):
    """See `Messages`, of which these become the parts."""

    protocol: int
    make: tuple[nlmsg, ...]
    find: tuple[nlmsg, ...]
    mark: bytes
    remove: tuple[nlmsg, ...]
