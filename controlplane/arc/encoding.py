"""The child that encodes netlink messages: started when rules that may act need some that are not there yet.

Rules come from files and from the plane; what is sent to the kernel is only ever made from what was checked.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Literal

from controlplane.arc.children import Child, spawn
from controlplane.arc.loop import Loop
from controlplane.arc.reflex.network import ENCODING, Prepared
from controlplane.link.malformed import MALFORMED
from controlplane.link.messages import (
    ENCODER,
    PREPARED,
    PREPARED_ACTS,
    Messages,
    Order,
    must_order,
    orders_of,
)
from controlplane.link.rules import Rule, Step

BY_HAND: Final = 16
"""Steps taken by hand that are remembered when rules change."""

Notice = Callable[[str, str, Literal["info", "error"]], None]


class Encoding:
    """Keeps `prepared` up to the rules in force."""

    def __init__(self, loop: Loop, prepared: Prepared, notice: Notice) -> None:
        self._loop = loop
        self._prepared = prepared
        self._notice = notice
        self._wanted: dict[Order, Step] = {}
        self._by_hand: deque[Step] = deque(maxlen=BY_HAND)
        self._asked: dict[Order, Step] = {}
        self._output = -1
        self._child: Child | None = None

    def follow(self, rules: Iterable[Rule]) -> None:
        """These rules are in force from now on."""
        self._wanted = orders_of(rules) | {must_order(step): step for step in self._by_hand}
        known = self._prepared.messages
        self._prepared.messages = {order: known[order] for order in self._wanted if order in known}
        self._encode()

    def also(self, step: Step) -> None:
        """Somebody is about to take this step by hand: refused the first time, it is encoded meanwhile."""
        order = must_order(step)
        if step.act in PREPARED_ACTS and order not in self._wanted:
            self._by_hand.append(step)
            self._wanted[order] = step
            self._encode()

    def close(self) -> None:
        """End the child under way."""
        if self._child is not None:
            self._child.abandon()
            os.close(self._output)

    def _encode(self) -> None:
        """What is missing, or once more when the child under way is done."""
        asked = {order: step for order, step in self._wanted.items() if order not in self._prepared.messages}
        if self._child is not None or not asked:
            return
        self._asked = asked
        steps = os.memfd_create("steps")
        os.write(steps, ENCODER.encode(tuple(asked.values())))
        os.lseek(steps, 0, os.SEEK_SET)
        self._output = os.memfd_create("messages")
        try:
            pid = spawn(
                "controlplane.policy.messages", ("--in-fd", "3", "--out-fd", "4"), (steps, self._output)
            )
        except OSError as error:
            os.close(self._output)
            self._give_up(f"the encoder of messages cannot be started: {error.strerror}")
        else:
            self._prepared.missing = ENCODING
            self._child = Child(self._loop, pid, self._encoded)
        finally:
            os.close(steps)

    def _encoded(self, status: int) -> None:
        self._child = None
        os.lseek(self._output, 0, os.SEEK_SET)
        with open(self._output, "rb") as file:
            answer = read_answer(file.read())
        if answer is None or len(answer) != len(self._asked):
            self._give_up(f"the encoder of messages ended with status {status} and without a result")
            return
        self._prepared.messages |= dict(zip(self._asked, answer, strict=True))
        self._notice("messages.encoded", f"of {len(answer)} steps, which may act now", "info")
        self._encode()

    def _give_up(self, reason: str) -> None:
        """Until rules change again."""
        self._prepared.missing = reason
        self._notice("messages.failed", reason, "error")


def read_answer(written: bytes) -> tuple[Messages, ...] | None:
    """None when the child did not get that far."""
    try:
        return PREPARED.decode(written)
    except MALFORMED:
        return None
