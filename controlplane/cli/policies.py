"""`reflexarc policies`: what is in force and how it fares; `--delete` takes one out of force."""

import argparse

from controlplane.cli import show
from controlplane.cli.client_options import add_client_options, connected
from controlplane.cli.exits import Exit, Subparsers
from controlplane.cli.words import breaker_words, ladder_words, test_words
from controlplane.wire import management_pb2 as pb


def add_parser(subparsers: Subparsers) -> None:
    """Options of `policies`."""
    parser = subparsers.add_parser("policies", help="policies in force")
    parser.add_argument("--delete", default="", metavar="NAME", help="take this one out of force")
    add_client_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print every policy, or delete one."""
    with connected(args) as client:
        if args.delete:
            client.delete(args.delete)
            _say_deleted(args)
            return Exit.DONE
        found = client.policies()
    if args.json:
        show.print_json({"policies": [show.plain(status) for status in found]})
        return Exit.DONE
    head = (
        *("POLICY", "MODE", "FINDINGS", "SIGNAL", "FIRES AT", "STREAMS", "TESTS/S", "PER FALSE ALARM"),
        *("LADDER", "ON LOSS", "BREAKER", "WHERE", "FROM", "STATE"),
    )
    print(show.table(head, map(_row, found)))
    return Exit.DONE


def _say_deleted(args: argparse.Namespace) -> None:
    if args.json:
        show.print_json({"deleted": args.delete})
    else:
        print(f"{args.delete} is out of force")


def _budget(status: pb.PolicyStatus) -> tuple[str, str]:
    """How often it decides, and how often that may be between two false alarms."""
    if not status.tests_per_alarm:
        return "-", "-"
    return f"{status.tests_per_second:,.3g}", f"{status.tests_per_alarm:,.0f}"


def _on_loss(status: pb.PolicyStatus) -> str:
    """What it may do while events are being lost. In the kernel they are tested before that."""
    policy = status.policy
    if status.where == "kernel":
        return "as ever"
    return {"closed": "nothing", "open": "as ever"}.get(policy.on_loss, "what can be undone")


def _row(status: pb.PolicyStatus) -> tuple[object, ...]:
    policy = status.policy
    return (
        policy.name,
        show.mode_word(status.effective_mode),
        status.findings,
        policy.signal,
        test_words(policy),
        status.streams,
        *_budget(status),
        ladder_words(policy),
        _on_loss(status),
        breaker_words(status.breaker) if status.HasField("breaker") else "-",
        status.where,
        policy.origin,
        status.reason or ("breaker open" if status.breaker_open else "armed"),
    )
