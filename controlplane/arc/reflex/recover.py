"""After a crash: read what a dead predecessor left in force from its journal, and take it back."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from controlplane.arc.reflex.acts import Act
from controlplane.arc.reflex.journal import boot_id
from controlplane.arc.reflex.telling import take_back
from controlplane.link.records import Change, Intent, Outcome, Reason, Record, Undo
from controlplane.link.rules import IRREVERSIBLE
from controlplane.link.segment import Header

Place = tuple[str, int, int, int]
"""What is set, of which cgroup, or process of it."""


def left_in_force(records: Iterable[tuple[Header, Record]]) -> list[Intent]:
    """Reversible acts of this boot that were begun and neither failed nor taken back, oldest first.

    An intent without an outcome counts: the arc may have died between the act and its record. What each
    is said to have set is what the last act on the same victim did.
    """
    boot = boot_id()
    open_intents: dict[bytes, Intent] = {}
    tried: dict[bytes, Intent] = {}
    for header, record in records:
        if header.boot_id != boot:
            continue
        match record:
            case Intent(mode="enforce", act=act) if act not in IRREVERSIBLE and record.changes:
                open_intents[record.span_id] = tried[record.span_id] = record
            case Outcome(ok=False):
                open_intents.pop(record.span_id, None)
                tried.pop(record.span_id, None)
            case Undo():
                open_intents.pop(record.parent_id, None)
            case _:
                pass
    last = {_place(intent, each): each.after for intent in tried.values() for each in intent.changes}
    return [_as_it_is(intent, last) for intent in open_intents.values()]


def _place(intent: Intent, change: Change) -> Place:
    return change.what, intent.cgroup, intent.pid, intent.start_ns


def _as_it_is(intent: Intent, last: Mapping[Place, str]) -> Intent:
    changes = (
        Change(each.what, each.before, last[_place(intent, each)], each.removal) for each in intent.changes
    )
    return msgspec.structs.replace(intent, changes=tuple(changes))


def undo_left(
    intents: Iterable[Intent],
    acts: Mapping[tuple[str, bool], Act],
    reason: Reason = "restart",
    actor: str = "",
) -> Iterator[Undo]:
    """Take each back, and say what came of it. Of several on one victim the last one writes the values.

    What programs did, programs undo: those are left to `finishing.take_back_hooks`.
    """
    left = [intent for intent in intents if intent.act != "hook"]
    last = {_place(intent, each): intent for intent in left for each in intent.changes}
    for intent in left:
        act = acts.get((intent.act, bool(intent.pid)))
        if act is not None:
            changes = [each for each in intent.changes if last[_place(intent, each)] is intent]
            yield take_back(act, intent, changes, reason, actor)
