"""What a daemon configuration must mean, beyond the types and bounds of `link.config.Config`. Pure."""

import re
from collections.abc import Iterator
from typing import Final

from controlplane.link.config import Config, Export, Identity, Management, Tls
from controlplane.link.faults import Fault

MAX_RUNTIME_DIR: Final = 107 - len("/operator/management.sock")
"""`sun_path` of struct sockaddr_un holds 107 bytes and an end."""

_SPIFFE: Final = re.compile(r"spiffe://[a-z0-9._-]{1,255}(/[A-Za-z0-9._-]+)*")
_DNS: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(\.(?!-)[a-z0-9-]{1,63})*")


def faults(config: Config) -> Iterator[Fault]:
    """What is wrong with a configuration whose types are right; `at` is its key."""
    for key in ("runtime_dir", "state_dir", "policies", "sensors_dir"):
        if not getattr(config, key).startswith("/"):
            yield Fault(key, "must be an absolute path")
    if len(config.runtime_dir.encode()) > MAX_RUNTIME_DIR:
        yield Fault("runtime_dir", f"must be at most {MAX_RUNTIME_DIR} bytes, for it holds a socket")
    for key in ("metrics", "health"):
        if not is_address(getattr(config, key)):
            yield Fault(key, f"{getattr(config, key)!r} is not HOST:PORT", "write for example 127.0.0.1:9464")
    if config.metrics_tls is not None:
        yield from _tls_faults("metrics_tls", config.metrics_tls)
    for index, name in enumerate(config.protect):
        if not name or "/" in name:
            yield Fault(f"protect[{index}]", "must be the name of an executable", "write sshd, not its path")
    yield from _export_faults(config.export)
    yield from _management_faults(config.management)


def _export_faults(export: Export) -> Iterator[Fault]:
    if export.endpoint and not export.endpoint.startswith(("http://", "https://")):
        hint = "write for example http://127.0.0.1:4317"
        yield Fault("export.endpoint", "must begin with http:// or https://", hint)
    files = {key: value for key in ("ca", "cert", "key") if (value := getattr(export, key))}
    for key, value in files.items():
        if not value.startswith("/"):
            yield Fault(f"export.{key}", "must be an absolute path")
        if export.endpoint.startswith("http://"):
            yield Fault(f"export.{key}", "is of no use without TLS", "write https:// in export.endpoint")
    if ("cert" in files) != ("key" in files):
        given, missing = ("cert", "key") if "cert" in files else ("key", "cert")
        yield Fault(f"export.{given}", f"needs export.{missing} beside it", "name both files, or neither")


def _tls_faults(key: str, files: Tls) -> Iterator[Fault]:
    for name in ("cert", "key", "client_ca"):
        if not getattr(files, name).startswith("/"):
            yield Fault(f"{key}.{name}", "must be an absolute path")


def is_address(text: str) -> bool:
    """Whether it is HOST:PORT; an IPv6 host stands in brackets, and port 0 means any free one."""
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    return (
        bool(host.strip("[]"))
        and (bracketed or ":" not in host)
        and port.isascii()
        and port.isdecimal()
        and len(port) <= 5
        and int(port) <= 65_535
    )


def _management_faults(management: Management) -> Iterator[Fault]:
    address = management.address
    if address and not is_address(address):
        hint = "write for example 127.0.0.1:9466"
        yield Fault("management.address", f"{address!r} is not HOST:PORT", hint)
    for key in ("cert", "key", "client_ca", "crl"):
        path: str = getattr(management, key)
        if path and not path.startswith("/"):
            yield Fault(f"management.{key}", "must be an absolute path")
        if address and not path and key != "crl":
            hint = "name the file; `reflexarc pki` makes certificates where there are none"
            yield Fault("management", f"has an address and no {key}: it is served over TLS alone", hint)
    seen: dict[str, int] = {}
    for index, identity in enumerate(management.identities):
        at = f"management.identities[{index}]"
        yield from _identity_faults(identity, at)
        name = identity.spiffe or identity.dns or identity.subject
        if name in seen:
            yield Fault(at, f"is the same as that of entry {seen[name]}", "remove one of them")
        seen.setdefault(name, index)


def _identity_faults(identity: Identity, at: str) -> Iterator[Fault]:
    given = [name for name in (identity.spiffe, identity.dns, identity.subject) if name]
    if len(given) != 1:
        yield Fault(at, "must have one of spiffe, dns and subject", "write an entry for each name")
    if identity.spiffe and not _SPIFFE.fullmatch(identity.spiffe):
        hint = "write for example spiffe://example.org/oncall; there are no patterns"
        yield Fault(at, f"{identity.spiffe!r} is not a SPIFFE id", hint)
    if identity.dns and not _DNS.fullmatch(identity.dns):
        hint = "in lower case, without wildcard and final dot"
        yield Fault(at, f"{identity.dns!r} is not a DNS name", hint)
    if identity.subject and "=" not in identity.subject:
        yield Fault(at, f"{identity.subject!r} is no subject", "write for example CN=alice,O=Example")
