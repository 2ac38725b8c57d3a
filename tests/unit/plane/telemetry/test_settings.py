"""OTEL_* and the configuration, merged."""

import pytest

from controlplane.link.config import Config, Export
from controlplane.plane.telemetry.settings import SettingsError, destination, timeout_s, with_environment


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


def test_a_variable_of_logs_goes_before_the_general_one() -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": "/general.pem",
        "OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE": "/logs.pem",
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": "/cert.pem",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": "/key.pem",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "2500",
        "OTEL_LOG_LEVEL": "warning",
    }
    merged = with_environment(Config(), environ)
    export = merged.export
    assert (export.protocol, export.compression) == ("http/protobuf", "gzip")
    assert (export.ca, export.cert, export.key) == ("/logs.pem", "/cert.pem", "/key.pem")
    assert timeout_s(export) == 2.5
    assert merged.log_level == "warn"


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318", "http://c:4318/v1/logs"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c/otlp/", "http://c/otlp/v1/logs"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://c/mine", "http://c/mine"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://c", "http://c/"),
    ],
)
def test_paths_over_http_are_as_the_specification_has_them(variable: str, value: str, expected: str) -> None:
    environ = {variable: value, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    export = with_environment(Config(), environ).export
    assert export.endpoint == expected
    assert destination(export).path == expected.partition("//c")[2].removeprefix(":4318")


def test_an_endpoint_of_the_configuration_has_the_usual_path_over_http() -> None:
    to = destination(Export(endpoint="https://[::1]", protocol="http/protobuf"))
    assert (to.address, to.path, to.tls) == ("[::1]:4318", "/v1/logs", True)


@pytest.mark.parametrize("off", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_LOGS_EXPORTER": "none"}])
def test_the_environment_can_turn_off_what_it_turned_on(off: dict[str, str]) -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1", **off}
    assert with_environment(Config(), environ).export.endpoint == ""
    given = Config(export=Export(endpoint="http://mine:1"))
    assert with_environment(given, environ).export.endpoint == "http://mine:1"


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "'http/json' is none of grpc, http/protobuf"),
        ("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "zstd", "'zstd' is none of none, gzip"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "'10s' is no number of milliseconds"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "'0' is no number of milliseconds"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key.pem", "go together"),
        ("OTEL_LOG_LEVEL", "loud", "'loud' is none of"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=x%0d%0ab", "its value is not printable ASCII"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a%20b=x", "a name has letters"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a-bin=x", "a name has letters"),
    ],
)
def test_variables_that_cannot_be_meant_are_refused(variable: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        with_environment(Config(), {variable: value})


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
    to = destination(Export(endpoint=endpoint))
    assert (to.address, to.tls) == expected


@pytest.mark.parametrize(
    "endpoint", ["collector:4317", "grpc://c:1", "http://", "http://c:x", "http://c/v1", "http://u:p@c"]
)
def test_endpoints_that_are_none(endpoint: str) -> None:
    with pytest.raises(SettingsError):
        destination(Export(endpoint=endpoint))
