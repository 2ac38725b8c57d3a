"""`reflexarc replay`: policies over recorded values, as fast as it can, by the code that decides in the arc.

Nothing is done and no daemon is asked. Every key is a stream in scope; the clock is that of the recording.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from controlplane.arc.kernel.events import Event, EventKind
from controlplane.arc.monitor.budget import Budget, Fixed
from controlplane.arc.monitor.streams import Monitor, Place
from controlplane.arc.monitor.tests import Test
from controlplane.cli.exits import CliError, Exit, Subparsers
from controlplane.cli.recorded import NS_OF, Bad, Sample, samples
from controlplane.link.rules import Rule, Scope
from controlplane.link.signals import BY_NAME
from controlplane.policy.compile import compile_policies
from controlplane.policy.load import policies_of, read_bytes

MAX_WEIGHT = 2**32 - 1
FIELDS = ("time", "key", "value", "statistic", "threshold", "policy")


def add_parser(subparsers: Subparsers) -> None:
    """Options of `replay`."""
    parser = subparsers.add_parser("replay", help="run policies over recorded values")
    parser.add_argument(
        *("--csv", "--recording"),
        dest="csv",
        required=True,
        metavar="FILE",
        help="rows of time, value[, key], or what `record` wrote; - is standard input",
    )
    parser.add_argument("--policy", required=True, type=Path, metavar="FILE", help="policies of one signal")
    parser.add_argument("--time-unit", choices=NS_OF, default="s", help="of times that are numbers")
    parser.add_argument(
        "--events",
        type=int,
        default=0,
        metavar="N",
        help="tests between false alarms, in place of the budget",
    )
    parser.add_argument("--json", action="store_true", help="one object per line and finding")


def run(args: argparse.Namespace) -> int:
    """Print what the policies would have found."""
    replay = Replay(rules_from(args.policy), args.events, as_json=args.json)
    try:
        with open(0 if args.csv == "-" else args.csv, newline="", errors="replace") as lines:  # noqa: PTH123  # 0 is stdin
            replay.feed(samples(lines, args.time_unit, replay.signal))
    except OSError as error:
        raise CliError(f"{args.csv} cannot be read: {error.strerror}") from None
    replay.conclude()
    if not replay.taken:
        raise CliError(f"{args.csv} holds no row that can be taken", "write rows of time,value,key")
    return Exit.DONE


def rules_from(policy: Path) -> list[Rule]:
    """Policies of one signal as rules that observe whatever is recorded. Raises PolicyError and CliError."""
    found = compile_policies(policies_of(read_bytes(policy), str(policy)), "", replayed=True)
    if not found:
        raise CliError(f"{policy} holds no policy")
    if len({rule.signal for rule in found}) > 1:
        raise CliError("a recording is of one signal, and the policies name several", "split the file")
    return [msgspec.structs.replace(rule, mode="observe", scope=Scope(), confirm=None) for rule in found]


class Replay:
    """A monitor fed with rows in place of records."""

    def __init__(self, rules: Sequence[Rule], events: int, *, as_json: bool) -> None:
        """`events`: tests between false alarms, 0 for what the budget comes to."""
        self.signal = rules[0].signal
        self._counts = BY_NAME[self.signal].kind == "count"
        make_budget = (lambda _: Fixed(events)) if events else Budget
        self._monitor = Monitor({self.signal: 1}, make_budget, replayed=True)
        self._monitor.set_rules(rules)
        self._keys: dict[str, int] = {}
        self._before: dict[int, int] = {}
        """When each stream was told of last."""
        self._json = as_json
        self._sample = Sample("", 0, 0, "")
        self.taken = self.findings = self._passed_over = 0
        self._first_bad = ""

    def feed(self, rows: Iterable[Sample | Bad]) -> None:
        """Every row to the test of its stream."""
        for row in rows:
            if isinstance(row, Bad):
                self._pass_over(f"line {row.line}: {row.reason}")
            elif self._counts and not 0 <= row.value <= MAX_WEIGHT:
                self._pass_over(f"time {row.written}: {row.value} is no count below 2^32")
            else:
                self.taken += 1
                self._sample = row
                self._monitor.must_feel(self._place(row.key), self._event(row), self._fired)

    def _place(self, key: str) -> Place:
        number = self._keys.setdefault(key, len(self._keys) + 1)
        return self._monitor.places.get(number) or self._monitor.name(number, key)

    def _event(self, row: Sample) -> Event:
        """As the kernel would have told it; the time of a count begins where that of the last one ended."""
        key = self._keys[row.key]
        since = self._before.get(key, row.time_ns)
        self._before[key] = row.time_ns
        weight = int(row.value) if self._counts else 1
        who = (key, key, 0, 0, 0, 0, 0)
        rest = (weight, 0, 0, 1, EventKind.SIGNAL, 0, b"")
        return Event(row.time_ns, row.value, since, *who, *rest)  # type: ignore[arg-type]  # recorded values may have fractions

    def _fired(self, _at: Place, _who: Place, _culprit: Place, rule: Rule, test: Test, event: Event) -> None:
        test.quiet_until_ns = event.time_ns + rule.cooldown_ns
        self.findings += 1
        row = self._sample
        told = (row.written, row.key, row.value, test.statistic, test.threshold, rule.name)
        if self._json:
            print(json.dumps(dict(zip(FIELDS, (_number_or_text(told[0]), *told[1:]), strict=True))))
        else:
            time, key, value, statistic, threshold, policy = told
            what = f"{key} {value}".lstrip()
            print(f"{time}  {policy}: {what}, {test.kind} {statistic:,.6g} against {threshold:,.6g}")

    def conclude(self) -> None:
        """Say on stderr how many there were, and what could not be taken."""
        if not self._json:
            rows, keys = f"{self.taken:,} rows", f"{len(self._keys):,} keys"
            print(f"{self.findings:,} findings in {rows} of {keys}", file=sys.stderr)
        if self._passed_over:
            print(f"passed over {self._passed_over:,} rows, the first: {self._first_bad}", file=sys.stderr)

    def _pass_over(self, why: str) -> None:
        self._first_bad = self._first_bad or why
        self._passed_over += 1


def _number_or_text(text: str) -> int | float | str:
    if text.isdecimal():
        return int(text)
    try:
        return float(text)
    except ValueError:
        return text
