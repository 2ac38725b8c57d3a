"""`reflexarc run`: reads everything, refuses whatever cannot work, and then becomes the arc by exec.

Until the exec nothing is started, created or locked; after it this process holds no parser any more.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NoReturn

import msgspec

from controlplane.arc.kernel.cgroups import find_mount
from controlplane.cli import host
from controlplane.cli.exits import CliError, Exit, Subparsers
from controlplane.compiler.installed import installed, package
from controlplane.link.account import AccountError, account, group, require_reachable, require_readable
from controlplane.link.config import Config
from controlplane.link.rules import Boot, RuleSet
from controlplane.link.signals import known_with
from controlplane.plane.telemetry.settings import SettingsError, destination, with_environment
from controlplane.policy import settings
from controlplane.policy.compile import compile_folder
from controlplane.policy.load import load_config
from controlplane.policy.sensors import user_sensors

FOLDERS = {"runtime_dir", "state_dir", "policies", "sensors_dir"}
OVERRIDES = (
    *("loader", "mode", *sorted(FOLDERS), "metrics", "health", "realtime", "debug"),
    *("log_format", "log_level"),
)
"""Options that stand in for the configuration's key of the same name."""
FORMATS = ("auto", "text", "json", "journald")


def add_parser(subparsers: Subparsers) -> None:
    """Options of `run`."""
    parser = subparsers.add_parser("run", help="start the daemon")
    add = parser.add_argument
    add("--config", type=Path, metavar="FILE", help="instead of /etc/reflexarc/reflexarc.yaml")
    add("--policies", metavar="DIR", help="folder of policy files")
    add("--sensors", dest="sensors_dir", metavar="DIR", help="folder of your own sensors")
    add("--runtime-dir", metavar="DIR", help="socket, lock and journal head; on tmpfs")
    add("--state-dir", metavar="DIR", help="journal on disk")
    add("--loader", choices=("auto", "core", "bcc"), help="how sensors get into the kernel")
    add("--mode", choices=("observe", "enforce"), help="upper bound of what any policy may do")
    add("--realtime", choices=("auto", "off"))
    add("--log-format", choices=FORMATS, help="auto: journald under systemd, else text")
    add("--log-level", choices=("debug", "info", "warn", "error"), help="least that is told here")
    add("--debug", action="store_true", default=None, help="tell all that compiler and verifier say")
    add("--metrics", metavar="HOST:PORT")
    add("--health", metavar="HOST:PORT")
    add("--management", metavar="HOST:PORT", help="management over TLS, with the certificates configured")


def run(args: argparse.Namespace) -> NoReturn:
    """Become the arc. Raises CliError or PolicyError where that cannot work."""
    config = configured(args)
    sensors = user_sensors(Path(config.sensors_dir))
    known = known_with(signal for sensor in sensors for signal in sensor.signals)
    rules = compile_folder(Path(config.policies), known, defaults=config.default_policies)
    check_export(config, os.environ)
    check_host(config)
    become_arc(Boot(config=resolved(config), rules=RuleSet(rules=rules), sensors=sensors))


def configured(args: argparse.Namespace) -> Config:
    """The configuration with what the command line overrides. Raises CliError or PolicyError."""
    given = {key: getattr(args, key) for key in OVERRIDES if getattr(args, key) is not None}
    for key in given.keys() & FOLDERS:
        given[key] = str(Path(given[key]).absolute())
    config = load_config(args.config)
    if args.management is not None:
        given["management"] = msgspec.structs.replace(config.management, address=args.management)
    config = msgspec.structs.replace(config, **given)
    for fault in settings.faults(config):
        option = "--" + fault.at.partition(".")[0].replace("_", "-")
        raise CliError(f"{option}: {fault.message}", fault.hint, Exit.USAGE)
    return config


def resolved(config: Config) -> Config:
    """With the form chosen in which is told what happens."""
    if config.log_format != "auto":
        return config
    form: Literal["text", "journald"] = "journald" if is_journald() else "text"
    return msgspec.structs.replace(config, log_format=form)


def is_journald() -> bool:
    """Whether systemd reads standard error, see systemd.exec(5); it may be redirected since."""
    stream = os.fstat(2)
    return os.environ.get("JOURNAL_STREAM") == f"{stream.st_dev}:{stream.st_ino}"


def check_export(config: Config, environ: Mapping[str, str]) -> None:
    """Where records go can be meant, the environment included. Raises CliError."""
    try:
        export = with_environment(config, environ).export
        if export.endpoint:
            destination(export)
    except SettingsError as error:
        hint = "see Logs in docs/operations.md"
        raise CliError(str(error), hint, Exit.BAD_POLICY) from None


def check_host(config: Config) -> None:
    """Everything without which the arc could not start. Raises CliError."""
    if os.geteuid() != 0:
        raise CliError("must be run as root", "sudo reflexarc run", Exit.REFUSED)
    if find_mount() is None:
        raise CliError("cgroup2 is not mounted", "mount -t cgroup2 none /sys/fs/cgroup")
    if lacking := host.missing_objects():
        raise CliError(f"BPF objects are not built: {', '.join(lacking)}", "make setup")
    if host.libbpf() is None:
        raise CliError("libbpf.so.1 cannot be loaded", "apt install libbpf1")
    check_loader(config)
    lock = Path(config.runtime_dir, "arc.lock")
    if (pid := host.lock_holder(lock, Path("/proc/locks").read_text())) is not None:
        hint = "stop it, or give this one another --runtime-dir"
        raise CliError(f"already running, pid {pid} holds {lock}", hint)
    check_account(config)
    check_tls(config)
    check_metrics_tls(config)


def check_loader(config: Config) -> None:
    """What the loader needs is there; why it is not CO-RE is said first. Raises CliError."""
    from controlplane.arc.kernel.loader import core_lack

    lack = None if config.loader == "bcc" else core_lack()
    if lack is not None and (config.loader == "core" or lack.hint):
        raise CliError(lack.reason, lack.hint or "use --loader bcc")
    if lack is None and config.loader != "bcc":
        return
    if not host.BTF.exists() and installed() is None:
        raise CliError("this kernel has no BTF, and its headers are missing", f"apt install {package()}")
    if not host.has_bcc():
        why = f"{lack.reason}, and " if lack else ""
        raise CliError(f"{why}bcc is not installed", "apt install python3-bpfcc")


def check_tls(config: Config) -> None:
    """Certificates are there, fit together, and can be read by the plane. Raises CliError."""
    given = config.management
    if not given.address:
        return
    from controlplane.plane.api.certificates import now_utc
    from controlplane.plane.api.tls import Files, load
    from controlplane.plane.tls import TlsError

    files = Files(given.cert, given.key, given.client_ca, given.crl)
    try:
        load(files, now_utc())
        for path in files.paths():
            require_readable(str(path), account(config.plane_user))
    except (TlsError, AccountError) as error:
        raise CliError(str(error), error.hint, Exit.BAD_POLICY) from None


def check_metrics_tls(config: Config) -> None:
    """As `check_tls`, for the metrics port. Raises CliError."""
    files = config.metrics_tls
    if files is None:
        return
    from controlplane.plane.tls import TlsError, context_of

    try:
        context_of(files)
        for path in (files.cert, files.key, files.client_ca):
            require_readable(path, account(config.plane_user))
    except (TlsError, AccountError) as error:
        raise CliError(f"metrics_tls: {error}", error.hint, Exit.BAD_POLICY) from None


def check_account(config: Config) -> None:
    """The plane's account exists and can enter its directories. Raises CliError."""
    try:
        plane = account(config.plane_user)
        for directory in (config.runtime_dir, config.state_dir):
            require_reachable(directory, plane)
        for name in config.management.groups().values():
            group(name)
    except AccountError as error:
        raise CliError(str(error), error.hint, Exit.BAD_POLICY) from None


def become_arc(boot: Boot) -> NoReturn:
    """Replace this process by the arc, which reads `boot` from an inherited memory file."""
    fd = os.memfd_create("reflexarc-boot", 0)
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(msgspec.msgpack.encode(boot))
    # -P: what lies in the working directory is not ours to import as root
    os.execv(sys.executable, [sys.executable, "-P", "-m", "controlplane.arc", "--boot-fd", str(fd)])  # noqa: S606
