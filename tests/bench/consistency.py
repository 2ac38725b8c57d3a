"""Whether what a journal tells can be true: nothing missing, all acts taken back. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from controlplane.link.records import Effect, Intent, Outcome, Record, Undo

Entry = tuple[tuple[int, int], Record]
"""((instance, index), record), as `daemon.journalled` gives them."""


class Acts(NamedTuple):
    """What was done, by span."""

    intents: dict[bytes, Intent]
    outcomes: dict[bytes, Outcome]
    effects: dict[bytes, Effect]
    undos: dict[bytes, list[Undo]]
    """By the span of the act that each takes back."""


def acts_in(entries: Iterable[Entry]) -> Acts:
    """Acts that were to be done; what is only repeated for a new segment is left out."""
    acts = Acts({}, {}, {}, {})
    for _, record in entries:
        match record:
            case Intent(mode="enforce", carried=False):
                acts.intents[record.span_id] = record
            case Outcome():
                acts.outcomes[record.span_id] = record
            case Effect():
                acts.effects[record.span_id] = record
            case Undo():
                acts.undos.setdefault(record.parent_id, []).append(record)
            case _:
                pass
    return acts


def problems(entries: Sequence[Entry]) -> Iterator[str]:
    """In words; none for a journal that is consistent."""
    yield from _gaps(entries)
    acts = acts_in(entries)
    for span, intent in acts.intents.items():
        yield from _of_act(intent, acts.outcomes.get(span), acts.undos.get(span, []))
    for kind, spans in (("outcome", acts.outcomes), ("effect", acts.effects), ("undo", acts.undos)):
        yield from (f"an {kind} without its intent" for span in spans if span not in acts.intents)


def _gaps(entries: Sequence[Entry]) -> Iterator[str]:
    last: dict[int, int] = {}
    for (instance, index), _ in entries:
        if index != last.get(instance, index - 1) + 1:
            yield f"records before {index} are missing"
        last[instance] = index


def _of_act(intent: Intent, outcome: Outcome | None, undos: Sequence[Undo]) -> Iterator[str]:
    name = f"{intent.act} of {intent.path}"
    if outcome is not None and outcome.time_ns < intent.time_ns:
        yield f"{name} was over before it began"
    if outcome is not None and not outcome.ok:
        return
    due = 1 if intent.changes else 0
    if len(undos) != due:
        yield f"{name} has {len(undos)} undos instead of {due}"
    yield from (f"{name} was not undone: {undo.error}" for undo in undos if not undo.ok)
