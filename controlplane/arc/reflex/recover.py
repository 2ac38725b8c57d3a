"""After a crash: read what a dead predecessor left in force from its journal, and take it back."""

from collections.abc import Iterable, Iterator, Mapping

from controlplane.arc.reflex.acts import Act
from controlplane.arc.reflex.journal import boot_id
from controlplane.arc.reflex.telling import take_back
from controlplane.link.records import Intent, Outcome, Record, Undo
from controlplane.link.rules import IRREVERSIBLE
from controlplane.link.segment import Header


def left_in_force(records: Iterable[tuple[Header, Record]]) -> list[Intent]:
    """Reversible acts of this boot that were begun and neither failed nor taken back, oldest first.

    An intent without an outcome counts: the arc may have died between the act and its record.
    """
    boot = boot_id()
    open_intents: dict[bytes, Intent] = {}
    for header, record in records:
        if header.boot_id != boot:
            continue
        match record:
            case Intent(mode="enforce", act=act) if act not in IRREVERSIBLE:
                open_intents[record.span_id] = record
            case Outcome(ok=False):
                open_intents.pop(record.span_id, None)
            case Undo():
                open_intents.pop(record.parent_id, None)
            case _:
                pass
    return list(open_intents.values())


def undo_left(intents: Iterable[Intent], acts: Mapping[tuple[str, bool], Act]) -> Iterator[Undo]:
    """Take each back, and say what came of it. Of several on one victim the last one writes the value."""
    left = list(intents)
    last = {(intent.act, intent.cgroup, intent.pid): intent for intent in left}
    for intent in left:
        act = acts.get((intent.act, bool(intent.pid)))
        if act is not None:
            shared = last[intent.act, intent.cgroup, intent.pid] is not intent
            yield take_back(act, intent, "restart", shared=shared)
