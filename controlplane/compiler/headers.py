"""The few headers bcc's own ones ask of a kernel's source tree, and the types of this kernel.

No source ever includes a kernel header: a sensor's types are its own (see `layout`), so it compiles in a
third of a second.
"""

import platform
import re
from pathlib import Path
from typing import Final

from controlplane.compiler.installed import ARCHITECTURES
from controlplane.compiler.layout import BLOCK, Layout

GENERATED: Final = "reflexarc"
"""The folder of the tree with headers of our own."""

_INTEGERS: Final = "\n".join(
    f"typedef {kind} __{name};\ntypedef __{name} {name};"
    for name, kind in (
        *(("u8", "unsigned char"), ("u16", "unsigned short"), ("u32", "unsigned int")),
        *(("u64", "unsigned long long"), ("s8", "signed char"), ("s16", "short")),
        *(("s32", "int"), ("s64", "long long")),
    )
)
_TYPES: Final = f"""#ifndef REFLEXARC_TYPES_H
#define REFLEXARC_TYPES_H
{_INTEGERS}
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;
typedef __u64 __aligned_u64 __attribute__((aligned(8)));
typedef _Bool bool;
typedef unsigned long size_t;
typedef unsigned long uintptr_t;
#define NULL ((void *)0)
#define __always_inline inline __attribute__((always_inline))
#endif
"""
_KCONFIG: Final = """#define BPF_NO_PRESERVE_ACCESS_INDEX
#define CONFIG_BPF_SYSCALL 1
#define LINUX_VERSION_CODE 0
#define KERNEL_VERSION(a, b, c) 0
#include <linux/types.h>
"""
"""Included before everything else. Versions are never compared here, so any will do."""

_EMPTY: Final = (
    *("asm/page.h", "linux/bpf.h", "linux/bpf_common.h", "linux/log2.h", "linux/version.h"),
    *("uapi/linux/bpf.h", "uapi/linux/if_packet.h"),
)


def write_tree(tree: Path, sources: Path, layout: Layout, page_bytes: int) -> None:
    """Make the tree that BCC_KERNEL_SOURCE is to name; `sources` is the folder of the dialect."""
    include = tree / "include"
    for name in _EMPTY:
        _write(include / name, "")
    _write(include / "linux/types.h", _TYPES)
    _write(include / "linux/kconfig.h", f"#define PAGE_SIZE {page_bytes}\n{_KCONFIG}")
    core = (sources / "core.h").read_text()
    blocks = "\n".join(found[0] for found in BLOCK.finditer(core))
    _write(tree / GENERATED / "kernel_types.h", layout(blocks))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def include_flags(tree: Path, sources: Path) -> list[str]:
    """Where a source finds the dialect, and for which machine it is."""
    return [f"-I{sources}", f"-I{tree / GENERATED}", f"-D__TARGET_ARCH_{ARCHITECTURES[platform.machine()]}"]


_MAP: Final = re.compile(r"^(?:RING|MAP_\w+|TASK_MAP)\((\w+)", re.MULTILINE)


def map_names(*texts: str) -> list[str]:
    """Maps that sources declare, in the order of the text."""
    return list(dict.fromkeys(name for text in texts for name in _MAP.findall(text)))
