"""What a daemon configuration must mean, beyond the types of `link.config.Config`. Pure."""

from collections.abc import Iterator
from typing import Final

from controlplane.link.config import Config
from controlplane.link.rules import Fault

MAX_REQUEST_BYTES: Final = 4 * 1024 * 1024
"""What collectors accept in one request."""

_LEAST: Final = {
    "breaker_acts": 0,
    "breaker_window_s": 1,
    "journal_head_bytes": 128 * 1024,
    "journal_head_segments": 2,
    "journal_disk_bytes": 1024 * 1024,
}
_MOST: Final = 2**40


def faults(config: Config) -> Iterator[Fault]:
    """What is wrong with a configuration whose types are right; `at` is its key."""
    for key, least in _LEAST.items():
        if not least <= getattr(config, key) <= _MOST:
            yield Fault(key, f"must be between {least} and {_MOST}")
    for key in ("runtime_dir", "state_dir", "policies"):
        if not getattr(config, key).startswith("/"):
            yield Fault(key, "must be an absolute path")
    for key in ("metrics", "health"):
        if not is_address(getattr(config, key)):
            yield Fault(key, f"{getattr(config, key)!r} is not HOST:PORT", "write for example 127.0.0.1:9464")
    for index, name in enumerate(config.protect):
        if not name or "/" in name:
            yield Fault(f"protect[{index}]", "must be the name of an executable", "write sshd, not its path")
    yield from _export_faults(config)


def is_address(text: str) -> bool:
    """Whether it is HOST:PORT; an IPv6 host stands in brackets, and port 0 means any free one."""
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    return (
        bool(host.strip("[]"))
        and (bracketed or ":" not in host)
        and port.isascii()
        and port.isdecimal()
        and int(port[:6]) <= 65_535
    )


def _export_faults(config: Config) -> Iterator[Fault]:
    export = config.export
    if export.endpoint and not export.endpoint.startswith(("http://", "https://")):
        hint = "write for example http://127.0.0.1:4317"
        yield Fault("export.endpoint", "must begin with http:// or https://", hint)
    if not 1 <= export.timeout_ms <= 600_000:
        yield Fault("export.timeout_ms", "must be between 1 and 600000")
    if not 64 * 1024 <= export.batch_bytes <= MAX_REQUEST_BYTES:
        yield Fault("export.batch_bytes", f"must be between 65536 and {MAX_REQUEST_BYTES}")
