"""What a configuration may say."""

from typing import Any

import pytest

from controlplane.link.config import Config, Export, Tls
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
