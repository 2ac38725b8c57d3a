"""Where the headers of the running kernel are installed, and in which of them a type is declared.

Debian splits them: what all flavours share lies in a folder of its own, what was generated for this kernel in
another. Other distributions have both in one.
"""

import platform
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

ARCHITECTURES: Final = {"x86_64": "x86", "aarch64": "arm64"}
_COMMON: Final = re.compile(r"^include (/\S+)/Makefile$", re.MULTILINE)
_SHUFFLED: Final = re.compile(r"^#define CONFIG_(?:GCC_PLUGIN_)?RANDSTRUCT(?:_FULL)? 1$", re.MULTILINE)
_TYPE: Final = re.compile(rb"^(?:struct|enum) (\w+)\s*\{", re.MULTILINE)
_EVENT: Final = re.compile(
    rb"^(?:TRACE_EVENT|DECLARE_EVENT_CLASS|DEFINE_EVENT)\w*\(\s*(\w+)(?:\s*,\s*(\w+))?", re.MULTILINE
)


class Installed(NamedTuple):
    """Two folders, or one twice."""

    source: Path
    """Has include/linux."""
    build: Path
    """Has include/generated."""

    def is_shuffled(self) -> bool:
        """Whether fields are in an order that only the compiler of this kernel knew."""
        return bool(_SHUFFLED.search((self.build / "include/generated/autoconf.h").read_text()))

    def flags(self) -> list[str]:
        """By which a compiler that is at work in `source` finds what was generated."""
        generated = f"arch/{ARCHITECTURES[platform.machine()]}/include/generated"
        folders = (generated, f"{generated}/uapi", "include", "include/generated/uapi")
        return [f"-I{self.build / folder}" for folder in folders]

    def types(self, names: Iterable[str]) -> list[str]:
        """Headers to include for structs and enumerations; what no header has is left out."""
        architecture = ARCHITECTURES[platform.machine()]
        folders = ("include/linux", "include/net", f"arch/{architecture}/include/asm")
        return self._declaring(frozenset(names), folders, _TYPE)

    def events(self, names: Iterable[str]) -> list[str]:
        """Headers to include for tracepoints and their classes."""
        return self._declaring(frozenset(names), ("include/trace/events",), _EVENT)

    def _declaring(
        self, names: frozenset[str], folders: tuple[str, ...], pattern: re.Pattern[bytes]
    ) -> list[str]:
        first: dict[str, Path] = {}
        for path in (file for folder in folders for file in sorted((self.source / folder).rglob("*.h"))):
            for found in pattern.finditer(path.read_bytes()):
                for name in names.intersection(word.decode() for word in found.groups() if word):
                    first.setdefault(name, path)
        return sorted({_included(path.relative_to(self.source)) for path in first.values()})


def _included(path: Path) -> str:
    return str(path).rpartition("include/")[2]


def package() -> str:
    """Debian's name of what to install."""
    return f"linux-headers-{platform.release()}"


def installed(root: Path = Path("/")) -> Installed | None:
    """Those of the running kernel; None where there are none."""
    modules = root / "lib/modules" / platform.release()
    for build in (modules / "build", root / "usr/src" / package()):
        if (build / "include/generated/autoconf.h").exists():
            for source in _sources(build, modules / "source"):
                if (source / "include/linux/kconfig.h").exists():
                    return Installed(source, build)
    return None


def _sources(build: Path, linked: Path) -> Iterator[Path]:
    """Where the shared ones may be."""
    yield build
    yield linked
    makefile = build / "Makefile"
    if makefile.exists() and (found := _COMMON.search(makefile.read_text())):
        yield Path(found[1])
