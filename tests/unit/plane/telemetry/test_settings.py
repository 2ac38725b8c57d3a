"""OTEL_* and the configuration, merged."""

import pytest

from controlplane.link.config import Config, Export
from controlplane.plane.telemetry.settings import SettingsError, target, with_environment


def test_the_environment_fills_what_is_open() -> None:
    merged = with_environment(
        Config(),
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://general:4317",
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://logs:4317",
            "OTEL_EXPORTER_OTLP_HEADERS": "a=1, b = two%20words ",
            "OTEL_SERVICE_NAME": "mine",
            "OTEL_RESOURCE_ATTRIBUTES": "k8s.node.name=n1,service.name=other",
        },
    ).export
    assert merged.endpoint == "http://logs:4317"
    assert merged.headers == {"a": "1", "b": "two words"}
    assert merged.resource == {"k8s.node.name": "n1", "service.name": "mine"}


def test_the_configuration_wins() -> None:
    config = Config(export=Export(endpoint="http://mine:1", headers={"a": "2"}, resource={"x": "y"}))
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://other:1",
        "OTEL_EXPORTER_OTLP_HEADERS": "a=1",
        "OTEL_RESOURCE_ATTRIBUTES": "x=z",
    }
    assert with_environment(config, environ) == config


def test_nothing_set_changes_nothing() -> None:
    assert with_environment(Config(), {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}) == Config()


@pytest.mark.parametrize("text", ["a", "=b", "a=1,b"])
def test_pairs_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="key=value"):
        with_environment(Config(), {"OTEL_EXPORTER_OTLP_HEADERS": text})


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("http://127.0.0.1:4317", ("127.0.0.1:4317", False)),
        ("http://collector", ("collector:4317", False)),
        ("https://collector:443/", ("collector:443", True)),
        ("http://[::1]:9", ("[::1]:9", False)),
    ],
)
def test_endpoints(endpoint: str, expected: tuple[str, bool]) -> None:
    assert target(endpoint) == expected


@pytest.mark.parametrize("endpoint", ["collector:4317", "grpc://c:1", "http://", "http://c:x", "http://c/v1"])
def test_endpoints_that_are_none(endpoint: str) -> None:
    with pytest.raises(SettingsError):
        target(endpoint)
