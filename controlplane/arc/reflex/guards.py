"""What forbids an act: protection, lack of certainty, events lost, breaker. All are asked on the hot path."""

from collections.abc import Callable
from typing import Final, NamedTuple

from controlplane.arc.monitor.tests import Test
from controlplane.arc.monitor.tiers import must_stern
from controlplane.arc.reflex.breaker import Breaker
from controlplane.arc.reflex.protection import Protection
from controlplane.link.rules import Rule, is_learned, signals_of, window_ns

UNSURE: Final = 1
AT_REST: Final = 2


class Confirmation:
    """What cannot be undone needs a surer test, if that has learned, and a second signal in trouble."""

    def __init__(self, confirmed: Callable[[Rule, int, int], bool]) -> None:
        """`confirmed` says of a rule and a cgroup whether the second signal shows trouble at a time."""
        self._must_confirm = confirmed

    def must_miss(self, rule: Rule, test: Test, cgroup: int, now_ns: int) -> int:
        """What is missing: 0, or of UNSURE and AT_REST those that hold."""
        learned = is_learned(rule.test)
        missing = UNSURE if learned and test.statistic < must_stern(test.kind, test.threshold) else 0
        if (learned or rule.confirm is not None) and not self._must_confirm(rule, cgroup, now_ns):
            missing |= AT_REST
        return missing


class Loss:
    """While events of a rule's sensors were lost within its window, what is known is not all there was."""

    def __init__(self, last: Callable[[str], int]) -> None:
        """`last` says when an event of the sensor of a signal was last lost, 0 when never."""
        self._must_last = last

    def must_forbid(self, rule: Rule, irreversible: bool, now_ns: int) -> bool:  # noqa: FBT001
        """Whether an act must not be done now, by the rule's `on_loss`."""
        if rule.on_loss == "open" or (rule.on_loss is None and not irreversible):
            return False
        for signal in signals_of(rule):
            last_ns = self._must_last(signal)
            if last_ns and now_ns - last_ns < window_ns(rule.test):
                return True
        return False


class Guards(NamedTuple):
    """All of them."""

    protection: Protection
    confirmation: Confirmation
    loss: Loss
    breaker: Breaker
