"""Where a kernel has the fields of its types, from its BTF, by way of libbpf.

Formats: include/uapi/linux/btf.h.
"""

import ctypes
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

from controlplane.arc.kernel.libbpf import LibbpfError, declare

POINTER: Final = 2
STRUCT: Final = 4
UNION: Final = 5
ENUM: Final = 6
TYPEDEF: Final = 8
FUNCTION: Final = 13
"""A prototype."""
ENUM64: Final = 19

_load = declare("btf__load_vmlinux_btf", ctypes.c_void_p)
_parse = declare("btf__parse", ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_free = declare("btf__free", None, ctypes.c_void_p)
_find = declare("btf__find_by_name_kind", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32)
_type = declare("btf__type_by_id", ctypes.POINTER(ctypes.c_uint32), ctypes.c_void_p, ctypes.c_uint32)
_text = declare("btf__name_by_offset", ctypes.c_char_p, ctypes.c_void_p, ctypes.c_uint32)


class Btf:
    """The types of the running kernel, or of the one in an ELF file; a context manager."""

    def __init__(self, vmlinux: Path | None = None) -> None:
        self._btf = _load() if vmlinux is None else _parse(bytes(vmlinux), None)
        if not self._btf:
            code = ctypes.get_errno() or errno.ENOENT
            raise LibbpfError(code, "the kernel's BTF")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _free(self._btf)

    def has_type(self, name: str) -> bool:
        """Whether there is such a struct."""
        return self._find(name, STRUCT) is not None

    def parameters_of(self, name: str) -> int | None:
        """How many the function takes of which there is a typedef `name`, a pointer to it."""
        found = self._find(name, TYPEDEF)
        for kind in (POINTER, FUNCTION):
            if found is None:
                return None
            found = self._refers_to(found, kind)
        return None if found is None else _type(self._btf, found)[1] & 0xFFFF

    def offset_of(self, name: str, field: str) -> int | None:
        """Bytes from the beginning of a struct to a field, those of its unnamed members included."""
        found = self._find(name, STRUCT)
        return None if found is None else self._offset(found, field)

    def number_of(self, name: str, enumerator: str) -> int | None:
        """The number of a member of an enumeration."""
        for kind, words in ((ENUM, 2), (ENUM64, 3)):
            found = self._find(name, kind)
            if found is not None:
                return self._number(found, enumerator, words)
        return None

    def _find(self, name: str, kind: int) -> int | None:
        found: int = _find(self._btf, name.encode(), kind)
        return None if found < 0 else found

    def _refers_to(self, found: int, kind: int) -> int | None:
        """The type that a typedef or a pointer is of, if it is of that kind."""
        target = _type(self._btf, found)[2]
        return int(target) if target and _type(self._btf, target)[1] >> 24 & 0x1F == kind else None

    def _name(self, offset: int) -> str:
        return os.fsdecode(_text(self._btf, offset))

    def _offset(self, found: int, field: str) -> int | None:
        for name, kept_as, bits in self._members(found):
            if name == field:
                return bits // 8
            if not name:
                within = self._offset(kept_as, field)
                if within is not None:
                    return bits // 8 + within
        return None

    def _members(self, found: int) -> Iterator[tuple[str, int, int]]:
        """Name, type and offset in bits of each."""
        words = _type(self._btf, found)
        info = words[1]
        if info >> 24 & 0x1F not in (STRUCT, UNION):
            return
        mask = 0xFFFFFF if info >> 31 else 0xFFFFFFFF
        for at in range(3, 3 + 3 * (info & 0xFFFF), 3):
            yield self._name(words[at]), words[at + 1], words[at + 2] & mask

    def _number(self, found: int, enumerator: str, words: int) -> int | None:
        read = _type(self._btf, found)
        for at in range(3, 3 + words * (read[1] & 0xFFFF), words):
            if self._name(read[at]) == enumerator:
                return int(read[at + 1])
        return None
