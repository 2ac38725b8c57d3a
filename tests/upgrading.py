"""A restart judged by its journal: the policies it is looked at under, and for how long nothing was felt."""

from collections.abc import Iterable
from typing import Final

from controlplane.link.records import Finding, Record

Place = tuple[int, int]
"""Of a record: who wrote it, and the how manieth of his it is."""

FELT: Final = """\
apiVersion: reflexarc/v1
kind: Policy
metadata: {{name: felt}}
spec:
  signal: process.fork
  scope: {{cgroups: ["{path}"]}}
  test: {{kind: threshold, above: 1/s, over: 1s}}
  ladder: [{{act: observe}}]
  cooldown: 0s
"""
FROZEN: Final = """\
apiVersion: reflexarc/v1
kind: Policy
metadata: {{name: frozen}}
spec:
  signal: process.fork
  scope: {{cgroups: ["{path}"]}}
  test: {{kind: threshold, above: 1/s, over: 1s}}
  ladder: [{{act: freeze, for: 1h}}]
  mode: enforce
"""


def gap_ns(records: Iterable[tuple[Place, Record]], old: int, new: int) -> int:
    """From the last event that the old one told of to the first of the new one, in the kernel's time."""
    times: dict[int, list[int]] = {old: [], new: []}
    for (writer, _), record in records:
        if writer in times and isinstance(record, Finding) and record.rule == "felt":
            times[writer].append(record.time_ns)
    return min(times[new]) - max(times[old])
