"""Programs in policies: as written, what is refused with which words, and which files may name any."""

import os
from pathlib import Path

import pytest

from controlplane.link.hooks import NS, Hook
from controlplane.link.rules import Step
from controlplane.policy.compile import compile_folder, compile_policies, rules_of
from controlplane.policy.errors import PolicyError
from controlplane.policy.load import policies_of

POLICY = """\
apiVersion: reflexarc/v1
kind: Policy
metadata: {name: storm}
spec:
  signal: process.fork
  scope: {cgroups: ["/a"]}
  test: {kind: threshold, above: 500/s}
  ladder:
    - {STEP}
"""
TELL = 'act: hook, run: ["/usr/local/bin/tell", "--now"]'


def steps(step: str) -> tuple[Step, ...]:
    """Of a policy in a file of root's."""
    (rule,) = compile_policies(
        policies_of(POLICY.replace("STEP", step).encode(), "f.yaml", programs=True), "f.yaml"
    )
    return rule.ladder


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (TELL, Step("hook", hook=Hook(("/usr/local/bin/tell", "--now")))),
        (
            f"{TELL}, undo: [/bin/untell], timeout: 250ms, as: ticket-bot, for: 5m, after: 1s",
            Step(
                "hook",
                after_ns=NS,
                for_ns=300 * NS,
                hook=Hook(("/usr/local/bin/tell", "--now"), ("/bin/untell",), NS // 4, "ticket-bot"),
            ),
        ),
        ("act: evidence, after: 1s", Step("evidence", after_ns=NS)),
    ],
)
def test_steps(step: str, expected: Step) -> None:
    assert steps(step) == (expected,)


@pytest.mark.parametrize(
    ("step", "message", "hint"),
    [
        ("act: hook", "spec.ladder[0]: a hook needs a program to run", 'run: ["/usr/local/bin/tell"]'),
        ("act: hook, run: []", "spec.ladder[0].run: must begin with the absolute path of a program", "shell"),
        ("act: hook, run: [tell]", "spec.ladder[0].run: must begin with the absolute path", "/usr/local/bin"),
        ("act: hook, run: tell", "spec.ladder[0].run must be a list, not text", ""),
        (f"{TELL}, undo: [untell], for: 1s", "spec.ladder[0].undo: must begin with the absolute path", ""),
        (f"{TELL}, undo: [/bin/untell]", "spec.ladder[0].for: a hook with `undo` needs an end", "for: 5m"),
        (f"{TELL}, for: 5m", "spec.ladder[0].for: a hook without `undo` has nothing to undo", "leave `for`"),
        (f"{TELL}, timeout: 2m", "spec.ladder[0].timeout: must be above zero and at most 1m", ""),
        (f"{TELL}, timeout: 0s", "spec.ladder[0].timeout: must be above zero and at most 1m", ""),
        (f"{TELL}, timeout: 5", "spec.ladder[0].timeout: 5 is not a duration", "30s"),
        (f'{TELL}, as: "../root"', "spec.ladder[0].as: is not the name of an account", ""),
        (f"{TELL}, grace: 1s", "spec.ladder[0].grace: hook gives no grace", ""),
        (f"{TELL}, max: 5", "spec.ladder[0].max: is not what hook sets", "hook sets nothing"),
        ('act: hook, run: ["/bin/x", "a\\nb"]', "spec.ladder[0].run: has characters that cannot", ""),
        (f"act: hook, run: [/bin/x{', y' * 32}]", "spec.ladder[0].run: must be at most 32 words", ""),
        (f"act: hook, run: [/bin/{'x' * 1024}]", "of 1024 characters together", ""),
        ("act: freeze, for: 1s, run: [/bin/x]", "spec.ladder[0].run: freeze runs no program", "act: hook"),
        ("act: freeze, for: 1s, as: root", "spec.ladder[0].run: freeze runs no program", "act: hook"),
        ("act: evidence, for: 1s", "spec.ladder[0].for: evidence has nothing to undo", "leave `for` out"),
        ("act: reclaim, amount: 1MiB, for: 1s", "spec.ladder[0].for: reclaim has nothing to undo", ""),
    ],
)
def test_refused(step: str, message: str, hint: str) -> None:
    with pytest.raises(PolicyError) as caught:
        steps(step)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.line == 9


def test_what_comes_by_the_api_may_name_no_program() -> None:
    with pytest.raises(PolicyError) as caught:
        rules_of(POLICY.replace("STEP", TELL).encode(), "f.yaml", "api")
    assert "spec.ladder[0].run: names a program, which only a policy file may" in caught.value.message
    assert "owned by root" in caught.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize(
    ("owner", "mode", "taken"),
    [(0, 0o644, True), (0, 0o600, True), (0, 0o664, False), (0, 0o646, False), (65534, 0o644, False)],
)
def test_only_a_file_that_nobody_else_can_write_may(
    tmp_path: Path, owner: int, mode: int, *, taken: bool
) -> None:
    file = tmp_path / "tell.yaml"
    file.write_text(POLICY.replace("STEP", TELL))
    os.chown(file, owner, -1)
    file.chmod(mode)
    if taken:
        (rule,) = compile_folder(tmp_path, defaults=False)
        assert rule.ladder[0].hook is not None
    else:
        with pytest.raises(PolicyError, match="root's alone to write"):
            compile_folder(tmp_path, defaults=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_without_a_program_any_file_will_do(tmp_path: Path) -> None:
    file = tmp_path / "freeze.yaml"
    file.write_text(POLICY.replace("STEP", "act: freeze, for: 1s"))
    os.chown(file, 65534, -1)
    assert len(compile_folder(tmp_path, defaults=False)) == 1
