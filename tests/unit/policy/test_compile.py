"""From policies to rules: the integers that come out, and the policies that are refused for their meaning."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from controlplane.link.faults import problems
from controlplane.link.rules import (
    MAX_RULES,
    NS,
    Level,
    Rate,
    Rule,
    RuleSet,
    Scope,
    Step,
)
from controlplane.link.signals import BY_NAME
from controlplane.policy import compile as compiling
from controlplane.policy.compile import DEFAULTS, compile_folder, rules_of
from controlplane.policy.errors import PolicyError
from controlplane.policy.load import policies_of, policy_files, read_bytes

POLICY = """\
apiVersion: reflexarc/v1
kind: Policy
metadata: {name: storm}
spec:
  signal: process.fork
  per: cgroup
  scope: {cgroups: ["/kubepods.slice/**"]}
  test: {kind: threshold, above: 500/s, over: 200ms}
  ladder:
    - {act: freeze, for: 10s, after: 1s}
    - {act: kill, after: 5s}
  cooldown: 2m
  mode: enforce
"""
RULE = Rule(
    name="storm",
    signal="process.fork",
    per="cgroup",
    scope=Scope(cgroups=("/kubepods.slice/**",)),
    test=Rate(interval_ns=2_000_000, burst=100),
    ladder=(Step("freeze", after_ns=NS, for_ns=10 * NS), Step("kill", after_ns=5 * NS)),
    cooldown_ns=120 * NS,
    mode="enforce",
    origin="api",
)
VALUE = POLICY.replace("process.fork", "cpu.runq_delay").replace("above: 500/s, over: 200ms", "above: 50ms")


def compiled(text: str) -> Rule:
    (rule,) = rules_of(text.encode(), "f.yaml", "api")
    return rule


def test_every_key() -> None:
    assert compiled(POLICY) == RULE


def test_what_is_left_out_is_mild() -> None:
    rule = compiled(
        POLICY[: POLICY.index("  per:")]
        + "  test: {kind: threshold, above: 500/s}\n  ladder: [{act: observe}]\n"
    )
    assert (rule.mode, rule.per, rule.cooldown_ns, rule.scope) == ("observe", "cgroup", 60 * NS, Scope())


@pytest.mark.parametrize(
    ("test", "rate"),
    [
        ("above: 500/s", Rate(interval_ns=2_000_000, burst=50)),
        ("above: 500/s, over: 1s", Rate(interval_ns=2_000_000, burst=500)),
        ("above: 1/week, over: 0s", Rate(interval_ns=604_800 * NS, burst=0)),
        ("above: 3/s, over: 100ms", Rate(interval_ns=333_333_333, burst=1)),
        ("above: 10/min", Rate(interval_ns=6 * NS, burst=1)),
        ("above: 1/week", Rate(interval_ns=604_800 * NS, burst=1)),
        ("above: 1000000000/s", Rate(interval_ns=1, burst=100_000_000)),
    ],
)
def test_rates(test: str, rate: Rate) -> None:
    assert compiled(POLICY.replace("above: 500/s, over: 200ms", test)).test == rate


def test_levels() -> None:
    assert compiled(VALUE).test == Level(50_000_000)


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("process.fork", "process.frok", 5, "spec.signal: unknown signal `process.frok`"),
        ("storm", "Storm", 3, "metadata.name: must be 1 to 63 of a-z, 0-9 and -"),
        (
            'cgroups: ["/kubepods.slice/**"]',
            "node: false",
            7,
            "spec.scope: an enforcing policy needs a scope",
        ),
        (
            '  scope: {cgroups: ["/kubepods.slice/**"]}\n',
            "",
            4,
            "spec.scope: an enforcing policy needs a scope",
        ),
        (
            '"/kubepods.slice/**"',
            '"/**"',
            7,
            "spec.scope.cgroups[0]: names no cgroup in particular, and the policy enforces",
        ),
        ('"/kubepods.slice/**"', "kubepods.slice", 7, "spec.scope.cgroups[0]: must begin with /"),
        (
            "above: 500/s",
            "above: 50ms",
            8,
            "spec.test.above: '50ms' is not a rate, and process.fork counts events",
        ),
        (
            "above: 500/s",
            "above: 0/s",
            8,
            "spec.test.above: '0/s' is not a rate, and process.fork counts events",
        ),
        (
            "above: 500/s",
            "above: 2000000001/s",
            8,
            "spec.test.above: must be between 1/week and 1000000000/s",
        ),
        ("over: 200ms", "over: 8d", 8, "spec.test.over: must be at most 7d"),
        ("act: freeze, for: 10s", "act: freeze", 10, "spec.ladder[0].for: a freeze needs an end, at most 7d"),
        (
            "act: freeze, for: 10s",
            "act: freeze, for: 0s",
            10,
            "spec.ladder[0].for: a freeze needs an end, at most 7d",
        ),
        ("act: kill", "act: kill, for: 1s", 11, "spec.ladder[1].for: kill has nothing to undo"),
        ("act: kill, after: 5s", "act: kill", 11, "spec.ladder[1].after: comes before the step above it"),
        ("act: freeze", "act: freeze, grace: 1s", 10, "spec.ladder[0].grace: freeze gives no grace"),
        ("act: kill", "act: kill, grace: 6m", 11, "spec.ladder[1].grace: must be at most 5m"),
        ("cooldown: 2m", "cooldown: 8d", 12, "spec.cooldown: must be between 0s and 7d"),
        ("cooldown: 2m", "quiet: 500ms", 12, "spec.quiet: must be between 1s and 7d"),
        (
            "cooldown: 2m",
            "breaker: {acts: 0, within: 1m}",
            12,
            "spec.breaker.acts: must be between 1 and 1000",
        ),
        (
            "cooldown: 2m",
            "breaker: {acts: 3, within: 2h}",
            12,
            "spec.breaker.within: must be between 1s and 1h",
        ),
        ("cooldown: 2m", "breaker: {acts: 3}", 12, "`within` is missing in spec.breaker"),
        ("cooldown: 2m", "breaker: {acts: 3, in: 1m}", 12, "unknown key 'in' in spec.breaker"),
        ("cooldown: 2m", "on_loss: shut", 12, "spec.on_loss cannot be 'shut'"),
        ("cooldown: 2m", "protect: [a/b]", 12, "spec.protect[0]: is neither a program nor a cgroup"),
        ("cooldown: 2m", "protect: [db, /**]", 12, "spec.protect[1]: protects every cgroup"),
        ("cooldown: 2m", "protect: [/a/**b]", 12, "spec.protect[0]: `**` must be a component of its own"),
    ],
)
def test_refused(old: str, new: str, line: int, message: str) -> None:
    assert old in POLICY
    with pytest.raises(PolicyError) as caught:
        compiled(POLICY.replace(old, new))
    assert (caught.value.message, caught.value.file, caught.value.line) == (message, "f.yaml", line)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("50ms", "500/s", "spec.test.above: '500/s' is not a duration, and cpu.runq_delay is measured in ns"),
        ("50ms", "0ms", "spec.test.above: must be above zero and below 2^63"),
        ("50ms", "50ms, over: 1s", "spec.test.over: cpu.runq_delay is tested value by value"),
    ],
)
def test_refused_for_a_value(old: str, new: str, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        compiled(VALUE.replace(old, new))
    assert (caught.value.message, caught.value.line) == (message, 8)


def test_a_ladder_has_one_to_eight_steps() -> None:
    head = POLICY[: POLICY.index("    - {act: freeze")]
    assert len(compiled(head + "    - {act: observe}\n" * 8).ladder) == 8
    with pytest.raises(PolicyError, match="more than 8"):
        compiled(head + "    - {act: observe}\n" * 9)
    with pytest.raises(PolicyError, match="no step"):
        compiled(head.replace("ladder:", "ladder: []"))


def test_hints_name_the_signal_that_was_meant() -> None:
    with pytest.raises(PolicyError) as caught:
        compiled(POLICY.replace("process.fork", "process.frok"))
    assert caught.value.hint == "did you mean `process.fork`?"


def test_the_whole_node_must_be_asked_for() -> None:
    rule = compiled(POLICY.replace('cgroups: ["/kubepods.slice/**"]', "node: true"))
    assert rule.scope == Scope(node=True)


def test_observing_everything_does_not_allow_to_enforce_on_everything() -> None:
    rule = compiled(
        POLICY.replace('  scope: {cgroups: ["/kubepods.slice/**"]}\n', "").replace("enforce", "observe")
    )
    assert problems(rule) == []
    assert problems(msgspec.structs.replace(rule, mode="enforce"))


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(POLICY)
    (tmp_path / "b.yaml").write_text(f"# second\n{POLICY}")
    with pytest.raises(PolicyError) as caught:
        compile_folder(tmp_path)
    assert (caught.value.file, caught.value.line) == (str(tmp_path / "b.yaml"), 4)
    assert caught.value.message == f"the name `storm` is taken by {tmp_path / 'a.yaml'}:3"


def test_a_folder_adds_to_the_default_table(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(POLICY)
    rules = {rule.name: rule.origin for rule in compile_folder(tmp_path)}
    assert rules["storm"] == str(tmp_path / "a.yaml")
    assert rules["fork-storm"] == "default"
    assert [rule.name for rule in compile_folder(tmp_path, defaults=False)] == ["storm"]


def test_a_file_may_replace_a_default(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(POLICY.replace("storm", "fork-storm"))
    (rule,) = [rule for rule in compile_folder(tmp_path) if rule.name == "fork-storm"]
    assert rule.mode == "enforce"


def test_too_many_policies(tmp_path: Path) -> None:
    many = [POLICY.replace("storm", f"storm-{number}") for number in range(MAX_RULES + 1)]
    (tmp_path / "a.yaml").write_text("---\n".join(many[:-1]))
    assert len(compile_folder(tmp_path, defaults=False)) == MAX_RULES
    (tmp_path / "b.yaml").write_text(many[-1])
    with pytest.raises(PolicyError, match="more than the 256"):
        compile_folder(tmp_path, defaults=False)


def test_only_the_default_folder_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PolicyError, match="No such file"):
        compile_folder(tmp_path / "none")
    monkeypatch.setattr(compiling, "DEFAULT_FOLDER", tmp_path / "none")
    assert {rule.origin for rule in compile_folder(tmp_path / "none")} == {"default"}


@pytest.mark.parametrize("file", policy_files(DEFAULTS), ids=lambda file: file.stem)
def test_the_default_table_observes_and_explains_itself(file: Path) -> None:
    (found,) = policies_of(read_bytes(file), str(file))
    (rule,) = rules_of(read_bytes(file), str(file), "default")
    assert rule.name == file.stem
    assert rule.mode in ("observe", "off")
    assert found.policy.metadata.description
    assert all(msgspec.structs.astuple(found.policy.metadata.reasons))


def test_the_default_table_covers_every_signal() -> None:
    rules = rules_of(b"---\n".join(read_bytes(file) for file in policy_files(DEFAULTS)), "all", "default")
    assert {rule.signal for rule in rules} == set(BY_NAME)


def compiler(*arguments: str) -> tuple[int, RuleSet]:
    """The compiler as the arc runs it."""
    out = os.memfd_create("rules", 0)
    command = [sys.executable, "-m", "controlplane.policy.compile", "--out-fd", str(out), *arguments]
    done = subprocess.run(command, pass_fds=[out], capture_output=True, check=False)
    assert (done.stdout, done.stderr) == (b"", b"")
    with os.fdopen(out, "rb") as file:
        file.seek(0)
        return done.returncode, msgspec.msgpack.decode(file.read(), type=RuleSet)


def test_the_compiler_writes_rules(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(POLICY)
    status, written = compiler("--no-defaults", str(tmp_path))
    assert status == 0
    assert written == RuleSet(rules=(msgspec.structs.replace(RULE, origin=str(tmp_path / "a.yaml")),))


def test_the_compiler_writes_why_not(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(POLICY.replace("kill", "kil"))
    status, written = compiler(str(tmp_path))
    assert status == 3
    assert written == RuleSet(
        error=f"{tmp_path / 'a.yaml'}:11: spec.ladder[1].act cannot be 'kil'\nhint: did you mean `kill`?"
    )
