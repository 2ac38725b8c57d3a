"""The standard OTEL_* variables, merged into the configuration at one place.

The configuration wins; the environment fills what it leaves open. Reads no environment itself.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from controlplane.link.config import Config

DEFAULT_PORT: Final = 4317


class SettingsError(ValueError):
    """A setting that cannot be meant."""


def with_environment(config: Config, environ: Mapping[str, str]) -> Config:
    """The configuration with OTEL_* filled in. Raises SettingsError."""
    endpoint = environ.get("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT") or environ.get(
        "OTEL_EXPORTER_OTLP_ENDPOINT", ""
    )
    headers = _pairs(environ, "OTEL_EXPORTER_OTLP_HEADERS") | _pairs(
        environ, "OTEL_EXPORTER_OTLP_LOGS_HEADERS"
    )
    resource = _pairs(environ, "OTEL_RESOURCE_ATTRIBUTES")
    if name := environ.get("OTEL_SERVICE_NAME"):
        resource["service.name"] = name
    export = msgspec.structs.replace(
        config.export,
        endpoint=config.export.endpoint or endpoint,
        headers=headers | config.export.headers,
        resource=resource | config.export.resource,
    )
    return msgspec.structs.replace(config, export=export)


def target(endpoint: str) -> tuple[str, bool]:
    """`host:port` and whether to use TLS, of an OTLP/gRPC endpoint. Raises SettingsError."""
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path not in {"", "/"}:
        raise SettingsError(f"export endpoint {endpoint!r} is not of the form http(s)://host:port")
    try:
        port = parts.port or DEFAULT_PORT
    except ValueError as error:
        raise SettingsError(f"export endpoint {endpoint!r}: {error}") from None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{port}", parts.scheme == "https"


def _pairs(environ: Mapping[str, str], variable: str) -> dict[str, str]:
    """`key=value,key=value`, percent-encoded."""
    pairs: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in environ.get(variable, "").split(","))):
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise SettingsError(f"{variable}: {item!r} is not of the form key=value")
        pairs[unquote(key.strip())] = unquote(value.strip())
    return pairs
