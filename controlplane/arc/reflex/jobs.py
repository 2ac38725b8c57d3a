"""What children are to do for reflexes: who waits, and how many there may be. Starts nothing.

The engine adds on the hot path; `arc.errands` takes from here when the acts of a wake-up are done.
"""

import time
from collections import deque
from typing import Final, NamedTuple

from controlplane.arc.reflex.plans import Rung
from controlplane.arc.reflex.telling import Reflex
from controlplane.link.hooks import Hook
from controlplane.link.records import Intent, Reason
from controlplane.link.rules import NS, Step

MAX_WAITING: Final = 64
HOOKS_A_WINDOW: Final = 30
WINDOW_NS: Final = 60 * NS
"""Programs run for policies at most, of all policies together; undos are not counted."""
RECLAIM_NS: Final = 10 * NS
EVIDENCE_NS: Final = NS
"""What cannot be undone waits so long for it."""


class Doing(NamedTuple):
    """An act that a child does."""

    reflex: Reflex
    rung: Rung
    intent: Intent
    fds: tuple[int, ...]
    """Files of the victim, closed once the child has them."""
    timeout_ns: int
    until_ns: int
    """Then it must have begun and ended."""


class Undoing(NamedTuple):
    """The undo of a hook."""

    intent: Intent
    hook: Hook
    reason: Reason
    actor: str
    timeout_ns: int
    until_ns: int


Job = Doing | Undoing


class Jobs:
    """In the order in which they came."""

    def __init__(self) -> None:
        self.waiting: deque[Job] = deque()
        self.gathering: deque[Reflex] = deque()
        """Of which evidence is being taken, once for each."""
        self._hooks: deque[int] = deque(maxlen=HOOKS_A_WINDOW)
        """When the last of them were taken on."""

    def must_admit(self, step: Step, now_ns: int) -> bool:
        """Whether one more may be added; if it is a hook, it counts."""
        if len(self.waiting) >= MAX_WAITING:
            return False
        if step.act != "hook":
            return True
        hooks = self._hooks
        if len(hooks) == HOOKS_A_WINDOW and now_ns - hooks[0] < WINDOW_NS:
            return False
        hooks.append(now_ns)
        return True

    def must_give(self, reflex: Reflex, rung: Rung, intent: Intent, fds: tuple[int, ...]) -> None:
        """An act was admitted and is to be done; what cannot be undone waits for evidence."""
        if rung.step.act == "evidence":
            reflex.gathering += 1
            self.gathering.append(reflex)
        timeout_ns = must_timeout(rung.step)
        until_ns = time.monotonic_ns() + timeout_ns
        self.waiting.append(Doing(reflex, rung, intent, fds, timeout_ns, until_ns))

    def take_back(self, intent: Intent, hook: Hook, reason: Reason, actor: str = "") -> None:
        """Its second program is to be run."""
        until_ns = time.monotonic_ns() + hook.timeout_ns
        self.waiting.append(Undoing(intent, hook, reason, actor, hook.timeout_ns, until_ns))


def must_timeout(step: Step) -> int:
    """How long a step may take."""
    if step.hook is not None:
        return step.hook.timeout_ns
    return EVIDENCE_NS if step.act == "evidence" else RECLAIM_NS
