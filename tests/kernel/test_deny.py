"""Denials on a real kernel: keyed by cgroups the test made, counted, lifted, and gone with the daemon."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controlplane.arc.kernel.denials import NUMBERS, Denials
from controlplane.arc.kernel.events import DENIAL_KEY
from controlplane.arc.kernel.libbpf import Map
from controlplane.link.records import Change, Effect, GuardRefused, Intent, Outcome, Undo
from controlplane.link.rules import NS, Deniable, Rule, Step
from tests.kernel.conftest import FORKER, TestCgroup, Turned, fork_in, fork_rule
from tests.kernel.test_recover import intent_on, leave_journal

Turn = Callable[..., Turned]
BRIEF_NS = 200_000_000
ASKER = """\
import os, socket, sys
print("ready", flush=True)
def fork():
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
def thread():
    import threading
    made = threading.Thread(target=lambda: None)
    made.start()
    made.join()
def execute():
    os.posix_spawn("/bin/true", ["true"], {})
    os.wait()
def connect():
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("127.0.0.1", 9))
def connect_here():
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).connect(sys.argv[1])
for line in sys.stdin:
    try:
        globals()[line.strip()]()
        print("done", flush=True)
    except OSError as error:
        print(error.errno, flush=True)
"""
"""Does what it is told, and says `done` or the number of the error."""
AGAIN, NOT_PERMITTED = "11", "1"


class Asker:
    """A process in a cgroup that tries what it is told."""

    def __init__(self, cgroup: TestCgroup, socket: Path) -> None:
        self._process = cgroup.run(sys.executable, "-c", ASKER, str(socket), stdout=subprocess.PIPE)
        self.pid = self._process.pid
        assert self._answer() == "ready"

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode().strip()

    def ask(self, what: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what}\n".encode())
        self._process.stdin.flush()
        return self._answer()


@pytest.fixture
def denials() -> Iterator[Denials]:
    made = Denials()
    made.follow(wanted=True)
    if made.reason:
        pytest.skip(f"no BPF LSM here: {made.reason}")
    yield made
    made.close()


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "none"


@pytest.mark.parametrize(
    ("what", "refused", "error", "left"),
    [
        ("fork", "fork", AGAIN, ("thread", "connect")),
        ("exec", "execute", NOT_PERMITTED, ("fork", "connect")),
        ("connect", "connect", NOT_PERMITTED, ("fork", "execute")),
    ],
)
def test_what_is_denied_and_nothing_else(
    denials: Denials,
    cgroup: TestCgroup,
    socket: Path,
    what: Deniable,
    refused: str,
    error: str,
    left: list[str],
) -> None:
    asker = Asker(cgroup, socket)
    assert asker.ask(refused) == "done"
    denials.must_deny(cgroup.id, what)
    assert denials.must_have(cgroup.id, what)
    assert [asker.ask(refused), asker.ask(refused)] == [error, error]
    assert [asker.ask(each) for each in left] == ["done"] * len(left)
    assert denials.counted()[what] == 2
    assert denials.lift(cgroup.id, what) == 2
    assert asker.ask(refused) == "done"
    assert (denials.lift(cgroup.id, what), denials.counted()[what]) == (None, 2)


def test_a_socket_of_the_file_system_is_let_be(denials: Denials, cgroup: TestCgroup, socket: Path) -> None:
    asker = Asker(cgroup, socket)
    denials.must_deny(cgroup.id, "connect")
    assert asker.ask("connect_here") == "2"  # ENOENT: it was looked for


def test_other_cgroups_are_not_touched_and_those_below_are(
    denials: Denials, make_cgroup: Callable[[], TestCgroup], socket: Path
) -> None:
    denied, other = make_cgroup(), make_cgroup()
    below = TestCgroup(denied.directory / "below", f"{denied.path}/below")
    try:
        askers = Asker(other, socket), Asker(below, socket)
        denials.must_deny(denied.id, "fork")
        assert [asker.ask("fork") for asker in askers] == ["done", AGAIN]
    finally:
        below.remove()


def test_the_daemon_itself_is_spared(denials: Denials, cgroup: TestCgroup, socket: Path) -> None:
    asker, other = Asker(cgroup, socket), Asker(cgroup, socket)
    denials.must_deny(cgroup.id, "fork")
    denials.spare((asker.pid,))
    assert [asker.ask("fork"), other.ask("fork")] == ["done", AGAIN]
    assert denials.lift(cgroup.id, "fork") == 1


def test_the_root_is_never_asked_about(
    denials: Denials, mount: Path, cgroup: TestCgroup, socket: Path
) -> None:
    """In an object whose map has an entry for the root: a denial would be seen by this test at once."""
    asker = Asker(cgroup, socket)
    root = mount.stat().st_ino
    assert denials._object is not None
    entries = Map(denials._object.map_fd("denials"), DENIAL_KEY.size, 8)
    entries.must_update(DENIAL_KEY.pack(root, NUMBERS["connect"], 0), bytes(8))
    try:
        assert asker.ask("connect") == "done"
        assert denials.counted()["connect"] == 0
    finally:
        entries.must_delete(DENIAL_KEY.pack(root, NUMBERS["connect"], 0))


def deny_rule(cgroup: TestCgroup, *whats: Deniable, for_ns: int = BRIEF_NS, **changes: object) -> Rule:
    # The asker forks, too: without a cooldown it would be denied anew.
    ladder = (Step("deny", for_ns=for_ns, what=what) for what in whats)
    return fork_rule(cgroup, *ladder, **({"cooldown_ns": 60 * NS} | changes))


@pytest.mark.usefixtures("denials")
def test_a_whole_reflex(turn: Turn, cgroup: TestCgroup, socket: Path) -> None:
    turned = turn(deny_rule(cgroup, "connect", for_ns=60 * NS))
    asker = Asker(cgroup, socket)
    fork_in(cgroup.run(*FORKER), 5)
    turned.await_record(Effect)
    assert turned.of(Intent)[0].changes == (Change("connect", "allowed", "denied"),)
    assert turned.of(Outcome)[0].ok
    assert [asker.ask("connect"), asker.ask("fork")] == [NOT_PERMITTED, "done"]
    assert turned.arc.status().denials == {"fork": 0, "exec": 0, "connect": 1}
    turned.stop()
    (undo,) = turned.of(Undo)
    assert (undo.ok, undo.error, undo.detail) == (True, "", "connections denied: 1")
    assert asker.ask("connect") == "done"


@pytest.mark.usefixtures("denials")
def test_it_ends_by_itself(turn: Turn, cgroup: TestCgroup, socket: Path) -> None:
    turned = turn(deny_rule(cgroup, "exec"))
    asker = Asker(cgroup, socket)
    fork_in(cgroup.run(*FORKER), 5)
    undo = turned.await_record(Undo)
    assert (undo.act, undo.reason, undo.detail) == ("deny", "timer", "executions denied: 0")
    assert asker.ask("execute") == "done"


@pytest.mark.usefixtures("denials")
def test_two_rules_share_a_denial(turn: Turn, cgroup: TestCgroup, socket: Path) -> None:
    brief = deny_rule(cgroup, "connect", name="brief")
    longer = deny_rule(cgroup, "connect", "exec", name="longer", for_ns=60 * NS)
    turned = turn(brief, longer)
    asker = Asker(cgroup, socket)
    fork_in(cgroup.run(*FORKER), 5)
    undo = turned.await_record(Undo)
    assert (undo.rule, undo.error, undo.detail) == ("brief", "shared", "")
    assert [asker.ask("connect"), asker.ask("execute")] == [NOT_PERMITTED, NOT_PERMITTED]
    turned.stop()
    assert [asker.ask("connect"), asker.ask("execute")] == ["done", "done"]


@pytest.mark.usefixtures("denials")
def test_without_a_policy_that_enforces_it_the_kernel_is_not_asked(turn: Turn, cgroup: TestCgroup) -> None:
    turned = turn(deny_rule(cgroup, "fork"), mode="observe")
    fork_in(cgroup.run(*FORKER), 5)
    assert turned.await_record(Intent).mode == "observe"
    assert turned.arc._denials.reason == "no enforcing policy names deny"


def test_where_it_is_absent_the_step_is_refused(
    turn: Turn, cgroup: TestCgroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controlplane.arc.kernel.denials.why_absent", lambda: "there is none")
    turned = turn(deny_rule(cgroup, "fork"))
    fork_in(cgroup.run(*FORKER), 5)
    refused = turned.await_record(GuardRefused)
    assert (refused.act, refused.guard, refused.detail) == ("deny", "absent", "there is none")


def test_an_object_that_cannot_be_loaded_leaves_a_reason(tmp_path: Path) -> None:
    (tmp_path / "deny.bpf.o").write_bytes(b"nonsense")
    denials = Denials(str(tmp_path / "deny.bpf.o"))
    assert denials.reason
    with pytest.raises(OSError):
        denials.must_deny(1, "fork")


DYING = """\
import os, signal, sys
from controlplane.arc.kernel.denials import Denials
denials = Denials()
denials.follow(wanted=True)
denials.must_deny(int(sys.argv[1]), "connect")
print(denials.reason or "denied", flush=True)
sys.stdin.read()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.usefixtures("denials")
def test_a_denial_dies_with_the_daemon(cgroup: TestCgroup, socket: Path) -> None:
    asker = Asker(cgroup, socket)
    command = [sys.executable, "-c", DYING, str(cgroup.id)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdin is not None
        assert daemon.stdout.readline() == "denied\n"
        assert asker.ask("connect") == NOT_PERMITTED
        daemon.stdin.close()
        daemon.wait()
    assert asker.ask("connect") == "done"


def test_the_next_daemon_has_nothing_left_to_lift(turn: Turn, cgroup: TestCgroup, tmp_path: Path) -> None:
    left = intent_on(cgroup, act="deny", changes=(Change("connect", "allowed", "denied"),))
    leave_journal(tmp_path, left)
    (undo,) = turn().of(Undo)
    assert (undo.act, undo.reason, undo.ok, undo.error) == ("deny", "restart", True, "")
