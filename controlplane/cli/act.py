"""`reflexarc act`: one act by hand, with the guards, the journal and the undo of any other."""

import argparse
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from controlplane.cli import show
from controlplane.cli.client_options import add_client_options, connected
from controlplane.cli.exits import CliError, Exit, Subparsers
from controlplane.cli.words import KINDS, step_words, victim_words
from controlplane.policy import units
from controlplane.policy.errors import UnitError
from controlplane.wire import management_pb2 as pb

if TYPE_CHECKING:
    pass

ENDLESS: Final = frozenset({"kill", "reclaim", "evidence"})
"""Acts that have nothing to undo."""
DEFAULT_FOR: Final = "30s"
LAST: Final = (pb.ReflexStep.KIND_OUTCOME, pb.ReflexStep.KIND_REFUSED)


def add_parser(subparsers: Subparsers) -> None:
    """Options of `act`."""
    parser = subparsers.add_parser("act", help="do one act by hand")
    parser.add_argument("act", metavar="ACT", help="freeze, limit-cpu, reclaim, kill ...")
    parser.add_argument("target", metavar="TARGET", help="path of a cgroup, or a pid")
    parser.add_argument(
        "settings", nargs="*", metavar="KEY=VALUE", help="as in a policy: max=50%%, grace=2s, amount=256MiB"
    )
    parser.add_argument(
        "--for", dest="lasting", metavar="TIME", help=f"then it is undone (default: {DEFAULT_FOR})"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be written, and do nothing")
    add_client_options(parser)


def run(args: argparse.Namespace) -> int:
    """Do it, and say what came of it; a `TRACEPARENT` of the environment is carried on."""
    request = request_of(args)
    with connected(args) as client:
        if args.dry_run:
            return tell_dry(args, client.trigger(request))
        # Watched before it begins, so that nothing of it is missed.
        told = client.watch()
        begun = client.trigger(request, os.environ.get("TRACEPARENT", ""))
        steps = list(steps_of(begun.trace_id, told))
        if args.json:
            show.print_json(show.plain(begun) | {"steps": [show.plain(step) for step in steps]})
        else:
            print(
                f"trace {begun.trace_id}",
                *(f"{KINDS[one.kind]:8}  {step_words(one)}" for one in steps),
                sep="\n",
            )
    if steps[-1].kind == pb.ReflexStep.KIND_REFUSED:
        return Exit.REFUSED
    return Exit.DONE if steps[-1].ok else Exit.FAILED


def request_of(args: argparse.Namespace) -> pb.TriggerRequest:
    """What the words ask for. Raises CliError."""
    settings = dict(pair(word) for word in args.settings)
    lasting = args.lasting or ("" if args.act in ENDLESS else DEFAULT_FOR)
    try:
        for_ns = units.duration_ns(lasting) if lasting else 0
    except UnitError as error:
        raise CliError(f"--for: {error}", error.hint, Exit.USAGE) from None
    request = pb.TriggerRequest(act=args.act, settings=settings, for_ns=for_ns, dry_run=args.dry_run)
    if args.target.isascii() and args.target.isdecimal():
        request.pid = int(args.target)
    else:
        request.cgroup = args.target
    return request


def pair(word: str) -> tuple[str, str]:
    """`max=50%` apart. Raises CliError."""
    key, equals, value = word.partition("=")
    if not equals or not key:
        raise CliError(f"{word!r} is not KEY=VALUE", "write for example max=50%", Exit.USAGE)
    return key, value


def steps_of(trace_id: str, told: Iterator[pb.WatchResponse]) -> Iterator[pb.ReflexStep]:
    """Of that reflex, until its act has returned or was refused."""
    for event in told:
        if event.step.trace_id == trace_id:
            yield event.step
            if event.step.kind in LAST:
                return


def tell_dry(args: argparse.Namespace, answer: pb.TriggerResponse) -> int:
    """What would be written where, or which guard would refuse it."""
    if args.json:
        show.print_json(show.plain(answer))
    elif answer.guard:
        detail = f": {answer.detail}" if answer.detail else ""
        print(f"{args.act} of {victim_words(answer.victim)} would be forbidden by {answer.guard}{detail}")
    else:
        print(f"{args.act} of {victim_words(answer.victim)} would write:", *answer.writes, sep="\n  ")
    return Exit.REFUSED if answer.guard else Exit.DONE
