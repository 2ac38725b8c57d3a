"""`reflexarc doctor`: what this host offers, line by line, and what each line means for the daemon."""

import argparse
import ctypes
import json
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

from controlplane.arc.kernel.cgroups import find_mount
from controlplane.arc.kernel.denials import Denials
from controlplane.arc.kernel.sensors import Sensors
from controlplane.cli import host
from controlplane.cli.exits import Exit, Subparsers
from controlplane.compiler import clang
from controlplane.compiler.installed import installed, package
from controlplane.plane import landlock
from controlplane.policy.errors import PolicyError
from controlplane.policy.sensors import DEFAULT_FOLDER, user_sensors


@dataclass(frozen=True)
class Line:
    """One thing looked for. `needed`: without it the daemon does not start."""

    name: str
    state: Literal["ok", "limited", "missing"]
    found: str
    meaning: str
    needed: bool = False


def add_parser(subparsers: Subparsers) -> None:
    """Options of `doctor`."""
    parser = subparsers.add_parser("doctor", help="say what this host offers")
    parser.add_argument("--loader", choices=("auto", "core", "bcc"), default="auto", help="try this one")
    parser.add_argument(
        "--sensors", type=Path, default=DEFAULT_FOLDER, metavar="DIR", help="your own sensors"
    )
    parser.add_argument("--json", action="store_true", help="one JSON list")


def run(args: argparse.Namespace) -> int:
    """Print every line; 0 when all that the daemon needs is there."""
    lines = [line for look in LOOKS for line in look()]
    lines += _sensors(args.loader, args.sensors)
    lacking = [line.name for line in lines if line.needed and line.state != "ok"]
    if args.json:
        print(json.dumps([asdict(line) for line in lines], indent=2))
    else:
        width = max(len(line.name) for line in lines)
        for line in lines:
            print(f"{line.state:8}{line.name:{width}}  {line.found}\n{'':{width + 8}}  {line.meaning}")
        print(f"\nnot ready: {', '.join(lacking)}" if lacking else "\nready: `reflexarc run` can start here")
    return Exit.FAILED if lacking else Exit.DONE


def _needed(name: str, there: bool, found: str, meaning: str) -> Line:  # noqa: FBT001
    return Line(name, "ok" if there else "missing", found, meaning, needed=True)


def _useful(name: str, there: bool, found: str, meaning: str) -> Line:  # noqa: FBT001
    return Line(name, "ok" if there else "missing", found, meaning)


def _graded(name: str, whole: bool, found: str, meaning: str) -> Line:  # noqa: FBT001
    return Line(name, "ok" if whole else "limited", found, meaning)


def _programs() -> Iterator[Line]:
    yield Line("kernel", "ok", platform.release(), "told only: features are tried, versions not compared")
    btf = host.BTF.exists()
    yield _types(btf=btf)
    library = host.libbpf()
    yield _needed("libbpf", library is not None, "libbpf.so.1", "loads the sensors (Debian: libbpf1)")
    lacking = host.missing_objects()
    found = f"not built: {', '.join(lacking)}" if lacking else str(host.OBJECTS)
    yield _needed(
        "sensors", not lacking, found, "BPF objects of this installation (`make setup` builds them)"
    )
    hooks = host.btf_names("btf_trace_sched_process_fork")
    meaning = "the cheap way to attach sensors; plain ones without, with bcc"
    yield _useful("tp_btf", hooks, "typed tracepoints" if hooks else "not in the kernel's BTF", meaning)
    yield from _maps(library)


def _types(*, btf: bool) -> Line:
    """BTF is asked first; headers serve bcc alone."""
    headers = None if btf else installed()
    if btf:
        found = str(host.BTF)
    elif headers:
        found = f"headers in {headers.build}: this kernel has no BTF"
    else:
        found = f"neither {host.BTF} nor headers: apt install {package()}"
    meaning = "types of this kernel, by which sensors are fitted to it"
    return _needed("types", btf or headers is not None, found, meaning)


def _maps(library: ctypes.CDLL | None) -> Iterator[Line]:
    meaning = "how events reach the daemon, in one order; without it perf ring buffers, with bcc"
    if library is None or not {"BPF", "SYS_ADMIN"} & _capabilities():
        yield Line("ringbuf", "limited", "not tried: needs libbpf and CAP_BPF", meaning)
    else:
        there = host.offers_map_type(library, host.RINGBUF)
        yield _useful("ringbuf", there, "map created" if there else "map refused", meaning)


def _denial() -> Iterator[Line]:
    """Loaded and attached, with nothing to deny, for as long as it takes to ask."""
    meaning = "the act deny, through BPF LSM; no default policy needs it"
    if host.libbpf() is None or not {"BPF", "SYS_ADMIN"} & _capabilities():
        yield Line("bpf lsm", "limited", "not tried: needs libbpf and CAP_BPF", meaning)
        return
    denials = Denials()
    denials.follow(wanted=True)
    yield _useful("bpf lsm", not denials.reason, denials.reason or "attached", meaning)
    denials.close()


def _cgroups() -> Iterator[Line]:
    mount = find_mount()
    yield _needed(
        "cgroup2", mount is not None, mount or "not mounted", "cgroups are what streams and acts go by"
    )
    if mount is None:
        return
    controllers = Path(mount, "cgroup.controllers").read_text().split()
    old = host.mounts_of("cgroup", Path("/proc/self/mounts").read_text())
    found = " ".join(controllers) or "none"
    if old:
        found += f"; hybrid layout: {len(old)} version 1 hierarchies hold the others"
    wanted = {"cpu", "io", "memory", "pids"} <= set(controllers)
    yield _graded("controllers", wanted, found, "throttling and limits; freeze and kill need none")
    files = host.cgroup_files(mount)
    for name, meaning in (
        ("cgroup.freeze", "the act freeze"),
        ("cgroup.kill", "the act kill, for a whole cgroup"),
    ):
        if files is None:
            yield Line(name, "limited", "not tried: no cgroup to look into", meaning, needed=True)
        else:
            yield _needed(name, name in files, "in every cgroup below the root", meaning)


def _pressure() -> Iterator[Line]:
    found = [name for name in ("cpu", "io", "memory") if Path("/proc/pressure", name).exists()]
    yield _graded(
        "psi",
        len(found) == 3,
        " ".join(found) or "none",
        "pressure stall information, what the sensor psi feels",
    )


def _privileges() -> Iterator[Line]:
    held = _capabilities()
    for names, needed, meaning in (
        (("BPF", "SYS_ADMIN"), True, "load sensors"),
        (("PERFMON", "SYS_ADMIN"), True, "attach them to tracepoints"),
        (("DAC_READ_SEARCH",), True, "open a cgroup by its id, so that a reused path is never hit"),
        (("KILL",), True, "signal processes of other users"),
        (("NET_ADMIN",), False, "shape and quarantine"),
        (("SYS_PTRACE",), False, "shape and quarantine where a cgroup has a network of its own"),
        (("SYS_NICE",), False, "real-time scheduling; give a process its nice value back"),
        (("IPC_LOCK",), False, "keep the daemon's memory from being paged out"),
        (("SYS_RESOURCE",), False, "raise limits; PSI windows that are no multiple of 2 s"),
    ):
        there = not held.isdisjoint(names)
        name = f"CAP_{names[0]}"
        found = "held" if names[0] in held else "by CAP_SYS_ADMIN" if there else "not held"
        yield _needed(name, there, found, meaning) if needed else _useful(name, there, found, meaning)


def _process() -> Iterator[Line]:
    own = host.in_first_pid_namespace()
    found = "the host's" if own else "a container's own"
    yield _needed(
        "pid namespace", own, found, "events carry the host's process numbers (Kubernetes: hostPID)"
    )
    limit = host.lockable_bytes()
    enough = limit is None or "IPC_LOCK" in _capabilities()
    found = "no limit" if enough else f"{limit} bytes"
    yield _graded("memlock", enough, found, "how much memory the daemon may lock")
    realtime = host.may_be_realtime()
    found = "granted" if realtime else "refused"
    yield _graded("real time", realtime, found, "short reaction while processors are busy")


def _extras() -> Iterator[Line]:
    version = landlock.abi()
    found = f"version {version}" if version else "not offered"
    yield _useful("landlock", bool(version), found, "keeps the plane to its own files, besides permissions")
    mounted = host.mounts_of("tracefs", Path("/proc/self/mounts").read_text())
    yield _useful(
        "tracefs",
        bool(mounted),
        mounted[0] if mounted else "not mounted",
        "classic tracepoints; no sensor needs them",
    )
    probes = Path("/sys/bus/event_source/devices/kprobe").exists()
    yield _useful("kprobes", probes, "offered" if probes else "not offered", "no default sensor needs them")
    there = host.has_bcc()
    meaning = "compiles sensors at start: the other loader, and your own where clang is missing"
    yield _useful("bcc", there, "importable" if there else "not importable", meaning)
    there = clang.is_present()
    found = (
        "found, with bpftool and libbpf's headers" if there else "not found with bpftool and libbpf's headers"
    )
    yield _useful("clang", there, found, "compiles your own sensors")


def _sensors(loader: Literal["auto", "core", "bcc"], folder: Path) -> Iterator[Line]:
    """Each one is loaded and attached, for as long as it takes to ask it."""
    try:
        own = user_sensors(folder)
    except PolicyError as error:
        yield _useful("sensors.d", False, str(error).partition("\n")[0], "your own sensors")
        own = ()
    if host.libbpf() is None or not {"BPF", "SYS_ADMIN"} & _capabilities():
        yield Line("sensor", "limited", "not tried: needs libbpf and CAP_BPF", "what is felt")
        return
    try:
        tried = Sensors(loader=loader, own=own)
    except OSError as error:
        yield _needed("sensor", False, error.strerror or str(error), "what is felt; not one could be loaded")
        return
    for sensor in tried.all:
        meaning = f"by {tried.loader}: {' '.join(sensor.signals) or 'the life of cgroups'}"
        yield _useful(f"sensor {sensor.name}", not sensor.reason, sensor.reason or "attached", meaning)
    tried.close()


def _capabilities() -> frozenset[str]:
    return host.capabilities_in(Path("/proc/self/status").read_text())


LOOKS: Final[tuple[Callable[[], Iterator[Line]], ...]] = (
    _programs,
    _denial,
    _cgroups,
    _pressure,
    _privileges,
    _process,
    _extras,
)
