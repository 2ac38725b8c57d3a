"""The second signal that a rule wants to see in trouble before an act that cannot be undone.

A rule's confirming signal is watched where its victims are: at the same cgroup, and for what has no stream
of its own there, on the node: at any device, any CPU, or at the root cgroup. Pure; kept with the place it
belongs to, so it is as bounded, and forgotten with it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import msgspec

from controlplane.arc.kernel.events import Event
from controlplane.arc.monitor.tests import make_test
from controlplane.link.rules import Confirm, Rule, Scope, is_empty
from controlplane.link.scope import matches

NEVER: Final = -(2**62)
ROOT: Final = "/"


class Exceeded:
    """When a threshold was last exceeded."""

    __slots__ = ("at_ns",)

    def __init__(self) -> None:
        self.at_ns = NEVER


class Watch:
    """The confirming signal of one rule at one place."""

    __slots__ = ("_test", "exceeded", "rule")

    def __init__(self, rule: Rule, confirm: Confirm, exceeded: Exceeded) -> None:
        self.rule = rule
        self.exceeded = exceeded
        self._test = make_test(confirm.test)

    def must_feel(self, event: Event) -> None:
        """A record of the signal."""
        if self._test.must_update(event.time_ns, event.since_ns, event.value, event.weight):
            self.exceeded.at_ns = event.time_ns


Watches = Mapping[int, tuple[Watch, ...]]
"""By number of the signal."""


def sentinels(rules: Iterable[Rule]) -> Iterator[Rule]:
    """What must be felt for confirmations, as rules that do nothing: within the scope, and on the node."""
    for rule in rules:
        if rule.confirm is not None:
            confirm = rule.confirm
            within = msgspec.structs.replace(
                rule, signal=confirm.signal, per="cgroup", test=confirm.test, confirm=None, ladder=()
            )
            yield within
            yield msgspec.structs.replace(within, scope=Scope())


class Confirming:
    """All confirming signals under the rules in force."""

    def __init__(self, numbers: Mapping[str, int]) -> None:
        """`numbers` are those of every signal, by name."""
        self._numbers = numbers
        self._nodes: dict[Rule, Exceeded] = {}
        """What counts for cgroups without a stream of their own."""
        self.must_own: Callable[[int, str], bool] = lambda _cgroup, _signal: True
        """Whether a cgroup has a stream of its own of that signal."""

    def set_rules(self, rules: Iterable[Rule]) -> None:
        """Put rules in force; those that did not change keep what is known."""
        wanted = [rule for rule in rules if rule.confirm is not None]
        self._nodes = {rule: self._nodes.get(rule) or Exceeded() for rule in wanted}

    def watches(self, cgroup: int, path: str, signal: int, kept: Watches) -> Watches:
        """For a cgroup, or with `signal` set for another place; `kept` are those it had before."""
        known = {watch.rule: watch for each in kept.values() for watch in each}
        made: dict[int, tuple[Watch, ...]] = {}
        for rule, node in self._nodes.items():
            assert rule.confirm is not None
            number = self._numbers[rule.confirm.signal]
            on_node = number == signal if not cgroup else path == ROOT
            if on_node or (cgroup and (is_empty(rule.scope) or matches(rule.scope, path))):
                watch = known.get(rule) or Watch(rule, rule.confirm, node if on_node else Exceeded())
                made[number] = (*made.get(number, ()), watch)
        return made

    def must_hold(self, rule: Rule, cgroup: int, watches: Watches, now_ns: int) -> bool:
        """Whether the second signal of `rule` confirms trouble of a cgroup, which has these watches."""
        confirm, exceeded = rule.confirm, self._nodes.get(rule)
        if confirm is None or exceeded is None:
            return False
        if self.must_own(cgroup, confirm.signal):
            exceeded = None
            for watch in watches.get(self._numbers[confirm.signal], ()):
                if watch.rule == rule:
                    exceeded = watch.exceeded
        return exceeded is not None and now_ns - exceeded.at_ns <= confirm.within_ns
