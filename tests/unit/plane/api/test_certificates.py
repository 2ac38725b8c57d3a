"""What a certificate says of who shows it, and when that counts."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from controlplane.pki.store import pem_of
from controlplane.plane.api.certificates import CertificateError, check, shown_by
from tests.authority import HOUR, Authority


def now() -> datetime:
    """Of the test, not of the import: minutes lie between them where many tests run."""
    return datetime.now(UTC)


def made(
    *names: x509.GeneralName, uses: Sequence[x509.ObjectIdentifier] = (), signs: bool | None = None
) -> bytes:
    """A certificate of these names, and with the key usages that are given."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example"),
            x509.NameAttribute(NameOID.COMMON_NAME, "a,b"),
        ]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now() - HOUR)
        .not_valid_after(now() + HOUR)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if uses:
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    if signs is not None:
        flags = dict.fromkeys(
            (
                *("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
                *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
            ),
            False,
        )
        builder = builder.add_extension(x509.KeyUsage(digital_signature=signs, **flags), critical=True)
    return pem_of(builder.sign(key, hashes.SHA256()))


def uri(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)


SUBJECT = "subject:CN=a\\,b,O=Example"


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([], [SUBJECT]),
        ([uri("spiffe://a/b"), x509.DNSName("Node.example")], ["spiffe://a/b", "dns:node.example", SUBJECT]),
        ([uri("spiffe://a/b"), uri("spiffe://a/c")], [SUBJECT]),
        ([uri("https://a/b")], [SUBJECT]),
        ([x509.RFC822Name("a@example.org")], [SUBJECT]),
    ],
    ids=["none", "both", "two URIs", "another URI", "mail"],
)
def test_names(names: list[x509.GeneralName], found: list[str]) -> None:
    assert list(shown_by(made(*names)).names) == found


@pytest.mark.parametrize(
    ("uses", "signs", "is_client"),
    [
        ([ExtendedKeyUsageOID.CLIENT_AUTH], True, True),
        ([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH], None, True),
        ([ExtendedKeyUsageOID.SERVER_AUTH], True, False),
        ([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE], True, False),
        ([], True, False),
        ([ExtendedKeyUsageOID.CLIENT_AUTH], False, False),
    ],
)
def test_only_a_client_is_a_client(
    uses: list[x509.ObjectIdentifier],
    *,
    signs: bool | None,
    is_client: bool,
) -> None:
    assert shown_by(made(uses=uses, signs=signs)).is_client is is_client


def test_what_does_not_count() -> None:
    shown = shown_by(Authority().issue("alice").certificate)
    check(shown, (), now())
    with pytest.raises(CertificateError, match="has expired at"):
        check(shown, (), now() + 2 * HOUR)
    with pytest.raises(CertificateError, match="is not valid before"):
        check(shown, (), now() - 2 * HOUR)
    with pytest.raises(CertificateError, match="is revoked"):
        check(shown, {(shown.issuer, shown.serial)}, now())
    with pytest.raises(CertificateError, match="clientAuth"):
        check(shown_by(Authority().issue("node", "server").certificate), (), now())


@pytest.mark.parametrize(
    "pem", [b"", b"junk", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_what_cannot_be_read(pem: bytes) -> None:
    with pytest.raises(CertificateError, match="cannot be read"):
        shown_by(pem)
