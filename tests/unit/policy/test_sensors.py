"""sensors.d is taken and numbered, or refused with file and line, and where others can write into it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from controlplane.arc.kernel.events import Signal as Number
from controlplane.link.signals import Signal
from controlplane.link.user_sensors import FIRST_NUMBER, MAX_SIGNALS
from controlplane.policy.errors import PolicyError
from controlplane.policy.sensors import DEFAULT_FOLDER, require_private, sensor_of, user_sensors

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files must belong to root to be taken")


def described(*signals: str, name: str = "x") -> bytes:
    lines = "".join(f"    - {signal}\n" for signal in signals)
    head = f"apiVersion: reflexarc/v1\nkind: Sensor\nmetadata: {{name: {name}}}\n"
    return f"{head}spec:\n  signals:\n{lines}".encode()


def refused(data: bytes) -> str:
    with pytest.raises(PolicyError) as caught:
        sensor_of(data, "x.yaml", "/x.bpf.c", FIRST_NUMBER, set())
    return str(caught.value)


@pytest.fixture
def install(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, *signals: str) -> Path:
        (tmp_path / f"{name}.bpf.c").write_text("")
        (tmp_path / f"{name}.yaml").write_bytes(described(*signals, name=name))
        return tmp_path

    return write


def test_the_numbers_are_those_of_the_contract() -> None:
    assert Number.USER.value == FIRST_NUMBER
    assert Number.SIGNALS.value == FIRST_NUMBER + MAX_SIGNALS


@needs_root
def test_sensors_are_read_in_order_and_numbered(install: Callable[..., Path]) -> None:
    install("b", "{name: b.one, kind: count}")
    folder = install("a", "{name: a.one, kind: value, unit: ns, key: device}", "{name: a.two, kind: count}")
    first, second = user_sensors(folder)
    assert first.signals[0] == Signal("a.one", "a", "value", "ns", "", "device")
    assert first.numbers == {"a.one": FIRST_NUMBER, "a.two": FIRST_NUMBER + 1}
    assert second.numbers == {"b.one": FIRST_NUMBER + 2}
    source = first.source("core")
    assert (source.path, source.compiler) == (str(folder / "a.bpf.c"), "clang")
    assert source.numbers == {"SIGNAL_A_ONE": FIRST_NUMBER, "SIGNAL_A_TWO": FIRST_NUMBER + 1}
    assert second.source("bcc").compiler == "bcc"


def test_the_default_folder_may_be_missing() -> None:
    if DEFAULT_FOLDER.exists():
        pytest.skip(f"{DEFAULT_FOLDER} exists here")
    assert user_sensors(DEFAULT_FOLDER) == ()


def test_a_folder_that_is_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="No such file"):
        user_sensors(tmp_path / "none")


@needs_root
@pytest.mark.parametrize("missing", ["yaml", "bpf.c"])
def test_source_and_description_belong_together(install: Callable[..., Path], missing: str) -> None:
    folder = install("x", "{name: x.one, kind: count}")
    (folder / f"x.{missing}").unlink()
    with pytest.raises(PolicyError):
        user_sensors(folder)


@needs_root
def test_two_sensors_cannot_share_a_name(install: Callable[..., Path]) -> None:
    install("a", "{name: own.one, kind: count}")
    with pytest.raises(PolicyError, match=r"b\.yaml:6: the name `own\.one` is taken"):
        user_sensors(install("b", "{name: own.one, kind: count}"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(described(), "must be a list", id="no-list"),
        pytest.param(described().replace(b"signals:", b"signals: []"), "names no signal", id="no-signals"),
        pytest.param(described("{name: process.fork, kind: count}"), "`process.fork` is taken", id="taken"),
        pytest.param(described("{name: fork, kind: count}"), "two words", id="one-word"),
        pytest.param(described("{name: own.One, kind: count}"), "two words", id="upper-case"),
        pytest.param(described("{name: own.one, kind: count, unit: ns}"), "has no unit", id="unit"),
        pytest.param(described("{name: own.one, kind: value}"), "needs a unit", id="no-unit"),
        pytest.param(described("{name: own.one, kind: value, unit: kg}"), "kg", id="unknown-unit"),
        pytest.param(described("{name: own.one, kind: count, key: pod}"), "pod", id="unknown-key"),
        pytest.param(described("{name: own.one, knd: count}"), "knd", id="unknown-word"),
        pytest.param(described("{name: a.b, kind: count}", name="y"), "must be x", id="other-name"),
        pytest.param(
            described(*(f"{{name: own.s{n}, kind: count}}" for n in range(MAX_SIGNALS + 1))),
            f"more than {MAX_SIGNALS}",
            id="too-many",
        ),
        pytest.param(b"kind: Policy\n", "apiVersion", id="no-version"),
        pytest.param(described("{name: a.b, kind: count}") + b"---\na: b\n", "one document", id="two"),
    ],
)
def test_a_bad_description_is_refused(data: bytes, message: str) -> None:
    assert message in refused(data)


@pytest.mark.parametrize("name", ["cpu", "Own", "a-b"])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(PolicyError):
        sensor_of(described("{name: a.b, kind: count}", name=name), "f", f"/{name}.bpf.c", 25, set())


@needs_root
@pytest.mark.parametrize("what", ["file", "folder", "owner", "above"])
def test_what_others_can_write_is_refused(tmp_path: Path, what: str) -> None:
    (tmp_path / "d").mkdir()
    inner = tmp_path / "d/x.bpf.c"
    inner.write_text("")
    require_private(inner)
    match what:
        case "file":
            inner.chmod(0o664)
        case "folder":
            inner.parent.chmod(0o777)
        case "owner":
            os.chown(inner, 65534, -1)
        case "above":
            tmp_path.chmod(0o777)
    with pytest.raises(PolicyError, match="root"):
        require_private(inner)


@needs_root
def test_a_link_is_followed_and_its_folder_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "real").write_text("")
    link = tmp_path / "open/x.yaml"
    link.symlink_to(tmp_path / "real")
    require_private(link)
    link.parent.chmod(0o777)
    with pytest.raises(PolicyError):
        require_private(link)


@needs_root
def test_the_folder_itself_cannot_be_shared_like_tmp(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with pytest.raises(PolicyError):
        user_sensors(tmp_path)
