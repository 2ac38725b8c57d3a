"""The arc: the one place that wires kernel, monitor, reflex, journal, plane and loop together."""

import os
import signal
import sys
import time
from typing import Final

import msgspec

from controlplane import __version__
from controlplane.arc import realtime
from controlplane.arc.children import Plane
from controlplane.arc.commands import Commands
from controlplane.arc.kernel.cgroups import Cgroups, find_mount
from controlplane.arc.kernel.descriptors import Timer, open_signals, read_signal
from controlplane.arc.kernel.events import Event, EventKind
from controlplane.arc.kernel.ring import open_ring
from controlplane.arc.kernel.sensors import NUMBERS, RING_BYTES, Sensors
from controlplane.arc.loop import Loop
from controlplane.arc.monitor.gates import gates_for
from controlplane.arc.monitor.streams import Monitor
from controlplane.arc.policy_folder import PolicyFolder
from controlplane.arc.reflex.acts import Act, Freeze, KillCgroup, KillProcess
from controlplane.arc.reflex.engine import Engine, InForce
from controlplane.arc.reflex.guards import Breaker, Protection
from controlplane.arc.reflex.journal import Journal, read_records
from controlplane.arc.reflex.recover import left_in_force, undo_left
from controlplane.arc.rulebook import RuleBook
from controlplane.arc.runtime import RuntimeFolder
from controlplane.arc.status import StreamReader, in_force
from controlplane.link.config import Config
from controlplane.link.frames import COMMANDS, ENCODER, Changed, Reply, Status
from controlplane.link.records import Lost, Notice
from controlplane.link.rules import NS, Boot, RuleSet

STORM: Final = 1024
"""Records in one wake-up after which losses are looked for."""


class Arc:
    """One daemon, from armed to stopped."""

    def __init__(self, boot: Boot, config_fd: int) -> None:
        self._started_ns = time.monotonic_ns()
        self._armed_ns = 0
        self._config: Config = boot.config
        self._folder = RuntimeFolder(boot.config.runtime_dir, boot.config.plane_user)
        self._sensors = Sensors()
        mount = find_mount()
        if mount is None:
            raise OSError("no cgroup2 hierarchy is mounted")
        self._cgroups = Cgroups(mount)
        self._acts = self._make_acts()
        self._protection = Protection(self._cgroups, boot.config.protect)
        self._book = RuleBook(boot.rules.rules)
        self._monitor = Monitor(NUMBERS)
        self._events = [0] * (max(NUMBERS.values()) + 1)
        self._lost: dict[tuple[str, str], int] = {}
        self._policy_error = ""
        self._realtime_missing: list[str] = []
        self._engine, self._journal, self._undone = self._make_engine()
        self._loop = Loop(open_ring(self._sensors.ring_fd, RING_BYTES), self._must_feel, self._settle)
        self._timer = Timer()
        self._doorbell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._plane = Plane(self._loop, self._doorbell, config_fd, self._received, time.monotonic_ns)
        self._commands = self._make_commands()
        self._policies: PolicyFolder | None = None
        self._health: dict[str, tuple[bool, str]] = {}

    def _make_acts(self) -> dict[tuple[str, bool], Act]:
        acts: dict[tuple[str, bool], Act] = {
            ("freeze", False): Freeze(self._cgroups),
            ("kill", False): KillCgroup(self._cgroups),
        }
        watched = self._sensors.sensor("process").map("watched", 4, 8)
        if watched is not None:
            acts["kill", True] = KillProcess(watched)
        return acts

    def _act(self, name: str, one_process: bool) -> Act | None:
        return self._acts.get((name, one_process))

    def _make_engine(self) -> tuple[Engine, Journal, int]:
        """Undo what a predecessor left before anything new can happen, then begin a journal of our own."""
        config = self._config
        directory = self._folder.journal_fd
        left = left_in_force(read_records(directory))
        undone = list(undo_left(left, self._act))
        held: dict[bytes, InForce] = {}
        journal = Journal(
            directory,
            config.journal_head_bytes,
            config.journal_head_segments,
            self._folder.gid,
            lambda: [each.intent for each in held.values()],
        )
        for record in undone:
            journal.must_append(record)
        breaker = Breaker(config.breaker_acts, config.breaker_window_s * NS)
        engine = Engine(self._act, self._protection, breaker, journal, held, config.mode)
        return engine, journal, len(undone)

    def _make_commands(self) -> Commands:
        missing = {
            name: sensor.reason for sensor in self._sensors.all if sensor.reason for name in sensor.signals
        }
        streams = StreamReader(self._sensors, self._monitor)
        return Commands(
            self._book, self._engine, self._journal, streams, missing, self._status, self._rules_changed
        )

    def run(self) -> None:
        """Arm, then react until a signal says stop; whatever is in force is undone."""
        stop = open_signals((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        self._loop.add(stop, lambda: self._signalled(read_signal(stop)))
        self._loop.add(self._timer.fd, self._timer.expired)
        self._watch_policies()
        self._arm()
        try:
            self._loop.run()
        finally:
            self._stop()

    def _arm(self) -> None:
        self._protect_names()
        for cgroup, path in self._cgroups.walk():
            self._monitor.name(cgroup, path)
        self._plane.start()
        self._protection.scan((os.getpid(), self._plane.pid))
        self._put_rules_in_force()
        self._realtime_missing = realtime.become_realtime() if self._config.realtime == "auto" else ["off"]
        realtime.lower_oom_score()
        realtime.freeze_heap()
        self._armed_ns = time.monotonic_ns()
        self._tell_armed()

    def _tell_armed(self) -> None:
        took_ms = (self._armed_ns - self._started_ns) // 1_000_000
        felt = [sensor.name for sensor in self._sensors.all if not sensor.reason]
        text = f"armed in {took_ms} ms, mode {self._engine.mode}, sensors {' '.join(felt)}"
        self._notice("arc.armed", text, took_ms=took_ms, mode=self._engine.mode)
        if self._undone:
            self._notice(
                "arc.recovered",
                f"took back {self._undone} acts which a dead predecessor had left in force",
                severity="warn",
                undone=self._undone,
            )
        for sensor in self._sensors.all:
            if sensor.reason:
                self._notice("sensor.disabled", f"{sensor.name}: {sensor.reason}", severity="warn")
        self._settle(0)

    def _must_feel(self, event: Event) -> None:
        """One record from the ring."""
        kind = event.kind
        if kind == EventKind.SIGNAL:
            self._events[event.signal] += event.weight
            place = self._monitor.places.get(event.cgroup)
            if place is None:
                path = self._cgroups.path_of(event.cgroup)
                if path is None:
                    return
                place = self._monitor.name(event.cgroup, path)
            self._monitor.must_feel(place, event, self._engine.must_begin)
        elif kind == EventKind.EXIT:
            self._engine.must_confirm(kind, event.pid, event.start_ns, event.time_ns)
        elif kind in (EventKind.FROZEN, EventKind.POPULATED):
            self._engine.must_confirm(kind, event.cgroup, event.value, event.time_ns)
        elif kind == EventKind.CGROUP_GONE:
            self._monitor.forget(event.cgroup)
            self._protection.forget(event.cgroup)
        else:
            self._take_up(event)

    def _take_up(self, event: Event) -> None:
        path = self._cgroups.path_of(event.cgroup)
        if event.kind == EventKind.PROTECTED:
            self._protection.add(event.pid, event.start_ns, path)
        elif path is not None:
            self._monitor.name(event.cgroup, path)

    def _settle(self, taken: int) -> None:
        """After each wake-up: what is due, the journal, the timer, the doorbell."""
        now = time.monotonic_ns()
        self._engine.run_due(now)
        if self._plane.next_start_ns and self._plane.next_start_ns <= now:
            self._restart_plane()
        if taken >= STORM:
            self._look_for_losses()
        due, start = self._engine.next_due(), self._plane.next_start_ns
        self._timer.must_arm(min(due, start) if due and start else due or start)
        if self._journal.dirty:
            self._journal.dirty = False
            self._journal.tend()
            os.eventfd_write(self._doorbell, 1)

    def _restart_plane(self) -> None:
        self._plane.start()
        self._protection.scan((os.getpid(), self._plane.pid))
        self._notice("plane.restarted", f"restart {self._plane.restarts}", severity="warn")

    def _look_for_losses(self) -> None:
        for sensor in self._sensors.all:
            for reason, total in sensor.status().lost.items():
                new = total - self._lost.get((sensor.name, reason), 0)
                if new:
                    self._lost[sensor.name, reason] = total
                    now = time.monotonic_ns()
                    self._journal.must_append(Lost(time_ns=now, sensor=sensor.name, reason=reason, count=new))

    def _received(self, frame: bytes) -> None:
        try:
            command = COMMANDS.decode(frame)
        except msgspec.MsgspecError:
            return
        result = self._commands.answer(command)
        self._plane.must_send(ENCODER.encode(Reply(command.id, result)))
        self._tell_health()

    def _tell_health(self) -> None:
        """Once after a plane's first command, then on every change."""
        health = self._current_health()
        if health != self._health or self._plane.greet():
            self._health = health
            self._plane.must_send(ENCODER.encode(Changed(health)))

    def _current_health(self) -> dict[str, tuple[bool, str]]:
        health = {"arc": (bool(self._armed_ns), "")}
        for sensor in self._sensors.all:
            health[f"sensor.{sensor.name}"] = (not sensor.reason, sensor.reason)
        opened = sorted(name or "node" for name in self._engine.breaker.open)
        reason = self._policy_error or (f"breaker open: {', '.join(opened)}" if opened else "")
        health["policy"] = (not reason, reason)
        return health

    def _watch_policies(self) -> None:
        try:
            self._policies = PolicyFolder(
                self._loop, self._config.policies, self._config.default_policies, self._reloaded
            )
        except OSError:
            # No such folder: the default table alone, as the launcher has made sure.
            self._policies = None

    def _reloaded(self, rules: RuleSet) -> None:
        self._policy_error = rules.error
        if rules.error:
            self._notice("policy.rejected", rules.error, severity="error")
        else:
            self._book.replace_base(rules.rules)
            self._rules_changed("policy.reloaded", f"{len(rules.rules)} policies", "")
        self._tell_health()

    def _rules_changed(self, name: str, text: str, actor: str) -> None:
        self._put_rules_in_force()
        self._notice(name, text, **({"actor": actor} if actor else {}))

    def _put_rules_in_force(self) -> None:
        rules = self._book.rules()
        self._monitor.set_rules(rules)
        for signal_name, gate in gates_for(rules, NUMBERS).items():
            self._sensors.set_gate(signal_name, gate)
        modes = {rule.name: self._engine.effective_mode(rule) for rule in rules}
        reason = "policy" if self._engine.mode == "enforce" else "mode"
        self._engine.end_all(lambda reflex: modes.get(reflex.rule.name, "off") == "off")
        self._engine.undo_where(
            lambda held: modes.get(held.intent.rule, "off") != "enforce",
            "mode" if reason == "mode" else "policy",
        )

    def _protect_names(self) -> None:
        names = self._sensors.sensor("process").map("protected_names", 16, 1)
        for name in self._protection.names if names else ():
            if names is not None:
                names.must_update(name.encode()[:15].ljust(16, b"\0"), b"\1")

    def _notice(
        self, name: str, text: str, severity: str = "info", **attributes: str | int | float | bool
    ) -> None:
        record = Notice(
            time_ns=time.monotonic_ns(),
            name=name,
            severity=severity,  # type: ignore[arg-type]
            text=text,
            attributes=attributes,
        )
        self._journal.must_append(record)
        print(f"reflexarc: {name}: {text}", file=sys.stderr, flush=True)

    def _status(self) -> Status:
        self._look_for_losses()
        engine, plane = self._engine, self._plane
        now = time.monotonic_ns()
        return Status(
            version=__version__,
            pid=os.getpid(),
            mode=engine.mode,
            loader="core",
            realtime=not self._realtime_missing,
            started_ns=self._started_ns,
            armed_ns=self._armed_ns,
            now_ns=now,
            sensors=tuple(sensor.status() for sensor in self._sensors.all),
            events={name: self._events[number] for name, number in NUMBERS.items()},
            streams=self._monitor.streams(),
            rules=len(self._book.rules()),
            findings=dict(engine.findings),
            reflexes=dict(engine.steps),
            latency=engine.latency.snapshot(time.time_ns() - now),
            breaker_open=tuple(sorted(engine.breaker.open)),
            in_force=in_force(engine),
            plane_restarts=plane.restarts,
            link_dropped=plane.dropped,
            journal_records=self._journal.index,
            journal_dropped=self._journal.dropped,
            policy_error=self._policy_error,
        )

    def _signalled(self, number: int) -> None:
        if number == signal.SIGHUP:
            if self._policies is not None:
                self._policies.reload()
            return
        self._loop.stopping = True

    def _stop(self) -> None:
        """Undo, say so, let the plane finish, detach."""
        undone = self._engine.undo_where(lambda _: True, "stop")
        self._look_for_losses()
        self._notice("arc.stopped", f"{undone} acts undone" if undone else "nothing was in force")
        self._settle(0)
        self._plane.finish()
        self._sensors.close()
        self._journal.close()
        self._folder.close()
