"""Acts in force: who holds which victim by what, and the value that will be written back.

Two rules may hold one victim by the same act: the first knows the value from before, the last to let go
writes it back.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from controlplane.arc.reflex.acts import Act
from controlplane.arc.reflex.telling import Reflex
from controlplane.arc.reflex.victims import Victim
from controlplane.link.records import Intent

MAX_IN_FORCE: Final = 512
"""So that they can be carried into every new segment of the journal, and undone in no time."""

Holding = tuple[str, tuple[int, int, int]]
"""Act and victim."""


class InForce(NamedTuple):
    """A reversible act that was done and not yet taken back."""

    reflex: Reflex
    act: Act
    intent: Intent


class Holdings:
    """By span of the intent."""

    def __init__(self) -> None:
        self._by_span: dict[bytes, InForce] = {}
        self._holders: dict[Holding, tuple[int, str]] = {}

    def __contains__(self, span_id: bytes) -> bool:
        return span_id in self._by_span

    @property
    def full(self) -> bool:
        """No more may be held."""
        return len(self._by_span) >= MAX_IN_FORCE

    def must_previous(self, act: Act, victim: Victim, found: str) -> str:
        """The value before any act of ours; `found` is the one there now."""
        holder = self._holders.get((act.name, victim.key))
        return found if holder is None else holder[1]

    def must_hold(self, reflex: Reflex, act: Act, intent: Intent) -> None:
        """The act is done."""
        self._by_span[intent.span_id] = InForce(reflex, act, intent)
        key = (act.name, reflex.victim.key)
        holder = self._holders.get(key)
        self._holders[key] = (1 if holder is None else holder[0] + 1, intent.previous)

    def release(self, span_id: bytes) -> tuple[InForce, bool]:
        """Let go of one; with it whether another reflex still holds the victim."""
        held = self._by_span.pop(span_id)
        key = (held.act.name, held.reflex.victim.key)
        count, previous = self._holders.pop(key)
        if count > 1:
            self._holders[key] = (count - 1, previous)
        return held, count > 1

    def all(self) -> list[InForce]:
        """Oldest first."""
        return list(self._by_span.values())

    def chosen(self, wanted: Callable[[InForce], bool]) -> list[bytes]:
        """Spans of those wanted."""
        return [span for span, held in self._by_span.items() if wanted(held)]
