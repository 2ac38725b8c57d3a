"""Acts in force: who holds which victim by what, and the values that will be written back.

Two rules may hold one victim by the same act: the first knows the values from before, the last to let go
writes them back.
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import msgspec

from controlplane.arc.reflex.acts import Act
from controlplane.arc.reflex.telling import Reflex
from controlplane.arc.reflex.victims import Victim
from controlplane.link.records import Change, Intent

MAX_IN_FORCE: Final = 512
"""So that they can be carried into every new segment of the journal, and undone in no time."""

Holding = tuple[str, tuple[int, int, int]]
"""What is set, and of which victim."""


class InForce(NamedTuple):
    """A reversible act that was done and not yet taken back."""

    reflex: Reflex
    act: Act
    intent: Intent


class Held(NamedTuple):
    """A value that acts have set: how many hold it, before the first and after the last of them."""

    holders: int
    before: str
    after: str


class Holdings:
    """By span of the intent."""

    def __init__(self) -> None:
        self._by_span: dict[bytes, InForce] = {}
        self._values: dict[Holding, Held] = {}

    def __contains__(self, span_id: bytes) -> bool:
        return span_id in self._by_span

    def get(self, span_id: bytes) -> InForce | None:
        """What is in force by that span."""
        return self._by_span.get(span_id)

    @property
    def full(self) -> bool:
        """No more may be held."""
        return len(self._by_span) >= MAX_IN_FORCE

    def must_changes(self, victim: Victim, found: tuple[Change, ...]) -> tuple[Change, ...]:
        """`found` with the values before any act of ours; it holds those that are there now."""
        changes: tuple[Change, ...] = ()
        for change in found:
            held = self._values.get((change.what, victim.key))
            before = change.before if held is None else held.before
            changes += (Change(change.what, before, change.after, change.removal),)
        return changes

    def must_hold(self, reflex: Reflex, act: Act, intent: Intent) -> None:
        """The act is done."""
        self._by_span[intent.span_id] = InForce(reflex, act, intent)
        for change in intent.changes:
            key = (change.what, reflex.victim.key)
            held = self._values.get(key)
            holders = 1 if held is None else held.holders + 1
            self._values[key] = Held(holders, change.before, change.after)

    def release(self, span_id: bytes) -> tuple[InForce, list[Change]]:
        """Let go of one; with it the changes to take back, those that no other reflex holds."""
        held = self._by_span.pop(span_id)
        return held, list(self._let_go(held))

    def _let_go(self, held: InForce) -> Iterator[Change]:
        for change in held.intent.changes:
            key = (change.what, held.reflex.victim.key)
            value = self._values.pop(key)
            if value.holders > 1:
                self._values[key] = value._replace(holders=value.holders - 1)
            else:
                yield Change(change.what, value.before, value.after, change.removal)

    def all(self) -> list[InForce]:
        """Oldest first."""
        return list(self._by_span.values())

    def intents(self) -> list[Intent]:
        """Of those in force, with the values that are there now, which a later act may have set."""
        return [msgspec.structs.replace(held.intent, changes=self._now(held)) for held in self.all()]

    def _now(self, held: InForce) -> tuple[Change, ...]:
        key = held.reflex.victim.key
        return tuple(
            Change(each.what, each.before, self._values[each.what, key].after, each.removal)
            for each in held.intent.changes
        )

    def chosen(self, wanted: Callable[[InForce], bool]) -> list[bytes]:
        """Spans of those wanted."""
        return [span for span, held in self._by_span.items() if wanted(held)]
