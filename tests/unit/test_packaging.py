"""What is handed out is whole: a wheel feels, a source distribution builds, objects are made when due."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OBJECTS = "controlplane/arc/kernel/objects"
NEEDED = ("bpf", "controlplane", "LICENSE", "README.md", "pyproject.toml", "setup.py")

TRIVIAL = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
SEC("tp_btf/sched_process_exit") int feel(void *context) { return 0; }
char terms[] SEC("license") = "GPL";
"""


def sensors() -> set[str]:
    """Each in two variants; in one the contract, which is never loaded, and deny, which adds up nothing."""
    names = {path.name.removesuffix(".bpf.c") for path in (ROOT / "bpf").glob("*.bpf.c")}
    both = names - {"contract", "deny"}
    return {f"{name}.bpf.o" for name in names} | {f"{name}.nofetch.bpf.o" for name in both}


def sources() -> set[str]:
    return {f"source/{path.name}" for path in (ROOT / "bpf").glob("*.[ch]")} | {"source/build"}


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def clean_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a fresh clone has: the sources, nothing built."""
    tree = tmp_path_factory.mktemp("tree")
    unbuilt = shutil.ignore_patterns("__pycache__", "objects", "*.egg-info")
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=unbuilt)
        else:
            shutil.copy(ROOT / name, tree / name)
    return tree


@pytest.fixture(scope="module")
def wheel(clean_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by way of the source distribution, as `python -m build` does it."""
    out = tmp_path_factory.mktemp("dist")
    call = "from setuptools import build_meta as b; import sys; b.build_{}(sys.argv[1])"
    run(sys.executable, "-c", call.format("sdist"), out, cwd=clean_tree)
    (source,) = out.glob("*.tar.gz")
    run("tar", "-xzf", source, cwd=out)
    unpacked = out / source.name.removesuffix(".tar.gz")
    run(sys.executable, "-c", call.format("wheel"), out, cwd=unpacked)
    (built,) = out.glob("*.whl")
    return built


@pytest.mark.timeout(120)
def test_wheel_carries_what_a_daemon_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name for name in names if name.startswith(OBJECTS)} == {
        f"{OBJECTS}/{name}" for name in sensors() | sources()
    }
    assert "controlplane/py.typed" in names
    defaults = {
        f"controlplane/policy/defaults/{path.name}"
        for path in (ROOT / "controlplane/policy/defaults").iterdir()
    }
    assert defaults <= names
    assert not {name for name in names if name.startswith(("tests/", "bpf/", "protos/"))}


@pytest.mark.timeout(120)
def test_wheel_installs_and_its_command_starts(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", tmp_path, cwd=tmp_path)
    # Dependencies come from the environment under test: what is tried here is our wheel, not the network.
    (site,) = tmp_path.glob("lib/python*/site-packages")
    (site / "outer.pth").write_text(next(path for path in sys.path if path.endswith("site-packages")))
    run(
        tmp_path / "bin/pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--ignore-installed",
        wheel,
        cwd=tmp_path,
    )
    where = run(
        tmp_path / "bin/python", "-c", "import controlplane; print(controlplane.__file__)", cwd=tmp_path
    )
    assert Path(where.strip()).is_relative_to(site)
    assert {path.name for path in (site / OBJECTS).glob("*.o")} == sensors()
    assert "reflexarc" in run(tmp_path / "bin/reflexarc", "--version", cwd=tmp_path)


def build(tree: Path, out: Path) -> list[str]:
    """Sources that were compiled."""
    printed = run(sys.executable, tree / "build.py", out, cwd=tree)
    return [line.split()[-1] for line in printed.splitlines()]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of two sensors beside the script that builds them."""
    shutil.copy(ROOT / "bpf/build.py", tmp_path)
    for name in ("one", "two"):
        (tmp_path / f"{name}.bpf.c").write_text(TRIVIAL)
    (tmp_path / "shared.h").write_text("")
    return tmp_path


def touch(path: Path) -> None:
    """Make a file newer than everything built so far, whatever the clock's step."""
    later = path.stat().st_mtime_ns + 10**9 * 3600
    os.utime(path, ns=(later, later))


def test_objects_are_built_once(tree: Path) -> None:
    assert build(tree, tree / "out") == ["one.bpf.c", "two.bpf.c"]
    assert build(tree, tree / "out") == []


def test_changed_source_is_built_alone(tree: Path) -> None:
    build(tree, tree / "out")
    touch(tree / "two.bpf.c")
    assert build(tree, tree / "out") == ["two.bpf.c"]


def test_changed_header_builds_everything(tree: Path) -> None:
    build(tree, tree / "out")
    touch(tree / "shared.h")
    assert build(tree, tree / "out") == ["one.bpf.c", "two.bpf.c"]


def test_object_without_a_source_is_removed(tree: Path) -> None:
    build(tree, tree / "out")
    (tree / "one.bpf.c").unlink()
    build(tree, tree / "out")
    assert [path.name for path in (tree / "out").glob("*.o")] == ["two.bpf.o"]


def test_sources_lie_beside_the_objects_for_compilers_at_run_time(tree: Path) -> None:
    build(tree, tree / "out")
    (tree / "one.bpf.c").unlink()
    (tree / "shared.h").write_text("/* changed */")
    build(tree, tree / "out")
    beside = tree / "out/source"
    assert {path.name for path in beside.iterdir()} == {"build", "shared.h", "two.bpf.c"}
    assert (beside / "shared.h").read_text() == "/* changed */"


def test_broken_source_fails_and_leaves_nothing(tree: Path) -> None:
    (tree / "one.bpf.c").write_text("int")
    done = subprocess.run(
        [sys.executable, tree / "build.py", tree / "out"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "one.bpf.c" in done.stderr
    assert list((tree / "out").iterdir()) == []


def test_missing_compiler_is_named(tree: Path) -> None:
    done = subprocess.run(
        [sys.executable, tree / "build.py", tree / "out"],
        env={"PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "clang is missing; `make setup` installs it\n"


def test_object_has_types_and_no_paths(tree: Path) -> None:
    """BTF is what makes it portable; a path in it would make every machine's object another."""
    build(tree, tree / "out")
    content = (tree / "out/one.bpf.o").read_bytes()
    assert b".BTF" in content
    assert b".debug_info" not in content
    assert bytes(tree) not in content
