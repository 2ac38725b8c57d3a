"""TLS towards a collector. Its files are read anew for each connection, so that they may be renewed."""

import ssl
from pathlib import Path
from typing import NamedTuple

import grpc

from controlplane.link.config import Export


class Files(NamedTuple):
    """Names of PEM files; empty where there is none."""

    ca: str = ""
    cert: str = ""
    key: str = ""

    @staticmethod
    def of(export: Export) -> "Files":
        """Those of an export."""
        return Files(export.ca, export.cert, export.key)


def channel_credentials(files: Files) -> grpc.ChannelCredentials:
    """For OTLP/gRPC. Raises OSError: a key without its certificate would abort the process inside grpc.

    That nothing below TLS 1.3 is spoken is settled by the plane's environment, see `plane.__main__`.
    """
    ca, cert, key = (Path(name).read_bytes() if name else None for name in files)
    if cert and key:
        _check(files)
    return grpc.ssl_channel_credentials(ca, key, cert)


def context(files: Files) -> ssl.SSLContext:
    """For OTLP/HTTP. Raises OSError."""
    made = ssl.create_default_context(cafile=files.ca or None)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    if files.cert:
        made.load_cert_chain(files.cert, files.key)
    return made


def _check(files: Files) -> None:
    """Of a pair that does not fit, grpc would only say that nobody can be reached. Raises OSError."""
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(files.cert, files.key)
