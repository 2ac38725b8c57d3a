"""Files in, validated values out: policies and the daemon configuration. The only place that opens them."""

import os
import stat
from pathlib import Path
from typing import Final

import msgspec

from controlplane.link.config import Config
from controlplane.policy import settings, units
from controlplane.policy.document import MAX_BYTES, Document, documents
from controlplane.policy.errors import PolicyError, UnitError, suggest
from controlplane.policy.model import API_VERSION, Policy, read_quantity
from controlplane.policy.shape import shaped

DEFAULT_CONFIG: Final = Path("/etc/reflexarc/reflexarc.yaml")
ENDINGS: Final = (".yaml", ".yml")
LEAST_BUDGET: Final = 100
"""Hundredths of a percent."""


class PolicyDocument(msgspec.Struct, frozen=True):
    """A policy and where it was written, so that later errors can name the line."""

    policy: Policy
    document: Document
    programs: bool = False
    """Whether it may have programs run: it is from a file that nobody but root could have written."""


def load_config(path: Path | None = None) -> Config:
    """The configuration at `path`; without a path the default file, and defaults where there is none.

    Raises PolicyError.
    """
    if path is None:
        if not DEFAULT_CONFIG.exists():
            return Config()
        path = DEFAULT_CONFIG
    return config_of(read_bytes(path), str(path))


def config_of(data: bytes, file: str) -> Config:
    """A configuration from the bytes of a file; one of comments alone means defaults. Raises PolicyError."""
    found = documents(data, file)
    if len(found) > 1:
        raise found[1].error("$", "a configuration is one document", "remove the `---`")
    return config_from(found[0]) if found else Config()


def config_from(document: Document) -> Config:
    """A configuration from one document. Raises PolicyError."""
    value = document.value
    if isinstance(value, dict):
        check_header(document, "Config", optional=True)
        value = {key: entry for key, entry in value.items() if key not in ("apiVersion", "kind")}
        if "self_budget" in value:
            value["self_budget"] = _budget(document, value["self_budget"])
    config = shaped(Document(document.file, value, document.lines), Config)
    for fault in settings.faults(config):
        raise document.error(f"$.{fault.at}", f"{fault.at} {fault.message}", fault.hint)
    return config


def _budget(document: Document, text: object) -> int:
    try:
        share = units.share(text)
    except UnitError as error:
        raise document.error("$.self_budget", f"self_budget: {error}", "write for example 5%") from None
    if share < LEAST_BUDGET:
        hint = "beyond its budget the daemon feels less: 100% for never"
        raise document.error("$.self_budget", "self_budget must be at least 1%", hint)
    return share


def policies_of(data: bytes, file: str, *, programs: bool = False) -> list[PolicyDocument]:
    """The policies in the bytes of a file; none in one of comments alone. Raises PolicyError."""
    return [policy_from(document, programs=programs) for document in documents(data, file)]


def policies_in(path: Path) -> list[PolicyDocument]:
    """The policies of a file, which may name programs if it is root's alone to write. Raises PolicyError."""
    data, found = _read(path)
    roots_alone = found.st_uid == 0 and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return policies_of(data, str(path), programs=roots_alone)


def policy_from(document: Document, *, programs: bool = False) -> PolicyDocument:
    """The policy of one document. Raises PolicyError."""
    check_header(document, "Policy", optional=False)
    return PolicyDocument(shaped(document, Policy, read_quantity), document, programs)


def policy_files(folder: Path) -> list[Path]:
    """The policy files of a folder in order of name, hidden ones left out. Raises PolicyError."""
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise PolicyError(
            f"cannot be read: {error.strerror}", "name a folder of *.yaml", str(folder)
        ) from None
    return [folder / name for name in names if name.endswith(ENDINGS) and not name.startswith(".")]


def read_bytes(path: Path) -> bytes:
    """A file's bytes, never more than one beyond the limit. Raises PolicyError."""
    return _read(path)[0]


def _read(path: Path) -> tuple[bytes, os.stat_result]:
    try:
        # O_NONBLOCK: a named pipe must not hold up the daemon's start
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise PolicyError("is not a regular file", "", str(path))
            return file.read(MAX_BYTES + 1), found
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise PolicyError(f"cannot be read: {reason}", "", str(path)) from None


def is_config(document: Document) -> bool:
    """Whether a document is meant as daemon configuration rather than as a policy."""
    value = document.value
    if not isinstance(value, dict):
        return False
    if "kind" in value:
        return value["kind"] == "Config"
    return not {"metadata", "spec"} & value.keys()


def check_header(document: Document, kind: str, *, optional: bool) -> None:
    """Before anything else, or a file of another program gets told about unknown keys."""
    value = document.value
    if not isinstance(value, dict):
        raise document.error("$", "the document must be a mapping", f"begin with `apiVersion: {API_VERSION}`")
    for key, wanted in (("apiVersion", API_VERSION), ("kind", kind)):
        if key not in value and not optional:
            raise document.error("$", f"`{key}` is missing in the document", f"write `{key}: {wanted}`")
        if value.get(key, wanted) != wanted:
            raise document.error(f"$.{key}", f"{key} must be {wanted}", suggest(str(value[key]), [wanted]))
