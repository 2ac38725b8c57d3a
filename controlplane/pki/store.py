"""Certificates and keys as files: keys are 0600 from the first moment, and nothing is overwritten.

Certificates are 0644, for everybody may know them and the daemon's own account has to.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from controlplane.pki.certificates import Pair, PkiError

CERTIFICATE: Final = ".crt"
KEY: Final = ".key"


def pem_of(certificate: x509.Certificate) -> bytes:
    """As it is written."""
    return certificate.public_bytes(Encoding.PEM)


def key_pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    """As it is written: not encrypted, as no daemon could ask for a password."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def write_pair(pair: Pair, stem: Path, owner: tuple[int, int] | None = None) -> None:
    """`stem`.key and `stem`.crt. Raises PkiError, and leaves nothing behind, where one is there already."""
    _create(stem.with_name(stem.name + KEY), 0o600, key_pem_of(pair.key), owner)
    try:
        _create(stem.with_name(stem.name + CERTIFICATE), 0o644, pem_of(pair.certificate), owner)
    except PkiError:
        stem.with_name(stem.name + KEY).unlink()
        raise


def replace_pair(pair: Pair, stem: Path) -> list[Path]:
    """The new pair in the place of the old one, which is kept beside it. Returns where. Raises PkiError.

    Each file is there at every moment; for the blink between both, a reader finds that they do not match.
    """
    old = read_certificate(stem.with_name(stem.name + CERTIFICATE))
    kept = stem.with_name(f"{stem.name}.{old.serial_number:x}")
    fresh = stem.with_name(f"{stem.name}.{pair.certificate.serial_number:x}")
    found = stem.with_name(stem.name + CERTIFICATE).stat()
    write_pair(pair, fresh, (found.st_uid, found.st_gid))
    endings = (KEY, CERTIFICATE)
    for ending in endings:
        _link(stem.with_name(stem.name + ending), kept.with_name(kept.name + ending))
    for ending in endings:
        fresh.with_name(fresh.name + ending).rename(stem.with_name(stem.name + ending))
    return [kept.with_name(kept.name + ending) for ending in endings]


def read_pair(stem: Path) -> Pair:
    """What `write_pair` wrote. Raises PkiError."""
    path = stem.with_name(stem.name + KEY)
    try:
        key = load_pem_private_key(_contents(path), None)
    except (ValueError, TypeError) as error:
        raise PkiError(f"{path}: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise PkiError(f"{path} is not a key that `reflexarc pki` made")
    return Pair(read_certificate(stem.with_name(stem.name + CERTIFICATE)), key)


def read_certificate(path: Path) -> x509.Certificate:
    """The first certificate of a file. Raises PkiError."""
    try:
        return x509.load_pem_x509_certificates(_contents(path))[0]
    except ValueError as error:
        raise PkiError(f"{path}: {error}") from None


def _contents(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PkiError(f"{path} cannot be read: {error.strerror}") from None


def _create(path: Path, mode: int, contents: bytes, owner: tuple[int, int] | None) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    except FileExistsError:
        raise PkiError(f"{path} is there already", "nothing is overwritten: move it away") from None
    except OSError as error:
        raise PkiError(f"{path} cannot be written: {error.strerror}") from None
    with os.fdopen(fd, "wb") as file:
        # What umask took away, and never more.
        os.fchmod(fd, mode)
        file.write(contents)
        if owner is not None:
            os.fchown(fd, *owner)
        file.flush()
        os.fsync(fd)


def _link(path: Path, to: Path) -> None:
    """Both names, unless the other is there from a renewal that was broken off."""
    with suppress(FileExistsError):
        to.hardlink_to(path)
