"""Effects of acts: told by the kernel's events or asked for, told to the journal, and given up in the end.

Knows which acts are awaited, and nothing of what follows from it.
"""

import time
from typing import Final, NamedTuple

from controlplane.arc.reflex.acts import GONE, Act, Effect
from controlplane.arc.reflex.agenda import ASK, GIVE_UP, Agenda, Due
from controlplane.arc.reflex.journal import Journal
from controlplane.arc.reflex.plans import Rung
from controlplane.arc.reflex.telling import Reflex, must_effect
from controlplane.link.records import Change, Intent
from controlplane.link.rules import NS

MAX_AWAITED: Final = 4096
ASK_NS: Final = 250_000
ASKED: Final = 7
"""An effect that no event tells is asked for at once, after 1 ms, 4 ms and so on for some 5 s."""
AWAIT_NS: Final = 5 * NS
"""How long an event is waited for before the next step goes on without it."""


class Awaited(NamedTuple):
    """An act whose effect an event will tell."""

    reflex: Reflex
    span_id: bytes
    act: str


class Effects:
    """What is awaited. While it is, `Reflex.pending` has the span of the act."""

    def __init__(self, journal: Journal, agenda: Agenda) -> None:
        self._journal = journal
        self._agenda = agenda
        self._awaited: dict[Effect, tuple[Awaited, ...]] = {}

    def must_await(self, reflex: Reflex, rung: Rung, intent: Intent, *, already: bool) -> None:
        """The act has returned; `already`: what it sets was so before, of which no event will come."""
        act, span_id = rung.act, intent.span_id
        if already:
            self._must_tell(reflex, span_id, act.name)
            return
        key = act.must_effect(reflex.victim)
        if key is None and self.must_see(reflex, act, span_id, intent.changes):
            return
        reflex.pending = span_id
        if key is None:
            self._must_ask_later(reflex, rung, span_id, 1)
            return
        self._must_register(key, Awaited(reflex, span_id, act.name))
        if rung.then is None:
            self._agenda.must_add(time.monotonic_ns() + AWAIT_NS, GIVE_UP, reflex, rung, span_id)

    def _must_register(self, key: Effect, awaited: Awaited) -> None:
        """Beside those of other reflexes; what this one awaited of the same victim is superseded."""
        if len(self._awaited) >= MAX_AWAITED:
            del self._awaited[next(iter(self._awaited))]
        all_of_them: tuple[Awaited, ...] = (awaited,)
        for other in self._awaited.get(key, ()):
            if other.reflex is not awaited.reflex:
                all_of_them += (other,)
        self._awaited[key] = all_of_them

    def must_take(self, key: Effect, time_ns: int) -> tuple[Awaited, ...]:
        """The kernel has confirmed it: those who awaited that, told."""
        found = self._awaited.pop(key, ())
        for awaited in found:
            self._journal.must_append(must_effect(awaited.reflex, awaited.span_id, awaited.act, time_ns))
        return found

    def must_see(self, reflex: Reflex, act: Act, span_id: bytes, changes: tuple[Change, ...]) -> bool:
        """Ask the kernel for the effect, and tell it. A victim that is gone shows none but that of a kill."""
        try:
            seen = act.must_have(reflex.victim, changes)
        except OSError as failure:
            seen = act.name == "kill" and failure.errno in GONE
        if seen:
            self._must_tell(reflex, span_id, act.name)
        return seen

    def _must_tell(self, reflex: Reflex, span_id: bytes, act: str, error: str = "") -> None:
        self._journal.must_append(must_effect(reflex, span_id, act, time.monotonic_ns(), error))

    def _must_ask_later(self, reflex: Reflex, rung: Rung, span_id: bytes, asked: int) -> None:
        at_ns = time.monotonic_ns() + (ASK_NS << 2 * asked)
        self._agenda.must_add(at_ns, ASK, reflex, rung, span_id, asked)

    def ask(self, due: Due, changes: tuple[Change, ...]) -> bool:
        """An effect that is asked for: whether it is known by now, or will not be asked for again."""
        assert due.rung is not None
        if self.must_see(due.reflex, due.rung.act, due.span_id, changes):
            return True
        if due.asked < ASKED:
            self._must_ask_later(due.reflex, due.rung, due.span_id, due.asked + 1)
            return False
        self._must_tell(due.reflex, due.span_id, due.rung.act.name, "unseen")
        return True

    def give_up(self, due: Due) -> bool:
        """An event has not come: whether the effect is there all the same. If not, the event may yet come."""
        assert due.rung is not None
        act = due.rung.act
        if not self.must_see(due.reflex, act, due.span_id, ()):
            self._must_tell(due.reflex, due.span_id, act.name, "unseen")
            return False
        key = act.must_effect(due.reflex.victim)
        if key is not None:
            self._awaited.pop(key, None)
        return True


def must_are_set(changes: tuple[Change, ...]) -> bool:
    """Whether everything that is to be set was so before; False where nothing is set."""
    for change in changes:
        if change.before != change.after:
            return False
    return bool(changes)
