"""`python -m controlplane.plane.telemetry.events_page` prints docs/events.md, from the catalogue."""

import sys
from collections.abc import Iterator
from typing import Final

from controlplane.plane.telemetry import events
from controlplane.plane.telemetry.catalogue import ATTRIBUTES, EVENTS, Attribute, EventKind
from controlplane.plane.telemetry.logs import MAX_TEXT

HEAD: Final = f"""\
# Events

<!-- Written by `make events` from controlplane/plane/telemetry/catalogue.py; a test compares. -->

What reflexarc tells as OpenTelemetry log records: over OTLP, as JSON lines, and in systemd's journal.

| field | what |
|---|---|
| Timestamp | the kernel event's own time where there is one; see below |
| ObservedTimestamp | when the plane made the record, each time it is sent |
| TraceId, SpanId | of the reflex and of this step; none where there is no reflex |
| TraceFlags | 1 (sampled) in a reflex, or as the caller has them who asked for it; else 0 |
| SeverityNumber, SeverityText | 5 DEBUG, 9 INFO, 13 WARN, 17 ERROR |
| EventName | below |
| Body | one sentence for people; all that is in it is an attribute, too |
| Attributes | below; texts have at most {MAX_TEXT} characters and no line breaks |
| Resource | what runs: `service.name`, `service.version`, `service.instance.id` (one arc); where: \
`host.name`, `host.id`, `host.arch`, `os.type`, `os.version`; \
what OTEL_RESOURCE_ATTRIBUTES or `export.resource` add |
| its schema | {events.SCHEMA_URL} |
| InstrumentationScope | `{events.SCOPE_NAME}` and its version |
| its schema | {events.SCOPE_SCHEMA_URL} |

**Time.** The kernel and the arc count CLOCK_MONOTONIC. Each segment of the journal has the difference to the
wall clock from when it was begun; to it the time of a record is added. When the wall clock is set or the
machine has slept, the arc begins another segment: records after it are right, those before it stay as they
were. NTP's slewing moves both clocks alike.

**One trace a reflex.** The finding's span is the root; intents and refusals are its children, an act and its
effect share the span of their intent, an undo is its child. Log records have no parent: it is the attribute
`{events.PARENT_SPAN_ID}`. Sorted by Timestamp they are the story in its order. A reflex that
was asked for over the API goes on with the trace of the call: it has no finding, and its intents are
children of the span of the call.

**Storms.** A stream tells one finding a cooldown, a minute unless its policy says otherwise, never less than
20 ms; the next one says in `{events.REPEATS}` how many records fired in between. Where none has come five
seconds after the cooldown, the storm is over, and `{events.REPEATED}` says it.

**Repeats.** A record may be sent again after a crash or an unanswered request, always with the same
`{events.LOG_RECORD_UID}`.
"""


def page() -> str:
    """All of it."""
    return "\n".join([HEAD, *_events(), "", *_attributes()]) + "\n"


def _events() -> Iterator[str]:
    yield from ("## Event names", "", "| event | severity | when | attributes |", "|---|---|---|---|")
    yield from (_event(kind) for kind in EVENTS)


def _event(kind: EventKind) -> str:
    named = ", ".join(f"`{name}`" for name in kind.attributes)
    return f"| `{kind.name}` | {kind.severity} | {kind.when} | {named} |"


def _attributes() -> Iterator[str]:
    yield "## Attributes"
    yield ""
    yield "Names outside `reflexarc.` are those of OpenTelemetry's semantic conventions."
    yield ""
    yield "| attribute | type | unit | example | what |"
    yield "|---|---|---|---|---|"
    yield from (_attribute(each) for each in ATTRIBUTES)


def _attribute(each: Attribute) -> str:
    return f"| `{each.name}` | {each.type} | {each.unit} | `{each.example}` | {each.meaning} |"


if __name__ == "__main__":
    sys.stdout.write(page())
