"""What reflexes come to, told to the journal and counted: findings, steps that were refused, and outcomes."""

from collections import deque

from controlplane.arc.reflex.acts import Act
from controlplane.arc.reflex.evidence import MAX_HELD, Held, must_hold
from controlplane.arc.reflex.identities import Identities
from controlplane.arc.reflex.journal import Journal
from controlplane.arc.reflex.plans import Rung
from controlplane.arc.reflex.telling import Reflex, must_finding, must_intent, must_refusal
from controlplane.link.records import Guard
from controlplane.link.signals import Known


class Tallies:
    """Of one engine."""

    def __init__(self, journal: Journal, identities: Identities, known: Known) -> None:
        self._journal = journal
        self._identities = identities
        self._known = known
        self.held: deque[Held] = deque()
        """Findings told and not yet explained."""
        self.findings: dict[str, int] = {}
        """By rule."""
        self.steps: dict[tuple[str, str], int] = {}
        """Steps by (act, outcome)."""
        self.refusals: dict[str, int] = {}
        """Of steps, by guard."""

    def must_tell(self, reflex: Reflex) -> None:
        """The finding, once."""
        if reflex.evidence is None:
            return
        name = reflex.rule.name
        self.findings[name] = self.findings.get(name, 0) + 1
        reflex.finding = must_finding(reflex, reflex.evidence, self._known[reflex.rule.signal].unit)
        self._journal.must_append(reflex.finding)
        if len(self.held) < MAX_HELD:
            self.held.append(must_hold(reflex, reflex.evidence))
        reflex.evidence = None

    def must_observe(self, reflex: Reflex, rung: Rung) -> None:
        """A step that would have been taken."""
        self.must_tell(reflex)
        span = self._identities.must_span()
        self._journal.must_append(must_intent(reflex, rung.number, rung.step, "observe", (), span))
        self.must_tally(rung.act.name, "observed")

    def must_refuse(self, reflex: Reflex, act: Act, guard: Guard, detail: str = "") -> None:
        """A step that a guard forbids."""
        self.must_tell(reflex)
        self.must_tally(act.name, "refused")
        self.refusals[guard] = self.refusals.get(guard, 0) + 1
        span = self._identities.must_span()
        self._journal.must_append(must_refusal(reflex, act.name, guard, detail, span))

    def must_tally(self, act: str, outcome: str, number: int = 1) -> None:
        """One more step, or as many."""
        key = (act, outcome)
        self.steps[key] = self.steps.get(key, 0) + number
