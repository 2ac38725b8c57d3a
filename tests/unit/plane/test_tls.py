"""The context of a TLS port: what files it takes, what it says of others, and that it follows them."""

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from msgspec.structs import replace

from controlplane.link.config import Tls
from controlplane.plane.tls import Context, TlsError, context_of
from tests.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_it_speaks_tls_1_3_to_clients_with_a_certificate_and_gives_no_tickets(authority: Authority) -> None:
    context = context_of(authority.files())
    assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.num_tickets == 0


def test_files_that_cannot_be_used_are_named(authority: Authority, tmp_path: Path) -> None:
    good = authority.files()
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    for files, named, reason in (
        (replace(good, cert="/nowhere"), "/nowhere", "No such file"),
        (replace(good, key=authority.server().key), good.cert, "key values mismatch"),
        (replace(good, key=encrypted(good, tmp_path)), good.cert, "encrypted"),
        (replace(good, cert=str(junk)), str(junk), "cannot be used"),
        (replace(good, client_ca=str(junk)), str(junk), "cannot be used"),
        (replace(good, client_ca="/nowhere"), "/nowhere", "No such file"),
    ):
        with pytest.raises(TlsError, match=reason) as caught:
            context_of(files)
        assert named in str(caught.value)
        assert "readable by the plane" in caught.value.hint


def encrypted(files: Tls, folder: Path) -> str:
    key = serialization.load_pem_private_key(Path(files.key).read_bytes(), None)
    path = folder / "encrypted.pem"
    secret = serialization.BestAvailableEncryption(b"secret")
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret))
    return str(path)


def test_it_is_made_anew_when_a_file_changes_and_only_then(authority: Authority) -> None:
    files, fresh = authority.files(), authority.server()
    context = Context(files)
    first = context.current()
    assert context.current() is first
    Path(fresh.key).replace(files.key)
    assert context.current() is first, "a key without its certificate is no reason to stop serving"
    Path(fresh.cert).replace(files.cert)
    assert context.current() is not first
    Path(files.cert).unlink()
    last = context.current()
    assert context.current() is last
