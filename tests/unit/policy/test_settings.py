"""What a configuration may say."""

from typing import Any

import pytest

from controlplane.link.config import Config, Export, Identity, Management, Tls
from controlplane.policy.settings import faults, is_address


def test_the_defaults_are_right() -> None:
    assert list(faults(Config())) == []


@pytest.mark.parametrize("text", ["127.0.0.1:9464", "localhost:0", "[::1]:65535", "node-1.example:80"])
def test_addresses(text: str) -> None:
    assert is_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "9464",
        ":9464",
        "host",
        "host:",
        "host:x",
        "host:-1",
        "host:65536",
        "host:000080",
        "::1:80",
        "[]:80",
        "a:1:2",
        "h:٣",
        "host:" + "9" * 5000,
    ],
)
def test_not_addresses(text: str) -> None:
    assert not is_address(text)


def managed(*identities: Identity, **changes: str) -> Management:
    files = {name: f"/etc/reflexarc/tls/{name}" for name in ("cert", "key", "client_ca")}
    given: dict[str, Any] = {"address": "127.0.0.1:9466", **files, **changes}
    return Management(identities=identities, **given)


def identity(**names: str) -> Identity:
    return Identity(role="viewer", **names)


def test_who_manages_is_right() -> None:
    named = managed(
        identity(spiffe="spiffe://example.org/ns/a/sa/b"),
        identity(dns="node-1.example.org"),
        identity(subject="CN=alice,O=Example"),
        crl="/etc/reflexarc/tls/crl.pem",
    )
    assert list(faults(Config(management=named))) == []


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"runtime_dir": ""}, "runtime_dir"),
        ({"runtime_dir": "/" + "r" * 85}, "runtime_dir"),
        ({"state_dir": "var"}, "state_dir"),
        ({"policies": "policies.d"}, "policies"),
        ({"metrics": "9464"}, "metrics"),
        ({"health": "x:y"}, "health"),
        ({"metrics_tls": Tls(cert="cert.pem", key="/k", client_ca="/c")}, "metrics_tls.cert"),
        ({"protect": ("sshd", "")}, "protect[1]"),
        ({"protect": ("/usr/sbin/sshd",)}, "protect[0]"),
        ({"export": Export(endpoint="127.0.0.1:4317")}, "export.endpoint"),
        ({"management": managed(address="9466")}, "management.address"),
        ({"management": managed(cert="tls.crt")}, "management.cert"),
        ({"management": managed(crl="crl.pem")}, "management.crl"),
        ({"management": managed(key="")}, "management"),
        ({"management": managed(Identity(role="admin"))}, "management.identities[0]"),
        ({"management": managed(identity(dns="a", subject="CN=a"))}, "management.identities[0]"),
        ({"management": managed(identity(spiffe="spiffe://a/*"))}, "management.identities[0]"),
        ({"management": managed(identity(spiffe="https://a/b"))}, "management.identities[0]"),
        ({"management": managed(identity(dns="*.example.org"))}, "management.identities[0]"),
        ({"management": managed(identity(dns="Node.example.org"))}, "management.identities[0]"),
        ({"management": managed(identity(subject="alice"))}, "management.identities[0]"),
        ({"management": managed(identity(dns="a"), identity(dns="a"))}, "management.identities[1]"),
        ({"export": Export(endpoint="https://c:1", ca="ca.pem")}, "export.ca"),
        ({"export": Export(endpoint="http://c:1", ca="/ca.pem")}, "export.ca"),
        ({"export": Export(endpoint="https://c:1", cert="/c.pem")}, "export.cert"),
        ({"export": Export(endpoint="https://c:1", key="/k.pem")}, "export.key"),
    ],
)
def test_refused(fields: dict[str, Any], at: str) -> None:
    assert [fault.at for fault in faults(Config(**fields))] == [at]


def test_half_a_certificate_says_what_is_missing() -> None:
    (fault,) = faults(Config(export=Export(endpoint="https://c:1", cert="/c.pem")))
    assert (fault.message, fault.hint) == (
        "needs export.key beside it",
        "name both files, or neither",
    )
