"""Headers are found however a distribution lays them out, and types in them."""

import platform
from pathlib import Path

import pytest

from controlplane.compiler.installed import ARCHITECTURES, Installed, installed, package

RELEASE = platform.release()
CONFIG = "include/generated/autoconf.h"
SHARED = "include/linux/kconfig.h"


def write(path: Path, content: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def test_there_may_be_none(tmp_path: Path) -> None:
    assert installed(tmp_path) is None
    link(tmp_path / f"lib/modules/{RELEASE}/build", tmp_path / "gone")
    assert installed(tmp_path) is None


def test_all_in_one_folder(tmp_path: Path) -> None:
    build = tmp_path / f"lib/modules/{RELEASE}/build"
    write(tmp_path / "kernels" / CONFIG)
    write(tmp_path / "kernels" / SHARED)
    link(build, tmp_path / "kernels")
    assert installed(tmp_path) == Installed(build, build)


def test_split_in_two_with_links(tmp_path: Path) -> None:
    modules = tmp_path / "lib/modules" / RELEASE
    write(tmp_path / "flavour" / CONFIG)
    write(tmp_path / "common" / SHARED)
    link(modules / "build", tmp_path / "flavour")
    link(modules / "source", tmp_path / "common")
    assert installed(tmp_path) == Installed(modules / "source", modules / "build")


def test_split_in_two_that_only_the_makefile_joins(tmp_path: Path) -> None:
    build = tmp_path / "usr/src" / package()
    write(build / CONFIG)
    write(build / "Makefile", f"KBUILD_OUTPUT=x\ninclude {tmp_path}/common/Makefile\n")
    assert installed(tmp_path) is None
    write(tmp_path / "common" / SHARED)
    assert installed(tmp_path) == Installed(tmp_path / "common", build)


@pytest.mark.parametrize(
    ("line", "shuffled"),
    [
        ("#define CONFIG_RANDSTRUCT_NONE 1", False),
        ("#define CONFIG_RANDSTRUCT 1", True),
        ("#define CONFIG_GCC_PLUGIN_RANDSTRUCT 1", True),
    ],
)
def test_a_shuffled_kernel_is_recognised(tmp_path: Path, line: str, *, shuffled: bool) -> None:
    write(tmp_path / CONFIG, f"#define CONFIG_X 1\n{line}\n")
    assert Installed(tmp_path, tmp_path).is_shuffled() is shuffled


def test_types_are_where_they_are_defined(tmp_path: Path) -> None:
    write(tmp_path / "include/linux/a.h", "struct pid;\nstruct task\n{\n};\nextern struct sock s;\n")
    write(tmp_path / "include/linux/sub/b.h", "enum reason {\n};\nstruct pid {\n};\n")
    write(tmp_path / "include/net/c.h", "struct sock {\n};\nstruct task {\n};\n")
    write(tmp_path / f"arch/{ARCHITECTURES[platform.machine()]}/include/asm/d.h", "struct regs {\n};\n")
    headers = Installed(tmp_path, tmp_path)
    assert headers.types(["pid", "reason"]) == ["linux/sub/b.h"]
    assert headers.types(["sock", "task", "regs", "gone"]) == ["asm/d.h", "linux/a.h", "net/c.h"]


def test_events_are_where_they_are_declared(tmp_path: Path) -> None:
    folder = tmp_path / "include/trace/events"
    write(folder / "block.h", "DECLARE_EVENT_CLASS(block_rq,\n\tx)\nDEFINE_EVENT(block_rq, block_rq_issue,\n")
    write(folder / "skb.h", "TRACE_EVENT(kfree_skb,\n\n")
    headers = Installed(tmp_path, tmp_path)
    assert headers.events(["block_rq_issue"]) == headers.events(["block_rq"]) == ["trace/events/block.h"]
    assert headers.events(["kfree_skb", "gone"]) == ["trace/events/skb.h"]
