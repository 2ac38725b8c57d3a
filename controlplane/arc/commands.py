"""Commands from the plane, carried out.

Nothing here trusts the sender: types were checked by the decoder, meaning is checked here, and no
command names a file or a program.
"""

import time
from collections.abc import Callable, Mapping
from typing import Final, assert_never

import msgspec

from controlplane.arc.auditing import Auditing
from controlplane.arc.pacing import Pace
from controlplane.arc.reflex.journal import Journal
from controlplane.arc.reflex.taking_up import TakingUp
from controlplane.arc.rulebook import RuleBook
from controlplane.arc.status import StreamReader, rules_page
from controlplane.arc.triggering import Triggering
from controlplane.link.faults import problems
from controlplane.link.frames import (
    ApplyRule,
    Audited,
    CloseBreaker,
    Command,
    DeleteRule,
    Diagnosed,
    Done,
    GetStatus,
    ListRules,
    ListStreams,
    Noticed,
    Ping,
    Refused,
    Result,
    SegmentMoved,
    SetMode,
    Status,
    Trigger,
    UndoActs,
)
from controlplane.link.placing import misplaced
from controlplane.link.rules import MAX_RULES, Rule, runs_programs, signals_of

CHANGES_AT_ONCE: Final = MAX_RULES
"""All policies that there can be."""
CHANGES_PER_S: Final = 8
"""Each goes through all rules and streams, and is journalled."""


class Commands:
    """Answers one command at a time."""

    def __init__(
        self,
        book: RuleBook,
        engine: TakingUp,
        journal: Journal,
        streams: StreamReader,
        signals: Mapping[str, str],
        triggering: Triggering,
        status: Callable[[], Status],
        changed: Callable[[str, str, str], None],
    ) -> None:
        """`signals`: those there are, each with the reason why it is not felt, empty where it is."""
        self._book = book
        self._engine = engine
        self._journal = journal
        self._auditing = Auditing(journal.must_append)
        self._streams = streams
        self._signals = signals
        self._missing = {name: reason for name, reason in signals.items() if reason}
        self._triggering = triggering
        self._status = status
        self._changed = changed
        self._pace = Pace(CHANGES_AT_ONCE, CHANGES_PER_S)

    def answer(self, command: Command) -> Result:
        """Carry it out."""
        match command:
            case GetStatus():
                return self._status()
            case Ping():
                return Done()
            case ListStreams() | ListRules():
                return self._list(command)
            case SegmentMoved():
                return Done(changed=int(self._journal.moved(command.segment)))
            case Trigger():
                return self._triggering.answer(command)
            case Audited() | Noticed() | Diagnosed():
                return self._auditing.tell(command)
            case _:
                return self._change(command)

    def _change(self, command: ApplyRule | DeleteRule | SetMode | UndoActs | CloseBreaker) -> Result:
        dry = isinstance(command, ApplyRule) and command.dry_run
        if not dry and not self._pace.admits(time.monotonic_ns()):
            return Refused("busy", "too many changes at once", "try again in a second")
        match command:
            case ApplyRule():
                return self._apply(command)
            case DeleteRule():
                return self._delete(command)
            case SetMode():
                return self._set_mode(command)
            case UndoActs():
                return self._undo(command)
            case CloseBreaker():
                return self._close_breaker(command)
            case _:
                assert_never(command)

    def _list(self, command: ListStreams | ListRules) -> Result:
        offset = max(0, command.offset)
        if isinstance(command, ListStreams):
            return self._streams.page(offset)
        budgets = self._streams.budgets(time.monotonic_ns())
        return rules_page(self._book, self._engine, budgets, self._missing, offset)

    def _apply(self, command: ApplyRule) -> Result:
        found = problems(command.rule)
        if fault := misplaced(command.rule):
            found.append(f"{fault.at}: {fault.message}")
        if found:
            return Refused("invalid", "; ".join(found))
        if runs_programs(command.rule):
            return Refused("forbidden", "a policy that runs a program comes from a file", "see policies.d")
        for signal in signals_of(command.rule):
            if signal not in self._signals:
                return Refused("invalid", f"unknown signal {signal!r}")
        # It comes over the link, whatever it says.
        rule = msgspec.structs.replace(command.rule, origin="api")
        difference = self._difference(rule)
        if command.dry_run:
            return Done(detail=difference)
        if not self._book.apply(rule):
            return Refused("forbidden", "too many policies", "delete one first")
        self._changed("policy.applied", command.rule.name, command.actor)
        return Done(changed=1, detail=difference)

    def _difference(self, rule: Rule) -> str:
        before = self._book.find(rule.name)
        if before is None:
            return "new"
        return "unchanged" if before == rule else "replaces"

    def _delete(self, command: DeleteRule) -> Result:
        if not self._book.delete(command.name):
            return Refused("not_found", f"no policy {command.name!r}")
        self._changed("policy.deleted", command.name, command.actor)
        return Done(changed=1)

    def _set_mode(self, command: SetMode) -> Result:
        if not command.rule:
            self._engine.mode = command.mode
            self._changed("mode.changed", command.mode, command.actor)
            return Done(changed=1)
        rule = self._book.find(command.rule)
        if rule is None:
            return Refused("not_found", f"no policy {command.rule!r}")
        found = problems(msgspec.structs.replace(rule, mode=command.mode))
        if found:
            return Refused("forbidden", f"policy {rule.name!r}: {'; '.join(found)}")
        self._book.set_mode(rule.name, command.mode)
        self._changed("policy.mode_changed", f"{rule.name}: {command.mode}", command.actor)
        return Done(changed=1)

    def _close_breaker(self, command: CloseBreaker) -> Result:
        if not self._engine.breaker.close(command.rule):
            whose = f"of policy {command.rule!r}" if command.rule else "of the node"
            return Refused("not_found", f"the breaker {whose} is not open")
        self._changed("breaker.closed", command.rule or "node", command.actor)
        return Done(changed=1)

    def _undo(self, command: UndoActs) -> Result:
        wanted = command.trace_id
        if wanted and not any(held.intent.trace_id == wanted for held in self._engine.holdings.all()):
            return Refused("not_found", "nothing of that reflex is in force")
        self._engine.end_where(lambda reflex: not wanted or reflex.trace_id == wanted)
        count = self._engine.undo_where(
            lambda held: not wanted or held.intent.trace_id == wanted, "command", command.actor
        )
        return Done(changed=count)
