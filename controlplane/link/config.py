"""The one model of daemon configuration; the launcher reads it, arc and plane receive it decoded.

Does not read files: `controlplane.policy.load` does.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Mode = Literal["enforce", "observe", "off"]
RoleName = Literal["viewer", "operator", "admin"]


class Export(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the journal is exported as OTLP logs. No endpoint: nothing is exported."""

    endpoint: str = ""
    """`http://host:port` (plain) or `https://host:port` (TLS 1.3). Over OTLP/HTTP it may have a path; without
    one it is `/v1/logs`."""
    protocol: Literal["grpc", "http/protobuf"] | None = None
    """None: gRPC."""
    headers: dict[str, str] = {}
    compression: Literal["none", "gzip"] | None = None
    """None: none."""
    ca: str = ""
    """PEM file of those who may sign the collector's certificate; empty: those the system trusts."""
    cert: str = ""
    """PEM file of our own certificate and what leads to the one that signed it. Goes with `key`."""
    key: str = ""
    resource: dict[str, str] = {}
    """Resource attributes added to every record, or put in place of the daemon's own."""
    timeout_ms: Annotated[int, Meta(ge=1)] | None = None
    """Of one attempt. None: 10 s."""
    batch_bytes: Annotated[int, Meta(ge=1024, le=4_000_000)] = 2 * 1024 * 1024
    """Upper bound of one request; collectors refuse more than 4 MiB."""


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whose certificate gives which role. Exactly one of the names is given, and compared as a whole."""

    spiffe: str = ""
    """The one URI among the names of the certificate, `spiffe://example.org/oncall`."""
    dns: str = ""
    """A DNS name of the certificate."""
    subject: str = ""
    """The subject as RFC 4514 writes it, `CN=alice,O=Example`."""
    role: RoleName


class Management(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who may manage the daemon, and over what. No address: over the UNIX sockets alone."""

    address: str = ""
    """HOST:PORT for TLS 1.3 with client certificates."""
    cert: str = ""
    """The daemon's certificate and those between it and the CA, in PEM. All of these files are watched."""
    key: str = ""
    client_ca: str = ""
    """Certificates of the authorities whose clients are let in."""
    crl: str = ""
    """Certificates that count no more; may be left out."""
    connection_age_s: Annotated[int, Meta(ge=1, le=86_400)] = 3_600
    """Connections end after it, so that what has changed about certificates holds for everybody."""
    identities: tuple[Identity, ...] = ()
    """A certificate that is not named here may do nothing."""
    viewer_group: str = ""
    """Members may look, over a UNIX socket of their own; empty: there is none."""
    operator_group: str = ""

    def groups(self) -> dict[RoleName, str]:
        """Group by the role whose socket it may use."""
        named: dict[RoleName, str] = {"operator": self.operator_group, "viewer": self.viewer_group}
        return {role: group for role, group in named.items() if group}


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Files of a port that speaks TLS 1.3 only, to clients with a certificate. PEM, readable by the plane.

    They are read again when they change.
    """

    cert: str
    """The server's certificate, and those of authorities between it and one that clients trust."""
    key: str
    client_ca: str
    """Certificates of the authorities whose clients are let in."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of one daemon; the keys of /etc/reflexarc/reflexarc.yaml."""

    mode: Mode = "observe"
    """Upper bound of what any policy may do."""
    loader: Literal["auto", "core", "bcc"] = "auto"
    realtime: Literal["auto", "off"] = "auto"
    runtime_dir: str = "/run/reflexarc"
    state_dir: str = "/var/lib/reflexarc"
    policies: str = "/etc/reflexarc/policies.d"
    """Folder of policy files, watched. Missing at the default path: the default table alone."""
    default_policies: bool = True
    sensors_dir: str = "/etc/reflexarc/sensors.d"
    """Folder of the user's own sensors, compiled at start. May be missing at the default path."""
    log_format: Literal["auto", "text", "json", "journald"] = "auto"
    """In which form all that is exported is told here, too: lines for people on standard error, OTLP JSON on
    standard output, fields in systemd's journal. `auto`: journald where systemd has started us, else text."""
    log_level: Literal["debug", "info", "warn", "error"] | None = None
    """What is less than that is not told here; it is exported all the same. None: info."""
    debug: bool = False
    """Tell on standard error all that compiler and verifier said of a sensor that is disabled."""
    metrics: str = "127.0.0.1:9464"
    metrics_tls: Tls | None = None
    """Missing: metrics are served in plain text, so to the loopback only unless told otherwise."""
    health: str = "127.0.0.1:9465"
    plane_user: str = ""
    """Account of the plane; empty: `reflexarc` where it exists, else uid 60999."""
    protect: tuple[str, ...] = ()
    """Executable names protected besides the built-in ones."""
    breaker_acts: Annotated[int, Meta(ge=1, le=1000)] = 5
    """Irreversible acts allowed per `breaker_window_s` on this node, and to a policy without a `breaker`."""
    breaker_window_s: Annotated[int, Meta(ge=1)] = 60
    self_budget: Annotated[int, Meta(ge=100, le=10_000)] = 500
    """Of one CPU, in hundredths of a percent, written `5%`. Beyond it, over 10 s, the arc feels less."""
    journal_head_bytes: Annotated[int, Meta(ge=512 * 1024, le=64 * 1024 * 1024)] = 1024 * 1024
    """Size of one segment on tmpfs; all acts in force must fit into one."""
    journal_head_segments: Annotated[int, Meta(ge=2, le=1024)] = 16
    journal_disk_bytes: Annotated[int, Meta(ge=4 * 1024 * 1024)] = 256 * 1024 * 1024
    export: Export = Export()
    management: Management = Management()
