"""The standard OTEL_* variables, merged into the configuration at one place.

The configuration wins; the environment fills what it leaves open, a variable of logs before the general one.
Reads no environment itself.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

import msgspec

from controlplane.link.config import Config, Export

DEFAULT_PORTS: Final = {"grpc": 4317, "http/protobuf": 4318}
PATH: Final = "/v1/logs"
DEFAULT_TIMEOUT_MS: Final = 10_000
MAX_TIMEOUT_MS: Final = 3_600_000
_HEADER: Final = re.compile(r"[0-9a-z_.-]+")

Protocol = Literal["grpc", "http/protobuf"]
Level = Literal["debug", "info", "warn", "error"]
T = TypeVar("T")


class SettingsError(ValueError):
    """A setting that cannot be meant."""


class Destination(NamedTuple):
    """An endpoint, taken apart."""

    protocol: Protocol
    tls: bool
    host: str
    """Without brackets."""
    port: int
    path: str
    """Of OTLP/HTTP."""

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def with_environment(config: Config, environ: Mapping[str, str]) -> Config:
    """The configuration with OTEL_* filled in. Raises SettingsError."""
    export = config.export
    resource = _pairs(environ, "OTEL_RESOURCE_ATTRIBUTES")
    if name := environ.get("OTEL_SERVICE_NAME"):
        resource["service.name"] = name
    headers = _pairs(environ, "OTEL_EXPORTER_OTLP_HEADERS") | _pairs(
        environ, "OTEL_EXPORTER_OTLP_LOGS_HEADERS"
    )
    _check_headers(headers | export.headers)
    protocol = export.protocol or _choice(environ, "PROTOCOL", _PROTOCOLS)
    filled = msgspec.structs.replace(
        export,
        endpoint=export.endpoint or _endpoint(environ, protocol),
        protocol=protocol,
        headers=headers | export.headers,
        compression=export.compression or _choice(environ, "COMPRESSION", _COMPRESSIONS),
        ca=export.ca or _value(environ, "CERTIFICATE"),
        resource=resource | export.resource,
        timeout_ms=export.timeout_ms or _milliseconds(environ),
    )
    if not (export.cert or export.key):
        filled = msgspec.structs.replace(
            filled, cert=_value(environ, "CLIENT_CERTIFICATE"), key=_value(environ, "CLIENT_KEY")
        )
        if bool(filled.cert) != bool(filled.key):
            raise SettingsError("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and ..._CLIENT_KEY go together")
    return msgspec.structs.replace(config, export=filled, log_level=config.log_level or _level(environ))


_PROTOCOLS: Final[Mapping[str, Protocol]] = {"grpc": "grpc", "http/protobuf": "http/protobuf"}
_LEVELS: Final[Mapping[str, Level]] = {
    "trace": "debug",
    "debug": "debug",
    "info": "info",
    "warn": "warn",
    "warning": "warn",
    "error": "error",
    "fatal": "error",
}
_COMPRESSIONS: Final[Mapping[str, Literal["none", "gzip"]]] = {"none": "none", "gzip": "gzip"}


def _level(environ: Mapping[str, str]) -> Level | None:
    value = environ.get("OTEL_LOG_LEVEL", "").lower()
    if value and value not in _LEVELS:
        raise SettingsError(f"OTEL_LOG_LEVEL: {value!r} is none of {', '.join(_LEVELS)}")
    return _LEVELS.get(value)


def timeout_s(export: Export) -> float:
    """Of one attempt."""
    return (export.timeout_ms or DEFAULT_TIMEOUT_MS) / 1000


def destination(export: Export) -> Destination:
    """Where records go. Raises SettingsError."""
    protocol = export.protocol or "grpc"
    parts = urlsplit(export.endpoint)
    wrong = f"export endpoint {export.endpoint!r}"
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.username:
        raise SettingsError(f"{wrong} is not of the form http(s)://host:port")
    if protocol == "grpc" and parts.path not in {"", "/"}:
        raise SettingsError(f"{wrong} has a path, which OTLP/gRPC has not; is protocol: http/protobuf meant?")
    try:
        port = parts.port or DEFAULT_PORTS[protocol]
    except ValueError as error:
        raise SettingsError(f"{wrong}: {error}") from None
    return Destination(protocol, parts.scheme == "https", parts.hostname, port, parts.path or PATH)


def _endpoint(environ: Mapping[str, str], protocol: Protocol | None) -> str:
    """Over HTTP that of logs is used as it is, and the general one is where the path begins."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_LOGS_EXPORTER") == "none":
        return ""
    over_http = protocol == "http/protobuf"
    if own := environ.get("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", ""):
        return own if urlsplit(own).path or not over_http else f"{own}/"
    general = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    return general.rstrip("/") + PATH if general and over_http else general


def _value(environ: Mapping[str, str], name: str) -> str:
    """A variable of logs, or else the general one; empty where there is neither."""
    return environ.get(f"OTEL_EXPORTER_OTLP_LOGS_{name}") or environ.get(f"OTEL_EXPORTER_OTLP_{name}", "")


def _choice(environ: Mapping[str, str], name: str, choices: Mapping[str, T]) -> T | None:
    value = _value(environ, name)
    if value and value not in choices:
        raise SettingsError(f"OTEL_EXPORTER_OTLP_{name}: {value!r} is none of {', '.join(choices)}")
    return choices.get(value)


def _milliseconds(environ: Mapping[str, str]) -> int | None:
    value = _value(environ, "TIMEOUT")
    if not value:
        return None
    if not (value.isascii() and value.isdecimal() and 0 < int(value[:10]) <= MAX_TIMEOUT_MS):
        raise SettingsError(
            f"OTEL_EXPORTER_OTLP_TIMEOUT: {value!r} is no number of milliseconds up to an hour"
        )
    return int(value)


def _check_headers(headers: Mapping[str, str]) -> None:
    """Whatever is sent with a request must not be able to end a line, or grpc refuses each request."""
    for key, value in headers.items():
        if not _HEADER.fullmatch(key.lower()) or key.lower().endswith("-bin"):
            raise SettingsError(f"export header {key!r}: a name has letters, digits, `-`, `_` and `.` only")
        if not (value.isascii() and value.isprintable()):
            raise SettingsError(f"export header {key!r}: its value is not printable ASCII")


def _pairs(environ: Mapping[str, str], variable: str) -> dict[str, str]:
    """`key=value,key=value`, percent-encoded."""
    pairs: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in environ.get(variable, "").split(","))):
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise SettingsError(f"{variable}: {item!r} is not of the form key=value")
        pairs[unquote(key.strip())] = unquote(value.strip())
    return pairs
