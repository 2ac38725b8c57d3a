"""`reflexarc pki`: a CA and certificates for people who have no other, in files never overwritten."""

import argparse
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from controlplane.cli.exits import CliError, Exit, Subparsers
from controlplane.link.account import Account, AccountError, account

if TYPE_CHECKING:
    from cryptography import x509

    from controlplane.pki.certificates import Pair, Wanted

DEFAULT_FOLDER: Final = Path("/etc/reflexarc/pki")
CA: Final = "ca"
DOMAIN: Final = "reflexarc.local"
CA_DAYS: Final = 3650
DAYS: Final = 90
MAX_DAYS: Final = 825
"""Of what a CA signs. Who leaks a key cannot take it back, so nothing lives long."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def add_parser(subparsers: Subparsers) -> None:
    """Options of `pki` and of its four commands."""
    parser = subparsers.add_parser("pki", help="certificates for management over TLS")
    parser.set_defaults(json=False)
    commands = parser.add_subparsers(dest="pki", metavar="COMMAND", required=True)
    init = commands.add_parser("init", help="make a CA: ca.crt and ca.key")
    init.add_argument(
        "--trust-domain", default="reflexarc.local", metavar="NAME", help="default: %(default)s"
    )
    issue = commands.add_parser("issue", help="make a certificate that the CA signs")
    issue.add_argument("kind", choices=("server", "client"))
    issue.add_argument("name", help="of the node, or of the person or program")
    issue.add_argument("--role", choices=("viewer", "operator", "admin"), help="of a client")
    issue.add_argument(
        "--dns", action="append", default=[], metavar="NAME", help="of a server; may be repeated"
    )
    issue.add_argument("--address", action="append", default=[], metavar="IP", help="of a server")
    issue.add_argument("--owner", metavar="ACCOUNT", help="of the files; of a server's: the daemon's plane")
    renew = commands.add_parser("renew", help="a new key and certificate in place of those there are")
    renew.add_argument("name", help="as it was issued")
    show = commands.add_parser("show", help="what certificates say")
    show.add_argument("files", nargs="*", type=Path, metavar="FILE", help="default: all of the folder")
    show.add_argument("--json", action="store_true", help="one JSON list")
    for command, days in ((init, CA_DAYS), (issue, DAYS)):
        command.add_argument(
            "--days", type=int, default=days, help="how long it counts; default: %(default)s"
        )
    for command in (init, issue, renew, show):
        command.add_argument("--dir", type=Path, default=DEFAULT_FOLDER, help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    """One of the four commands."""
    with _explained():
        match args.pki:
            case "init":
                _init(args)
            case "issue":
                _issue(args)
            case "renew":
                _renew(args)
            case _:
                _show(args)
    return Exit.DONE


def _init(args: argparse.Namespace) -> None:
    from controlplane.pki.certificates import authority
    from controlplane.pki.store import write_pair

    if not _NAME.fullmatch(args.trust_domain):
        raise CliError(f"--trust-domain: {args.trust_domain!r} is no name", exit=Exit.USAGE)
    folder: Path = args.dir
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    lifetime = timedelta(days=_days(args.days, CA_DAYS))
    write_pair(authority(f"reflexarc {args.trust_domain}", args.trust_domain, _now(), lifetime), folder / CA)
    print(f"{folder}/ca.crt: give it to daemons and clients")
    print(f"{folder}/ca.key: keep it to yourself, off the nodes")


def _issue(args: argparse.Namespace) -> None:
    from controlplane.pki.certificates import issued
    from controlplane.pki.store import read_pair, write_pair

    if (args.kind == "client") != (args.role is not None):
        raise CliError("a client needs --role, a server has none", exit=Exit.USAGE)
    if args.kind == "client" and (args.dns or args.address):
        raise CliError("--dns and --address are for servers", exit=Exit.USAGE)
    if not _NAME.fullmatch(args.name) or args.name == CA:
        raise CliError(f"{args.name!r} cannot be the name of a certificate", exit=Exit.USAGE)
    ca = read_pair(args.dir / CA)
    wanted = _wanted(args, ca)
    write_pair(issued(wanted, ca, _now()), args.dir / args.name, _owner(args))
    print(f"{args.dir}/{args.name}.crt\n{args.dir}/{args.name}.key")
    if wanted.spiffe:
        print(f"for management.identities:\n    - {{spiffe: {wanted.spiffe}, role: {args.role}}}")


def _wanted(args: argparse.Namespace, ca: "Pair") -> "Wanted":
    from controlplane.pki.certificates import Wanted, alternative_names

    lifetime = timedelta(days=_days(args.days, MAX_DAYS))
    if args.kind == "client":
        domain = alternative_names(ca.certificate)[0]
        return Wanted("client", args.name, lifetime, f"{domain}/{args.role}/{args.name}")
    names = args.dns or ([] if args.address else [args.name])
    return Wanted("server", args.name, lifetime, dns=names, addresses=args.address)


def _renew(args: argparse.Namespace) -> None:
    from controlplane.pki.certificates import issued, wanted_again
    from controlplane.pki.store import CERTIFICATE, read_certificate, read_pair, replace_pair

    if args.name == CA:
        raise CliError("a CA is not renewed: make another one, and let both be trusted for a while")
    stem = args.dir / args.name
    old = read_certificate(stem.with_name(stem.name + CERTIFICATE))
    kept = replace_pair(issued(wanted_again(old), read_pair(args.dir / CA), _now()), stem)
    print(f"{stem}.crt and {stem}.key are new; the old ones: {', '.join(path.name for path in kept)}")


def _show(args: argparse.Namespace) -> None:
    from controlplane.pki.store import read_certificate

    files = args.files or sorted(args.dir.glob("*.crt"))
    found = [{"file": str(path), **_facts(read_certificate(path))} for path in files]
    if args.json:
        print(json.dumps(found, indent=2))
        return
    for facts in found:
        print(facts.pop("file"))
        for name, value in facts.items():
            print(f"    {name.replace('_', ' '):12} {', '.join(value) if isinstance(value, list) else value}")


def _facts(certificate: "x509.Certificate") -> dict[str, object]:
    from cryptography.hazmat.primitives.hashes import SHA256

    from controlplane.pki.certificates import alternative_names, uses

    left = certificate.not_valid_after_utc - _now()
    return {
        "subject": certificate.subject.rfc4514_string(),
        "names": alternative_names(certificate),
        "use": uses(certificate),
        "issuer": certificate.issuer.rfc4514_string(),
        "serial": f"{certificate.serial_number:x}",
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "days_left": left.days,
        "sha256": certificate.fingerprint(SHA256()).hex(),
    }


def _owner(args: argparse.Namespace) -> Account | None:
    """Only root can give files away; without it they stay with whoever asks."""
    if os.geteuid() != 0:
        return None
    if args.owner or args.kind == "server":
        return account(args.owner or "")
    return None


def _days(days: int, most: int) -> int:
    if not 1 <= days <= most:
        raise CliError(f"--days: must be from 1 to {most}", exit=Exit.USAGE)
    return days


def _now() -> datetime:
    return datetime.now(UTC)


@contextmanager
def _explained() -> Iterator[None]:
    from controlplane.pki.certificates import PkiError

    try:
        yield
    except (PkiError, AccountError) as error:
        raise CliError(str(error), error.hint) from None
    except OSError as error:
        raise CliError(f"{error.filename}: {error.strerror}") from None
