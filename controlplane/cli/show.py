"""Messages for people and for machines: plain values for JSON, tables, times and durations in words.

Needs no package beyond those of the client. Prints, but asks nobody anything.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from controlplane.wire import management_pb2 as pb

NS_PER_US: Final = 1_000
NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000


def print_json(value: Mapping[str, Any], *, indent: int | None = 2) -> None:
    """One JSON object; with `indent` None on one line, sent off at once."""
    print(json.dumps(value, indent=indent), flush=indent is None)


def plain(message: Message) -> dict[str, Any]:
    """A message as values of JSON: numbers stay numbers, times become RFC 3339, enums words in lower case.

    Every field is there, `null` for a message that is not set; of a oneof only the one that is set.
    """
    return {
        field.name: _plain_field(message, field)
        for field in cast("Sequence[FieldDescriptor]", message.DESCRIPTOR.fields)
        if field.containing_oneof is None or message.HasField(field.name)
    }


def _plain_field(message: Message, field: FieldDescriptor) -> Any:  # noqa: ANN401  # JSON
    value = getattr(message, field.name)
    if field.message_type and field.message_type.GetOptions().map_entry:
        return dict(sorted(value.items()))
    if field.is_repeated:
        return [_plain_value(field, one) for one in value]
    if field.message_type and not message.HasField(field.name):
        return None
    return _plain_value(field, value)


def _plain_value(field: FieldDescriptor, value: Any) -> Any:  # noqa: ANN401  # JSON
    if isinstance(value, Timestamp):
        return value.ToJsonString()
    if isinstance(value, Message):
        return plain(value)
    if field.enum_type:
        return enum_word(field.enum_type.values_by_number[value].name, field.enum_type.name)
    return value


def enum_word(name: str, enum: str) -> str:
    """`MODE_ENFORCE` of `Mode` as `enforce`."""
    return name.removeprefix(f"{enum.upper()}_").lower()


def mode_word(mode: pb.Mode) -> str:
    """A mode as it is written in policies."""
    return enum_word(pb.Mode.Name(mode), "Mode")


def mode_number(word: str) -> pb.Mode:
    """Inverse of `mode_word`."""
    return cast("pb.Mode", pb.Mode.Value(f"MODE_{word.upper()}"))


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows under a head, in columns; numbers to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    numeric = [bool(cells) and all(_is_number(row[i]) for row in cells) for i in range(len(head))]
    lines = [list(head), *cells]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    )


def _cell(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case _:
            return str(value)


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "").isdecimal()


def microseconds(duration_ns: int) -> str:
    """As in `1,234.5 us`: one unit, so that a timeline can be compared at a glance."""
    return f"{duration_ns / NS_PER_US:,.1f} us"


def duration(duration_ns: int) -> str:
    """As a policy would write it: `250ms`, `10s`, `1.5s`."""
    for size, unit in ((60 * NS_PER_S, "m"), (NS_PER_S, "s"), (NS_PER_MS, "ms"), (NS_PER_US, "us")):
        if duration_ns >= size and duration_ns % (size // 10 or 1) == 0:
            return f"{duration_ns / size:g}{unit}"
    return f"{duration_ns}ns"


def clock(stamp: Timestamp) -> str:
    """Local time of day, to the microsecond."""
    return f"{_local(stamp):%H:%M:%S}.{stamp.nanos // NS_PER_US:06}"


def date(stamp: Timestamp) -> str:
    """Local date and time, to the second."""
    return f"{_local(stamp):%Y-%m-%d %H:%M:%S}"


def _local(stamp: Timestamp) -> datetime:
    return datetime.fromtimestamp(stamp.seconds, tz=UTC).astimezone()
