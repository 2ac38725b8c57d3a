"""The arc: the one place that wires kernel, monitor, reflex, journal, plane and loop together."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from controlplane import __version__
from controlplane.arc import announcing, realtime
from controlplane.arc import status as answers
from controlplane.arc.baselines import Baselines
from controlplane.arc.children import Plane
from controlplane.arc.commands import Commands
from controlplane.arc.encoding import Encoding
from controlplane.arc.errands import Errands
from controlplane.arc.feeling import Feeling
from controlplane.arc.guarding import Guarding
from controlplane.arc.kernel.cgroups import Cgroups, find_mount
from controlplane.arc.kernel.denials import Denials
from controlplane.arc.kernel.descriptors import Timer, WallClock, closed_with, open_signals, read_signal
from controlplane.arc.kernel.events import COUNT_STREAM, STREAM_KEY, VALUE_STREAM
from controlplane.arc.kernel.identity import ByIdentity
from controlplane.arc.kernel.links import Links
from controlplane.arc.kernel.psi import Psi
from controlplane.arc.kernel.reaping import Reaper
from controlplane.arc.kernel.sensors import Sensors
from controlplane.arc.kernel.sources import Source
from controlplane.arc.kernel.watched import Watched
from controlplane.arc.loop import Loop
from controlplane.arc.losses import Losses
from controlplane.arc.monitor.bookmaker import Bookmaker
from controlplane.arc.monitor.confirming import sentinels
from controlplane.arc.monitor.gates import gates_for
from controlplane.arc.monitor.streams import Monitor, Place
from controlplane.arc.policy_folder import PolicyFolder
from controlplane.arc.reflex.evidence import Gathering
from controlplane.arc.reflex.finishing import Finishing, take_back_hooks
from controlplane.arc.reflex.holdings import Holdings
from controlplane.arc.reflex.in_kernel import InKernel
from controlplane.arc.reflex.journal import Journal, read_records
from controlplane.arc.reflex.network import Prepared
from controlplane.arc.reflex.recover import left_in_force, undo_left
from controlplane.arc.reflex.repertoire import acts_on
from controlplane.arc.reflex.taking_up import TakingUp
from controlplane.arc.rehearsal import rehearse
from controlplane.arc.rulebook import RuleBook
from controlplane.arc.runtime import RuntimeFolder
from controlplane.arc.self_budget import SelfBudget
from controlplane.arc.supervisor import Supervisor
from controlplane.arc.timing import Timing
from controlplane.arc.triggering import Triggering
from controlplane.link.config import Config
from controlplane.link.frames import COMMANDS, ENCODER, Changed, Reply, Status
from controlplane.link.malformed import MALFORMED
from controlplane.link.placing import denies
from controlplane.link.records import Reason
from controlplane.link.rules import Boot, RuleSet
from controlplane.link.signal_table import write_signals

STORM: Final = 1024
"""Records in one wake-up after which losses are looked for."""
MODE_CHANGES: Final = frozenset({"mode.changed", "policy.mode_changed"})


class Arc:
    """One daemon: made, armed, turning, stopped."""

    def __init__(self, boot: Boot) -> None:
        self._started_ns, self._armed_ns = time.monotonic_ns(), 0
        self._config: Config = boot.config
        self._folder = RuntimeFolder(boot.config)
        self._sensors = Sensors(loader=boot.config.loader, own=boot.sensors)
        self._known_signals = {signal.name: signal for signal in self._sensors.signals}
        signals_fd = write_signals(signal for sensor in boot.sensors for signal in sensor.signals)
        self._signals_fd = closed_with(self, signals_fd)
        mount = find_mount()
        if mount is None:
            raise OSError("no cgroup2 hierarchy is mounted")
        self._cgroups = Cgroups(mount)
        map_of = self._sensors.sensor("process").map_fd
        watched, by_identity = map_of("watched"), ByIdentity(map_of("ended"))
        self._watched, self._reaper = None if watched is None else Watched(watched), Reaper()
        self._denials, self._prepared = Denials(shared=self._sensors.shared()), Prepared()
        held = self._cgroups, by_identity, self._watched, self._reaper
        self._acts = acts_on(*held, self._denials, self._prepared)
        self._book = RuleBook(boot.rules.rules)
        self._monitor = Monitor(self._sensors.numbers)
        self._guarding = Guarding(
            *(boot.config, self._folder.fd, self._cgroups, self._sensors, self._monitor)
        )
        self._policy_error = ""
        self._realtime_missing: list[str] = []
        self.engine, self.journal, self._undone = self._make_engine(boot.rules)
        self._monitor.adapted = self._adapted
        self._bookmaker = Bookmaker(self._sensors.bets)
        self._feeling = Feeling(
            *(self._cgroups, self._monitor, self.engine, self._guarding.protection, self._bookmaker),
            self._known_signals,
        )
        self._in_kernel = InKernel(
            *(self._sensors.shared(), self._denials, self._monitor, self.engine, self._acts),
            *(self._guarding.protection, boot.config),
        )
        self._in_kernel.attend(self._feeling)
        self.loop = Loop(self._sensors.open_ring(), self._feeling.must_feel, self._settle)
        root = self._cgroups.id_of("/")
        self._encoding = Encoding(self.loop, self._prepared, self._notice)
        self._losses = Losses(self._sensors, self.journal.must_append, self._feeling, root)
        self._sources = self._make_sources()
        self._timer, self._wall_clock = Timer(), WallClock()
        self.loop.add(self._timer.fd, self._timer.expired)
        self._errands = Errands(self.loop, Finishing(self.engine, self.journal), boot.config.state_dir)
        self.loop.add(self._wall_clock.fd, self._clock_set)
        self._doorbell = closed_with(self, os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        self._plane = Plane(
            *(self.loop, self._doorbell, boot.config, self._signals_fd, self._received, time.monotonic_ns)
        )
        breathe = self.loop.must_breathe
        self._baselines = Baselines(
            *(self._folder.fd, self._bookmaker, self._monitor, self._known_signals, breathe)
        )
        self._streams = answers.StreamReader(self._sensors, self._monitor, breathe)
        self._gathering = Gathering(
            *(self.engine.held, self._monitor, self._streams.of, self.journal.must_append, breathe)
        )
        timing = Timing(self.loop, self._feeling)
        self._self_budget = SelfBudget(boot.config.self_budget, self._sensors, timing, self._notice)
        self.engine.unfelt, self.engine.last_denied = self._sensors.unfelt, self._denials.last
        self._commands = self._make_commands()
        self._policies: PolicyFolder | None = None
        self._supervisor = Supervisor(os.environ)
        self._health: dict[str, tuple[bool, str]] = {}

    def _make_sources(self) -> tuple[Source, ...]:
        """Sensors beside those of the ring. They listen to nothing before rules are in force."""
        values = self._sensors.shared_map("values", STREAM_KEY.size, VALUE_STREAM.size)
        psi = Psi(
            *(self._cgroups, self.loop, self._feeling.must_feel, self._known, values), self._close_files
        )
        self._feeling.followers.append(psi)

        def must_own(cgroup: int, signal: str) -> bool:
            kept_by_cgroup = self._known_signals[signal].key == "cgroup"
            return psi.must_have(cgroup, signal) if signal in psi.signals else kept_by_cgroup

        self._monitor.confirming.must_own = must_own
        counts = self._sensors.shared_map("counts", STREAM_KEY.size, COUNT_STREAM.size)
        links = Links(self.loop, self._feeling, counts)
        self._sensors.all += (psi, links, self._losses)
        return psi, links, self._losses

    def _close_files(self, fds: Sequence[int]) -> None:
        self._plane.close_there(fds)

    def _known(self) -> Iterator[tuple[int, str]]:
        """Cgroups that are followed; the ring comes first in between."""
        for place in list(self._monitor.places.values()):
            self.loop.must_breathe()
            if place.cgroup:
                yield place.cgroup, place.path

    def _make_engine(self, rules: RuleSet) -> tuple[TakingUp, Journal, int]:
        """Undo what a predecessor left before anything new can happen, then begin a journal of our own."""
        config = self._config
        left = left_in_force(read_records(self._folder.journal_fd))
        undone = list(undo_left(left, self._acts))
        holdings = Holdings()
        sizes = config.journal_head_bytes, config.journal_head_segments
        journal = Journal(self._folder.journal_fd, *sizes, self._folder.gid, holdings.intents)
        known = self._known_signals
        engine = TakingUp(self._acts, self._guarding.all, journal, holdings, config.mode, known)
        for record in (*undone, *take_back_hooks(left, rules.rules, engine.jobs)):
            journal.must_append(record)
        return engine, journal, len(undone)

    def _make_commands(self) -> Commands:
        reasons = {name: sensor.reason for sensor in self._sensors.all for name in sensor.signals}
        signals = dict.fromkeys(self._known_signals, "") | reasons
        return Commands(
            *(self._book, self.engine, self.journal, self._streams, signals),
            Triggering(
                *(self._cgroups, self._acts, self._guarding.protection, self.engine, self.loop),
                self._encoding.also,
            ),
            *(self.status, self._rules_changed),
        )

    def run(self) -> None:
        """Arm, then react until a signal says stop; whatever is in force is undone."""
        stop = open_signals((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        self.loop.add(stop, lambda: self._signalled(read_signal(stop)))
        self._plane.start()
        if self._config.realtime == "auto":
            self._realtime_missing = realtime.become_realtime()
            realtime.lower_oom_score()
        self.arm()
        realtime.freeze_heap()
        try:
            self.loop.run()
        finally:
            self.stop()

    def arm(self) -> None:
        """From here on a finding is acted upon."""
        self._watch_policies()
        self._guarding.spare(self._plane.pid, self._denials)
        if self._watched is not None:
            rehearse(self._cgroups, self._watched, self._bookmaker, self._folder.journal_fd)
        for cgroup, path in self._cgroups.walk():
            self._guarding.protection.born(cgroup, path)
            self._monitor.name(cgroup, path)
        unreadable = self._baselines.restore(time.monotonic_ns())
        self._put_rules_in_force()
        self._armed_ns = time.monotonic_ns()
        self._tell_armed()
        self._self_budget.begin(self._armed_ns)
        if unreadable:
            self._notice("baselines.unreadable", f"{unreadable}; streams are learned anew", "warn")
        self._supervisor.ready(self._armed_ns, len(self._book.rules()))
        self._settle(0)

    def _tell_armed(self) -> None:
        took_ms = (self._armed_ns - self._started_ns) // 1_000_000
        about = self._sensors, took_ms, self.engine.mode, self._undone, self._realtime_missing
        for name, text, severity, attributes in announcing.news(*about):
            self._notice(name, text, severity, **attributes)
        if self._config.debug:
            announcing.print_logs(self._sensors)

    def _settle(self, taken: int) -> None:
        """After each wake-up: what is due, the timer, the journal, the doorbell."""
        now = time.monotonic_ns()
        self.engine.run_due(now)
        if self._plane.next_start_ns and self._plane.next_start_ns <= now:
            self._restart_plane()
        if taken >= STORM:
            self._losses.look()
        self.engine.tend()
        for notice in self._guarding.opened(self.engine, now):
            self.journal.must_append(notice)
        self._in_kernel.tend()
        self._reaper.tend()
        self._baselines.tend(now)
        self._gathering.tell(now)
        self._errands.tend(now)
        self._self_budget.tend(now)
        self._supervisor.tend(now)
        dues = self.engine.next_due(), self._errands.next_due(), self._self_budget.next_due()
        others = self._plane.next_start_ns, self._supervisor.next_due()
        self._timer.must_arm(min((due for due in (*dues, *others) if due), default=0))
        if self.journal.dirty:
            self.journal.dirty = False
            self.journal.tend()
            self._tell_health()
            os.eventfd_write(self._doorbell, 1)

    def _restart_plane(self) -> None:
        self._plane.start()
        self._guarding.spare(self._plane.pid, self._denials)
        self._notice("plane.restarted", f"{self._plane.restarts} times so far", "warn")

    def _received(self, frame: bytes) -> None:
        try:
            command = COMMANDS.decode(frame)
        except MALFORMED:
            return
        result = self._commands.answer(command)
        self._plane.must_send(ENCODER.encode(Reply(command.id, result)))
        self._tell_health()

    def _tell_health(self) -> None:
        """To each new plane once, then on every change."""
        health = answers.health(self._armed_ns, self._sensors.all, self.engine, self._policy_error)
        if health != self._health or self._plane.is_new():
            self._health = health
            self._plane.must_send(ENCODER.encode(Changed(health)))

    def _watch_policies(self) -> None:
        # Without it, the default table alone: the launcher has refused any other missing folder.
        with suppress(FileNotFoundError):
            watched = self.loop, self._config.policies, self._signals_fd, self._reloaded
            self._policies = PolicyFolder(*watched, defaults=self._config.default_policies)

    def _adapted(self, place: Place, number: int) -> None:
        name = next(name for name, each in self._sensors.numbers.items() if each == number)
        text = f"a change of {name} in {place.path} has lasted: it is what is usual now"
        self._notice("stream.adapted", text, signal=name, stream=place.path)

    def _reloaded(self, rules: RuleSet) -> None:
        self._policy_error = rules.error
        if rules.error:
            self._notice("policy.rejected", rules.error, "error")
        else:
            self._book.replace_base(rules.rules)
            self._rules_changed("policy.reloaded", f"{len(rules.rules)} policies", "")
        if self._policies is not None and not self._policies.again:
            self._supervisor.ready(time.monotonic_ns(), len(self._book.rules()), rules.error)

    def _rules_changed(self, name: str, text: str, actor: str) -> None:
        self._put_rules_in_force("mode" if name in MODE_CHANGES else "policy")
        self._notice(name, text, actor=actor)

    def _put_rules_in_force(self, reason: Reason = "policy") -> None:
        """Rules that may no longer act lose what they have in force and all further steps."""
        rules = self._book.rules()
        enforced = {rule.name: rule for rule in rules if self.engine.effective_mode(rule) == "enforce"}
        by_hand = any(held.act.name == "deny" for held in self.engine.holdings.all())
        self._denials.follow(wanted=by_hand or any(map(denies, enforced.values())))
        self.engine.set_rules(rules)
        self._encoding.follow(rules)
        self._monitor.set_rules(rules, self.loop.must_breathe)
        for place in list(self._monitor.places.values()):
            self.loop.must_breathe()
            self.engine.prepare(place)
        self._in_kernel.follow(rules, self.loop.must_breathe)
        felt = (*self._in_kernel.left(rules), *sentinels(rules))
        self._sensors.set_gates(self._in_kernel.opened(gates_for(felt, self._sensors.numbers)))
        for source in self._sources:
            source.follow(felt)
        self._guarding.follow(rules, self._known())
        self.engine.stop_acting(self.engine.acting(), reason)

    def _notice(
        self, name: str, text: str, severity: announcing.Severity = "info", **attributes: str | float | bool
    ) -> None:
        """To the journal alone: the plane tells it, for whoever reads standard error may stand still."""
        self.journal.must_append(announcing.notice(name, text, severity, attributes))

    def status(self) -> Status:
        """One snapshot."""
        self._losses.look()
        engine, now = self.engine, time.monotonic_ns()
        return Status(
            version=__version__,
            pid=os.getpid(),
            mode=engine.mode,
            loader=self._sensors.loader,
            realtime=self._config.realtime == "auto" and not self._realtime_missing,
            started_ns=self._started_ns,
            armed_ns=self._armed_ns,
            now_ns=now,
            sensors=tuple(answers.sensor_statuses(self._sensors, self.loop.must_breathe)),
            events=self._feeling.felt(),
            streams=self._monitor.streams(),
            rules=len(self._book.rules()),
            findings=dict(engine.findings),
            budgets=answers.budgets(self._monitor.budgets, now),
            reflexes={
                **{f"{act}/{outcome}": count for (act, outcome), count in engine.steps.items()},
                **self._reaper.tallied(),
            },
            refusals=dict(engine.refusals),
            denials=self._denials.counted(),
            latency=engine.latency.snapshot(time.time_ns() - now),
            breaker_open=tuple(sorted(engine.breaker.open)),
            breaker=engine.breaker.allowance(""),
            in_force=answers.in_force(engine.holdings.all()),
            held=answers.held(engine.holdings.all()),
            plane_restarts=self._plane.restarts,
            link_dropped=self._plane.dropped,
            journal_records=self.journal.index,
            journal_dropped=self.journal.dropped,
            policy_error=self._policy_error,
        )

    def _clock_set(self) -> None:
        """A segment has one offset to the wall clock."""
        if self._wall_clock.was_set():
            self.journal.begin_anew()

    def _signalled(self, number: int) -> None:
        if number != signal.SIGHUP:
            self.loop.stopping = True
        elif self._policies is not None:
            self._supervisor.reloading(time.monotonic_ns())
            self._policies.reload()

    def stop(self) -> None:
        """Undo, say so, let the plane finish, detach."""
        self._supervisor.stopping(time.monotonic_ns())
        undone = self.engine.undo_where(lambda _: True, "stop")
        self._errands.finish()
        self.engine.storms.tell_all()
        self._losses.look()
        self._notice("arc.stopped", f"took back {undone} acts" if undone else "nothing was in force")
        self._settle(0)
        self._plane.finish()
        self._baselines.save()
        self._encoding.close()
        if self._policies is not None:
            self._policies.close()
        for source in self._sources:
            source.close()
        self._sensors.close()
        self._denials.close()
        self._supervisor.close()
        self.journal.close()
        self._folder.close()
