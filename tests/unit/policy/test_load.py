"""Real files, good and bad: what becomes of them, and what the reader is told."""

import os
from pathlib import Path

import pytest

from controlplane.link.config import Config, Export
from controlplane.policy import load
from controlplane.policy.errors import PolicyError
from controlplane.policy.load import config_of, load_config, policies_of, policy_files, read_bytes

POLICY = """\
apiVersion: reflexarc/v1
kind: Policy
metadata: {name: storm}
spec:
  signal: process.fork
  test: {kind: threshold, above: 500/s}
  ladder: [{act: observe}]
"""


def refusal(text: str) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        policies_of(text.encode(), "f.yaml")
    return caught.value


def test_a_policy_and_its_place() -> None:
    (found,) = policies_of(POLICY.encode(), "f.yaml")
    assert found.policy.metadata.name == "storm"
    assert found.document.line("$.spec.ladder[0].act") == 7


def test_several_in_one_file() -> None:
    found = policies_of(f"---\n{POLICY}---\n{POLICY.replace('storm', 'other')}---\n".encode(), "f.yaml")
    assert [entry.policy.metadata.name for entry in found] == ["storm", "other"]


def test_a_file_of_comments_holds_none() -> None:
    assert policies_of(b"# " + POLICY.replace("\n", "\n# ").encode(), "f.yaml") == []


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("apiVersion: reflexarc/v1\n", "", 1, "`apiVersion` is missing in the document"),
        ("reflexarc/v1", "reflexarc/v2", 1, "apiVersion must be reflexarc/v1"),
        ("reflexarc/v1", "[]", 1, "apiVersion must be reflexarc/v1"),
        ("kind: Policy\n", "", 1, "`kind` is missing in the document"),
        ("kind: Policy", "kind: Config", 2, "kind must be Policy"),
        ("kind: Policy", "kind: {}", 2, "kind must be Policy"),
        ("metadata: {name: storm}\n", "", 1, "`metadata` is missing in the document"),
        ("{name: storm}", "{nam: storm}", 3, "unknown key 'nam' in metadata"),
        ("{name: storm}", "{name: 5}", 3, "metadata.name must be text, not a whole number"),
        ("{name: storm}", "{name: }", 3, "metadata.name must be text, not empty"),
        ("  signal:", "  signals:", 5, "unknown key 'signals' in spec"),
        ("  signal: process.fork\n", "", 4, "`signal` is missing in spec"),
        ("  ladder: [{act: observe}]\n", "", 4, "`ladder` is missing in spec"),
        ("[{act: observe}]", "{act: observe}", 7, "spec.ladder must be a list, not a mapping"),
        ("act: observe", "act: freez", 7, "spec.ladder[0].act cannot be 'freez'"),
        ("act: observe", "act: observe, fore: 1s", 7, "unknown key 'fore' in spec.ladder[0]"),
        ("act: observe", "act: observe, for: 10", 7, "spec.ladder[0].for: 10 is not a duration"),
        ("act: observe", "act: observe, for: -1s", 7, "spec.ladder[0].for: '-1s' is not a duration"),
        ("act: observe", "act: observe, for: .nan", 7, "spec.ladder[0].for: nan is not a duration"),
        ("act: observe", "act: observe, after: .inf", 7, "spec.ladder[0].after: inf is not a duration"),
        ("kind: threshold", "kind: thresh", 6, "spec.test.kind cannot be 'thresh'"),
        ("kind: threshold, ", "", 6, "`kind` is missing in spec.test"),
        ("above: 500/s", "above: 500", 6, "spec.test.above: 500 has no unit"),
        ("above: 500/s", "above: -.inf", 6, "spec.test.above: -inf has no unit"),
        ("spec:", "spec:\n  mode: off_", 5, "spec.mode cannot be 'off_'"),
        ("spec:", "spec:\n  per: thread", 5, "spec.per cannot be 'thread'"),
        ("spec:", "spec:\n  cooldown: soon", 5, "spec.cooldown: 'soon' is not a duration"),
        ("spec:", "spec:\n  scope:\n    cgroup: [/a]", 6, "unknown key 'cgroup' in spec.scope"),
        (
            "spec:",
            "spec:\n  scope:\n    cgroups:\n    - /a\n    - 5",
            8,
            "spec.scope.cgroups[1] must be text, not a whole number",
        ),
        ("spec:", "spec:\n  scope: {node: yes}", 5, "spec.scope.node must be true or false, not text"),
    ],
)
def test_refused(old: str, new: str, line: int, message: str) -> None:
    assert old in POLICY
    error = refusal(POLICY.replace(old, new))
    assert (error.message, error.file, error.line) == (message, "f.yaml", line)


def test_lines_of_a_later_document_count_from_the_top_of_the_file() -> None:
    error = refusal(f"{POLICY}---\n{POLICY.replace('act: observe', 'act: x')}")
    assert str(error).startswith("f.yaml:15: spec.ladder[0].act cannot be 'x'")


@pytest.mark.parametrize("word", ["off", "observe", "enforce"])
def test_off_is_a_mode_and_not_a_boolean(word: str) -> None:
    (found,) = policies_of(POLICY.replace("spec:", f"spec:\n  mode: {word}").encode(), "f.yaml")
    assert found.policy.spec.mode == word


def test_a_configuration() -> None:
    text = b"mode: enforce\nrealtime: off\nprotect: [sshd]\nexport:\n  endpoint: http://[::1]:4317\n"
    assert config_of(text, "f.yaml") == Config(
        mode="enforce", realtime="off", protect=("sshd",), export=Export(endpoint="http://[::1]:4317")
    )


@pytest.mark.parametrize("text", ["apiVersion: reflexarc/v1\nkind: Config\n", "# mode: enforce\n"])
def test_a_configuration_that_sets_nothing(text: str) -> None:
    assert config_of(text.encode(), "f.yaml") == Config()


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 0, "is empty"),
        ("- mode\n", 1, "the document must be a mapping, not a list"),
        ("kind: Policy\n", 1, "kind must be Config"),
        ("mode: observe\n---\nmode: off\n", 3, "a configuration is one document"),
        ("mode: observe\nmods: off\n", 2, "unknown key 'mods' in the document"),
        ("mode: 5\n", 1, "mode must be text, not a whole number"),
        ("mode: enforced\n", 1, "mode cannot be 'enforced'"),
        ("mode: off\nbreaker_acts: -1\n", 2, "breaker_acts must be a whole number >= 1"),
        (
            "mode: off\nbreaker_acts: .inf\n",
            2,
            "breaker_acts must be a whole number, not a number that is not whole",
        ),
        ("mode: off\nexport:\n  endpoint: x\n", 3, "export.endpoint must begin with http:// or https://"),
        ("mode: off\nexport:\n  endpont: x\n", 3, "unknown key 'endpont' in export"),
        ("mode: off\nself_budget: 5\n", 2, "self_budget: 5 is not a share"),
        ("self_budget: 0.5%\n", 1, "self_budget must be at least 1%"),
        ("self_budget: 101%\n", 1, "self_budget: '101%' is more than the whole"),
        ("protect:\n- a\n- /b\n", 3, "protect[1] must be the name of an executable"),
    ],
)
def test_a_bad_configuration(text: str, line: int, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        config_of(text.encode(), "f.yaml")
    assert (caught.value.message, caught.value.line) == (message, line)


def test_a_named_configuration_must_exist(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="No such file") as caught:
        load_config(tmp_path / "none.yaml")
    assert caught.value.file == str(tmp_path / "none.yaml")


def test_the_default_configuration_need_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "DEFAULT_CONFIG", tmp_path / "reflexarc.yaml")
    assert load_config() == Config()
    (tmp_path / "reflexarc.yaml").write_text("mode: enforce\n")
    assert load_config().mode == "enforce"


def test_files_of_a_folder(tmp_path: Path) -> None:
    """As a ConfigMap is mounted: links into a hidden folder which is swapped."""
    data = tmp_path / "..2026"
    data.mkdir()
    for name in ("b.yaml", "a.yml", "notes.txt", ".c.yaml"):
        (data / name).write_text(POLICY)
        (tmp_path / name).symlink_to(data / name)
    assert policy_files(tmp_path) == [tmp_path / "a.yml", tmp_path / "b.yaml"]


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="No such file"):
        policy_files(tmp_path / "none")


def test_a_large_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    large = tmp_path / "large.yaml"
    large.touch()
    os.truncate(large, 10 * 1024**3)
    assert len(read_bytes(large)) == 1024 * 1024 + 1


def test_a_pipe_does_not_hold_up_the_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(PolicyError, match="not a regular file"):
        read_bytes(tmp_path / "pipe.yaml")


@pytest.mark.parametrize("name", [".", "none.yaml", "nul\0.yaml", "link.yaml"])
def test_what_cannot_be_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "link.yaml").symlink_to("link.yaml")
    with pytest.raises(PolicyError) as caught:
        read_bytes(tmp_path / name)
    assert caught.value.message


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("management:\n  adress: 127.0.0.1:1\n", 2, "did you mean `address`?"),
        ("management:\n  address: here\n", 2, "'here' is not HOST:PORT"),
        ("management:\n  address: 127.0.0.1:1\n", 1, "management has an address and no cert"),
        ("management:\n  connection_age_s: 0\n", 2, "must be a whole number >= 1"),
        ("management:\n  identities:\n    - {dns: a, role: root}\n", 3, "one of: admin, operator, viewer"),
        ("management:\n  identities:\n    - {role: admin}\n", 3, "must have one of spiffe, dns and subject"),
        (
            "management:\n  identities:\n    - {spiffe: 'spiffe://a/*', role: viewer}\n",
            3,
            "is not a SPIFFE id",
        ),
        ("management:\n  identities:\n    - {dns: a}\n", 3, "`role` is missing"),
        ("management:\n  viewer_group: [a]\n", 2, "must be text, not a list"),
    ],
)
def test_who_may_manage_is_said_with_line_and_hint(text: str, line: int, said: str) -> None:
    with pytest.raises(PolicyError) as caught:
        config_of(text.encode(), "reflexarc.yaml")
    assert caught.value.line == line
    assert said in str(caught.value)
