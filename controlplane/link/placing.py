"""Where a policy is carried out: by the arc, or by the kernel in the hook in which its event is felt. Pure.

The kernel can do so where its test and its first act exist there, and where whoever runs in the hook is whom
the event is about. What is known of a rule alone is decided here; what the machine lacks, the arc finds out.
"""

from collections.abc import Sequence
from typing import Final

from controlplane.link.faults import Fault
from controlplane.link.rules import Betting, Level, Rate, Rule, Step, is_learned

SIGNALS: Final = ("process.fork", "process.exec", "memory.reclaim_stall", "writeback.pause")
"""Felt where the culprit runs. A fork is its parent's, who runs then."""


def why_not(rule: Rule) -> Fault | None:
    """Why the kernel cannot carry a rule out; None where it can."""
    if rule.signal not in SIGNALS:
        message = f"the kernel feels {rule.signal} where somebody else may run"
        return Fault("spec.where", message, f"there it can act upon {', '.join(SIGNALS)}")
    if not isinstance(rule.test, Rate | Level | Betting):
        return Fault(
            "spec.where", "the kernel has no such test", "write `kind: threshold` or `kind: histogram`"
        )
    if rule.confirm is not None:
        message = "the kernel cannot wait for a second signal"
        return Fault("spec.where", message, "leave `confirm` out, or write `where: userspace`")
    if rule.on_loss == "closed":
        message = "the kernel tests events before any can be lost"
        return Fault("spec.on_loss", message, "leave `on_loss` out, or write `where: userspace`")
    if rule.protect:
        message = "the kernel does not know what a policy protects besides"
        return Fault("spec.where", message, "leave `protect` out, or write `where: userspace`")
    return _why_not_step([step for step in rule.ladder if step.after_ns == 0], rule)


def _why_not_step(first: Sequence[Step], rule: Rule) -> Fault | None:
    if len(first) != 1:
        message = "the kernel takes one step, the first, and no other at once"
        return Fault("spec.ladder", message, "give the others an `after`")
    (step,) = first
    if step.act == "deny":
        return None
    if step.act == "kill" and rule.per == "process" and not step.grace_ns:
        if is_learned(rule.test):
            message = "kill cannot be undone, and the kernel cannot have it confirmed"
            return Fault("spec.where", message, "write `kind: threshold`, or `where: userspace`")
        return None
    message = f"the kernel cannot {_words(step, rule)}"
    return Fault("spec.where", message, "there it can `deny`, and with `per: process` kill at once")


def _words(step: Step, rule: Rule) -> str:
    if step.act != "kill":
        return step.act
    return "kill with grace" if step.grace_ns else f"kill a whole {rule.per}"


def denies(rule: Rule) -> bool:
    """Whether it may deny something, now or later in its ladder."""
    return any(step.act == "deny" for step in rule.ladder)


def misplaced(rule: Rule) -> Fault | None:
    """What is wrong with `where: kernel`; None where nothing is."""
    return why_not(rule) if rule.where == "kernel" else None


def belongs_to_kernel(rule: Rule) -> bool:
    """Whether it is to be carried out there, if the machine can.

    With `auto` those that begin with a denial: it can be undone, and ends with the daemon whatever happens.
    What cannot be undone is journalled before it is done, which the kernel cannot, so it has to be asked for.
    """
    if rule.where == "userspace" or why_not(rule) is not None:
        return False
    return rule.where == "kernel" or rule.ladder[0].act == "deny"
