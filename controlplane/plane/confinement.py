"""What the plane may still do when it is nobody: its folders, the files it was told of, sockets.

Owns the list and the reasons. Comes after the change of account and before anything large is imported, while
there is one thread.
"""

import os
import site
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from controlplane.link.config import Config
from controlplane.plane import landlock, seccomp
from controlplane.plane.landlock import KEEP, READ, SOCKETS, WRITE_FILE, Rule

_SYSTEM: Final = (
    *("/usr", "/lib", "/lib64"),  # libraries that are loaded when they are needed
    "/etc",  # names, addresses, authorities, time zone; each file is replaced by a new one when it changes
    *("/proc", "/sys/devices/system/cpu"),  # what the two processes use, how many processors there are
    "/dev/urandom",
)
_FILES_IN_ENVIRONMENT: Final = frozenset(
    f"OTEL_EXPORTER_OTLP_{signal}{what}"
    for signal in ("", "LOGS_")
    for what in ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")
) | {"SSL_CERT_FILE", "SSL_CERT_DIR", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"}


def confine(config: Config, environ: Mapping[str, str]) -> list[str]:
    """Give up all the rest, for good. What this kernel does not offer, each with the reason."""
    found = landlock.restrict(rules(config, environ)), seccomp.install(os.uname().machine, os.getpid())
    return [missing for missing in found if missing]


def rules(config: Config, environ: Mapping[str, str]) -> Iterator[Rule]:
    """What may be opened. Permissions hold besides."""
    for path in (*_SYSTEM, *_python(), *_name_servers()):
        yield Rule(path, READ)
    yield Rule("/dev/null", READ | WRITE_FILE)
    runtime = Path(config.runtime_dir)
    yield Rule(str(runtime / "journal"), READ)
    for folder in ("plane", *config.management.groups()):
        yield Rule(str(runtime / folder), SOCKETS)
    yield Rule(config.state_dir, KEEP)
    for name in (*_files(config), *(environ.get(name, "") for name in sorted(_FILES_IN_ENVIRONMENT))):
        if name:
            yield from _replaceable(name)


def _python() -> set[str]:
    """From where modules are imported, which some are only when they are needed."""
    return {sys.prefix, sys.base_prefix, *site.getsitepackages(), *(path or "." for path in sys.path)}


def _name_servers() -> set[str]:
    """Where the file lies to which /etc/resolv.conf leads: mostly in /run."""
    return {str(Path("/etc/resolv.conf").resolve().parent)} - {"/"}


def _files(config: Config) -> Iterator[str]:
    management, export = config.management, config.export
    yield from (management.cert, management.key, management.client_ca, management.crl)
    yield from (export.ca, export.cert, export.key)
    if metrics := config.metrics_tls:
        yield from (metrics.cert, metrics.key, metrics.client_ca)


def _replaceable(name: str) -> Iterator[Rule]:
    """A rule is about a file, not its name; renewed, it is another file in the same folder."""
    path = Path(name)
    yield Rule(str(path.parent), READ)
    yield Rule(str(path.resolve().parent), READ)
    yield Rule(name, READ)
