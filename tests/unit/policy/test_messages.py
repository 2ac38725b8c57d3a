"""Netlink messages of steps: what is filled in and what is not, and the child that encodes them."""

import os
import subprocess
import sys

import pytest

from controlplane.arc.encoding import read_answer
from controlplane.arc.reflex.network import must_fill
from controlplane.link.amounts import Amount
from controlplane.link.config import Mode
from controlplane.link.messages import ENCODER, Filling, Order, must_order, orders_of
from controlplane.link.reach import Network
from controlplane.link.rules import NS, Level, Rule, Step
from controlplane.policy.messages import FILLINGS, messages_of

WHOM = Filling(
    b"0123456789abcdef", b"\x01\x02\x03\x04\x05\x06\x07\x08", b"\0\0\0\x02", b"\x03\0\0\0", b"\0\0\0\x41"
)
RATE = (Amount("rate", 8_000_000),)
QUARANTINE = Step("quarantine", for_ns=NS, allow=(Network(FILLINGS[0].level, 32),))
STEPS = (
    QUARANTINE,
    Step("shape", for_ns=NS, amounts=RATE),
    Step("shape", for_ns=NS, amounts=RATE, interface="eth0"),
)


@pytest.mark.parametrize("step", STEPS)
def test_all_blanks_are_filled_in(step: Step) -> None:
    spared = {network.address for network in step.allow}
    messages = messages_of(step)
    for message in (messages.make, messages.find, messages.mark, messages.remove):
        filled = must_fill(message, WHOM)
        assert len(filled) == len(message.data)
        assert not [value for value in FILLINGS[0] if value in filled and value not in spared]


def test_an_address_that_looks_like_what_is_filled_in_stays() -> None:
    filled = must_fill(messages_of(QUARANTINE).make, WHOM)
    assert (filled.count(FILLINGS[0].level), filled.count(WHOM.level), filled.count(WHOM.cgroup)) == (2, 2, 2)


def test_the_child_encodes_in_order() -> None:
    steps, messages = os.memfd_create("steps"), os.memfd_create("messages")
    os.write(steps, ENCODER.encode(STEPS))
    os.lseek(steps, 0, os.SEEK_SET)
    command = ["-m", "controlplane.policy.messages", "--in-fd", str(steps), "--out-fd", str(messages)]
    subprocess.run([sys.executable, *command], check=True, pass_fds=(steps, messages))
    answer = read_answer(os.pread(messages, 1 << 20, 0))
    os.close(steps)
    os.close(messages)
    assert answer == tuple(messages_of(step) for step in STEPS)


def test_a_child_without_a_result_has_none() -> None:
    assert read_answer(b"") is None


def test_only_rules_that_may_act_need_messages() -> None:
    def orders(*steps: Step, mode: Mode = "enforce") -> list[Order]:
        return [*orders_of([Rule(name="r", signal="net.drop", test=Level(1), ladder=steps, mode=mode)])]

    again = Step("quarantine", for_ns=9 * NS, after_ns=NS, allow=QUARANTINE.allow)
    assert orders(QUARANTINE, again, Step("freeze", for_ns=NS)) == [must_order(QUARANTINE)]
    assert orders(QUARANTINE, mode="observe") == []
