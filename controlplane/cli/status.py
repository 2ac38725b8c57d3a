"""`reflexarc status`: one snapshot of the daemon."""

import argparse
from collections.abc import Mapping

from controlplane.cli import show
from controlplane.cli.client_options import add_client_options, connected
from controlplane.cli.exits import Exit, Subparsers
from controlplane.cli.words import breaker_words
from controlplane.wire import management_pb2 as pb


def add_parser(subparsers: Subparsers) -> None:
    """Options of `status`."""
    add_client_options(subparsers.add_parser("status", help="how the daemon is"))


def run(args: argparse.Namespace) -> int:
    """Print the snapshot."""
    with connected(args) as client:
        status = client.status()
    if args.json:
        show.print_json(show.plain(status))
    else:
        print(as_text(status))
    return Exit.DONE


def as_text(status: pb.GetStatusResponse) -> str:
    """The snapshot for people."""
    facts = {
        "version": status.version,
        "mode": show.mode_word(status.mode),
        "arc": f"pid {status.pid}, sensors loaded by {status.loader}",
        "scheduling": "real-time, memory locked" if status.realtime else "ordinary",
        "started": show.date(status.start_time),
        "armed": _armed(status),
        "streams": f"{status.streams:,}",
        "policies": f"{status.policies:,}",
        "events": _counts(status.events),
        "findings": _counts(status.findings),
        "steps": _counts(status.steps),
        "refused": _counts(status.refusals),
        "denied": _counts(status.denials),
        "latency": _latency(status.latency),
        "breakers": _breakers(status),
        "journal": f"{status.journal_records:,} records, {status.journal_dropped:,} dropped",
        "plane": f"{status.plane_restarts:,} restarts, {status.link_dropped:,} frames dropped",
        "last reload": status.policy_error or "taken",
    }
    width = max(map(len, facts))
    lines = [f"{name:{width}}  {fact}" for name, fact in facts.items()]
    lines += [f"in force: {in_force_words(act)}" for act in status.in_force]
    return "\n".join(lines)


def in_force_words(act: pb.ActInForce) -> str:
    """One act in force."""
    until = show.clock(act.until) if act.HasField("until") else "undone by hand"
    return f"{act.act} {act.victim.path} by {act.policy} until {until}, trace {act.trace_id}"


def _breakers(status: pb.GetStatusResponse) -> str:
    allowed = f"{breaker_words(status.breaker)} on this node"
    opened = ", ".join(name or "the node" for name in status.breakers_open)
    return f"open: {opened}; {allowed}" if opened else f"closed; {allowed}"


def _armed(status: pb.GetStatusResponse) -> str:
    if not status.HasField("armed_time"):
        return "not yet"
    took = status.armed_time.ToNanoseconds() - status.start_time.ToNanoseconds()
    return f"{took / show.NS_PER_MS:,.0f} ms after the start"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "none"


def _latency(latency: pb.Latency) -> str:
    total = sum(latency.counts)
    if not total:
        return "no act yet"
    return f"{show.microseconds(latency.sum_ns // total)} from event to act returned, mean of {total:,}"
