"""The other end of the link for tests: answers commands with real frames, and keeps what it was asked."""

import asyncio
import socket
from typing import TypeVar

import msgspec

from controlplane.link import frames, records, rules
from controlplane.link.records import Call, Said

T = TypeVar("T")


class Responder:
    """An arc that feels nothing. Its fields are what it answers with; change them at will."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.commands: list[frames.Command] = []
        """Those that ask or change something."""
        self.calls: list[Call] = []
        """Those it was to journal."""
        self.notices: list[frames.Noticed] = []
        self.said: list[Said] = []
        self.silent = False
        self.status = STATUS
        self.streams: list[frames.Stream] = []
        self.rules: dict[str, rules.Rule] = {}
        self.budgets: dict[str, frames.BudgetStatus] = {}
        self._sock = sock
        asyncio.get_running_loop().add_reader(sock, self._read)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._sock)
        self._sock.close()

    def send(self, telling: frames.Telling) -> None:
        self._sock.send(frames.ENCODER.encode(telling))

    def _read(self) -> None:
        command = frames.COMMANDS.decode(self._sock.recv(frames.MAX_FRAME))
        match command:
            case frames.Audited(call=call):
                self.calls.append(call)
            case frames.Diagnosed(said=said):
                self.said.append(said)
            case frames.Noticed():
                self.notices.append(command)
            case _:
                self.commands.append(command)
        if not self.silent:
            self.send(frames.Reply(command.id, self._answer(command)))

    def _answer(self, command: frames.Command) -> frames.Result:
        match command:
            case frames.GetStatus():
                return self.status
            case frames.ListStreams(offset=offset):
                return frames.Streams(*self._page(self.streams, offset))
            case frames.ListRules(offset=offset):
                none = frames.BudgetStatus(0)
                statuses = [
                    frames.RuleStatus(
                        rule=rule,
                        effective_mode=rule.mode,
                        budget=self.budgets.get(rule.name, none),
                        breaker=ALLOWANCE if rules.is_irreversible(rule) else None,
                    )
                    for rule in self.rules.values()
                ]
                return frames.Rules(*self._page(statuses, offset))
            case frames.ApplyRule(rule=rule, dry_run=dry_run):
                return self._apply(rule, dry_run=dry_run)
            case frames.DeleteRule(name=name):
                return self._delete(name)
            case frames.SetMode(mode=mode):
                self.status = msgspec.structs.replace(self.status, mode=mode)
                return frames.Done(1)
            case (
                frames.SegmentMoved()
                | frames.Ping()
                | frames.Audited()
                | frames.Noticed()
                | frames.Diagnosed()
            ):
                return frames.Done()
            case _:
                return self._do(command)

    def _do(self, command: frames.UndoActs | frames.Trigger | frames.CloseBreaker) -> frames.Result:
        match command:
            case frames.UndoActs():
                undone = len(self.status.in_force)
                self.status = msgspec.structs.replace(self.status, in_force=())
                return frames.Done(undone)
            case frames.Trigger():
                return self._trigger(command)
            case frames.CloseBreaker(rule=rule):
                return self._close_breaker(rule)

    def _trigger(self, command: frames.Trigger) -> frames.Result:
        if command.path == "/protected" and not command.dry_run:
            return frames.Refused("forbidden", "freeze is forbidden by the guard protected")
        return frames.Triggered(
            trace_id=b"" if command.dry_run else command.trace_id or bytes(range(16)),
            cgroup=99,
            path=command.path or "/storm",
            pid=command.pid,
            changes=(records.Change("cgroup.freeze", "0", "1"),) if command.step.act == "freeze" else (),
            guard="protected" if command.path == "/protected" else "",
        )

    def _apply(self, rule: rules.Rule, *, dry_run: bool) -> frames.Result:
        if rule.signal == "cpu.runq_delay":
            return frames.Refused("forbidden", "no sensor for it here")
        before = self.rules.get(rule.name)
        if not dry_run:
            self.rules[rule.name] = rule
        return frames.Done(1, "new" if before is None else "unchanged" if before == rule else "replaces")

    def _delete(self, name: str) -> frames.Result:
        if name not in self.rules:
            return frames.Refused("not_found", f"no policy is called {name}", "see `reflexarc policies`")
        del self.rules[name]
        return frames.Done(1)

    def _close_breaker(self, rule: str) -> frames.Result:
        if rule not in self.status.breaker_open:
            return frames.Refused("not_found", "it is not open")
        left = tuple(name for name in self.status.breaker_open if name != rule)
        self.status = msgspec.structs.replace(self.status, breaker_open=left)
        return frames.Done(1)

    @staticmethod
    def _page(items: list[T], offset: int) -> tuple[tuple[T, ...], int]:
        end = offset + frames.PAGE
        return tuple(items[offset:end]), end if end < len(items) else 0


ALLOWANCE = rules.Allowance(5, 60 * rules.NS)
STATUS = frames.Status(
    breaker=ALLOWANCE,
    version="0.1",
    pid=42,
    mode="observe",
    loader="core",
    realtime=True,
    started_ns=1_000,
    armed_ns=2_000,
    now_ns=3_000,
    sensors=(
        frames.SensorStatus(
            name="process", attached=True, signals=("process.fork",), seen=7, lost={"ring": 2}
        ),
        frames.SensorStatus(name="cpu", attached=False, reason="no BTF"),
    ),
    events={"process.fork": 7},
    reflexes={"freeze/done": 1},
    latency=frames.Latency(bounds_ns=(10_000, 100_000), counts=(1, 0, 0), sum_ns=9_000),
    held={"freeze": 1},
    in_force=(
        frames.ActInForce(
            trace_id=bytes(range(16)),
            rule="fork-storm",
            act="freeze",
            cgroup=99,
            path="/storm",
            since_ns=2_500,
            until_ns=9_000,
        ),
    ),
)
