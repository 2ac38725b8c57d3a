"""One source through bcc: compiled, its maps put in, verified and attached. What is left are descriptors.

bcc is Debian's python3-bpfcc, which lies outside any virtual environment.
"""

import contextlib
import ctypes
import errno
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

from controlplane.arc.kernel.instructions import has_fetch
from controlplane.compiler.headers import include_flags, map_names
from controlplane.compiler.layout import Layout
from controlplane.link.compiling import Source

DIST_PACKAGES: Final = "/usr/lib/python3/dist-packages"
RAW_TRACEPOINT: Final = 17
MAX_VERIFIER_LOG: Final = 1 << 20
FIRST_NUMBER: Final = 1000
"""Of a map in a source; the instructions that name it get its descriptor instead."""
_LOAD_64: Final = 0x18
_MAP_FD: Final = 1


class CompileError(Exception):
    """A source that cannot be taken; the text is what compiler or verifier said."""


class Attached(NamedTuple):
    """Descriptors of one sensor."""

    maps: dict[str, int]
    programs: dict[str, tuple[int, int]]
    """Program and link by name."""


def library() -> Any:  # noqa: ANN401
    """Libbcc with its functions declared. Raises ImportError where there is none."""
    if DIST_PACKAGES not in sys.path:
        sys.path.append(DIST_PACKAGES)
    module: ModuleType = __import__("bcc.libbcc", fromlist=["lib"])
    return module.lib


class Bcc:
    """bcc with the headers of this kernel."""

    def __init__(self, tree: Path, sources: Path, layout: Layout, *flags: str) -> None:
        self._tree = tree
        self._layout = layout
        self._lib = library()
        self._shared_text = (sources / "streams.h").read_text()
        self._flags = ["-DREFLEXARC_BCC", *include_flags(tree, sources), *flags]
        if has_fetch():
            self._flags.append("-DREFLEXARC_FETCH")
        # An argument that newer versions of bcc have.
        self._attach_type = (0xFFFFFFFF,) if len(self._lib.bcc_func_load.argtypes) > 11 else ()

    def attach(self, source: Source, shared: dict[str, int]) -> Attached:
        """Raises CompileError. Maps of the names in `shared` are those, the others are new."""
        text = Path(source.path).read_text()
        numbers = {name: FIRST_NUMBER + at for at, name in enumerate(map_names(self._shared_text, text))}
        flags = [f"-Dmap_number_{name}={number}" for name, number in numbers.items()]
        flags += [f"-D{name}={number}" for name, number in source.numbers.items()]
        placed = f'#line 1 "{source.path}"\n{self._layout(text)}'
        with self._compiled(placed, flags) as module:
            maps = {name: self._map(module, name, shared) for name in numbers}
            programs = {
                name: self._load(module, name, {numbers[each]: fd for each, fd in maps.items()})
                for name in self._functions(module)
            }
        return Attached(maps, programs)

    @contextlib.contextmanager
    def _compiled(self, text: str, flags: list[str]) -> Iterator[int]:
        os.environ["BCC_KERNEL_SOURCE"] = str(self._tree)
        module = _module(self._lib, text, [*self._flags, *flags])
        if not module:
            raise CompileError
        try:
            yield module
        finally:
            self._lib.bpf_module_destroy(module)

    def _functions(self, module: int) -> list[str]:
        count = self._lib.bpf_num_functions(module)
        return [self._lib.bpf_function_name(module, at).decode() for at in range(count)]

    def _map(self, module: int, name: str, shared: dict[str, int]) -> int:
        """A descriptor that outlives the module."""
        return os.dup(shared[name] if name in shared else self._lib.bpf_table_fd(module, name.encode()))

    def _load(self, module: int, name: str, maps: dict[int, int]) -> tuple[int, int]:
        word = name.encode()
        size = self._lib.bpf_function_size(module, word)
        code = with_maps(ctypes.string_at(self._lib.bpf_function_start(module, word), size), maps)
        log = ctypes.create_string_buffer(MAX_VERIFIER_LOG)
        program = self._lib.bcc_func_load(
            *(module, RAW_TRACEPOINT, word, code, size, self._lib.bpf_module_license(module)),
            *(0, 0, log, len(log), None, *self._attach_type),
        )
        if program < 0:
            said = log.value.decode(errors="replace")
            raise CompileError(f"{failed(name, 'load')}\n{said}")
        link = self._lib.bpf_attach_raw_tracepoint(program, word)
        if link < 0:
            raise CompileError(failed(name, "attach"))
        return program, link


def _module(lib: Any, text: str, flags: Sequence[str]) -> int | None:  # noqa: ANN401
    words = [flag.encode() for flag in flags]
    array = (ctypes.c_char_p * len(words))(*words)
    module: int | None = lib.bpf_module_create_c_from_string(text.encode(), 0, array, len(words), True, None)
    return module


def complaints(text: str, source: Path, flags: Sequence[str]) -> str:
    """What the compiler has against a text that cannot be compiled, with the headers in `source`."""
    os.environ["BCC_KERNEL_SOURCE"] = str(source)
    before, said = os.dup(2), os.memfd_create("complaints")
    try:
        os.dup2(said, 2)
        _module(library(), text, flags)
        return os.pread(said, os.fstat(said).st_size, 0).decode(errors="replace")
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(said)


def failed(program: str, what: str) -> str:
    """The error of the last call of libbcc, in libbpf's words."""
    code = ctypes.get_errno() or errno.EINVAL
    return f"libbpf: prog '{program}': failed to {what}: {os.strerror(code)}"


def with_maps(code: bytes, maps: dict[int, int]) -> bytes:
    """Instructions with the numbers of maps turned into descriptors; raises KeyError for another number."""
    patched = bytearray(code)
    for at in range(0, len(code), 8):
        if code[at] == _LOAD_64 and code[at + 1] >> 4 == _MAP_FD:
            number = int.from_bytes(code[at + 4 : at + 8], "little")
            patched[at + 4 : at + 8] = maps[number].to_bytes(4, "little")
    return bytes(patched)
