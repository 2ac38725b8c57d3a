"""The probe, on a gRPC that speaks TLS 1.2 and on one that does not: what counts is set before its import."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.authority import Authority, replace

SERVE = """
import asyncio, sys
from controlplane.plane.api.probe import OldTlsError, require_tls_1_3
from controlplane.plane.api.tls import Credentials, Files

credentials = Credentials(Files(*sys.argv[1:]))
try:
    asyncio.run(require_tls_1_3(credentials.for_grpc()))
except OldTlsError as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize("kind", ["P-256", "RSA"])
@pytest.mark.parametrize("suites", ["PSK", None])
def test_tls_1_2_is_found_out(tmp_path: Path, kind: str, suites: str | None) -> None:
    ours = Authority()
    ours.issue("node", "server", rsa_key=kind == "RSA").write(tmp_path / "tls")
    replace(tmp_path / "ca.crt", ours.pem)
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_SSL_CIPHER_SUITES"}
    if suites:
        environment["GRPC_SSL_CIPHER_SUITES"] = suites
    files = (str(tmp_path / name) for name in ("tls.crt", "tls.key", "ca.crt"))
    done = subprocess.run(
        [sys.executable, "-c", SERVE, *files], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == (0 if suites else 1), done.stderr
    assert ("TLS 1.2 is spoken" in done.stderr) is not bool(suites)
