"""An authority and what it signs as programs take them: the paths of PEM files."""

import itertools
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from controlplane.link.config import Tls
from controlplane.pki.certificates import Kind
from tests import authority
from tests.authority import HOUR, NOW

NUMBERS = itertools.count()


class Pair(NamedTuple):
    """The files of one certificate."""

    cert: str
    key: str


class Authority:
    """Signs what it is asked to. Its files lie in `folder`, readable by everybody."""

    def __init__(self, folder: Path, name: str = "test authority") -> None:
        self._folder = folder
        self._signs = authority.Authority(name)
        self.ca = self._write("ca.pem", self._signs.pem)

    def server(self) -> Pair:
        """For 127.0.0.1, ::1 and localhost, for an hour."""
        return self._issue("server")

    def client(self, *, since: timedelta = NOW) -> Pair:
        """Valid for an hour, which begins `since` now."""
        return self._issue("client", since)

    def files(self) -> Tls:
        """Of a server that lets in clients of this authority."""
        server = self.server()
        return Tls(cert=server.cert, key=server.key, client_ca=self.ca)

    def _issue(self, kind: Kind, since: timedelta = NOW) -> Pair:
        shown = self._signs.issue(kind, kind, since=since, lifetime=HOUR)
        return Pair(self._write(f"{kind}.pem", shown.certificate), self._write(f"{kind}.key", shown.key))

    def _write(self, name: str, contents: bytes) -> str:
        path = self._folder / f"{next(NUMBERS)}-{name}"
        path.write_bytes(contents)
        path.chmod(0o644)
        return str(path)
