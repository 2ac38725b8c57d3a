"""From the settings of an export to the collector that speaks its protocol."""

from controlplane.link.config import Export
from controlplane.plane.telemetry import security, settings
from controlplane.plane.telemetry.collector import Collector
from controlplane.plane.telemetry.collector_http import HttpCollector


def collector_for(export: Export) -> Collector | HttpCollector:
    """Not connected yet. Raises SettingsError."""
    to = settings.destination(export)
    files = security.Files.of(export)
    timeout_s, gzip = settings.timeout_s(export), export.compression == "gzip"
    if to.protocol == "grpc":
        tls = files if to.tls else None
        return Collector(to.address, tls=tls, headers=export.headers, timeout_s=timeout_s, gzip=gzip)
    return HttpCollector(to, files=files, headers=export.headers, timeout_s=timeout_s, gzip=gzip)
