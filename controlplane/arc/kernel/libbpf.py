"""The few functions of libbpf.so.1 the arc needs, with errors as exceptions and libbpf's own log kept.

Knows nothing of sensors or events. Every call here is made while starting or on request, except
`Map.must_*`, which the hot path uses.
"""

import ctypes
import errno
import mmap
import os
from collections.abc import Callable, Iterator
from typing import Any, Final

from controlplane.arc.kernel.reasons import shortened

MAX_LOG: Final = 256 * 1024
MAX_LINE: Final = 16 * 1024 * 1024
"""The verifier's whole log is one line to libbpf, and its end is what matters."""

_lib = ctypes.CDLL("libbpf.so.1", use_errno=True)
_libc = ctypes.CDLL(None, use_errno=True)

_PRINT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_vsnprintf = _libc.vsnprintf
_vsnprintf.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_void_p)


def declare(name: str, result: object, *arguments: object) -> Callable[..., Any]:
    """A function of libbpf with its result and argument types."""
    function: Callable[..., Any] = getattr(_lib, name)
    function.restype = result  # type: ignore[attr-defined]
    function.argtypes = arguments  # type: ignore[attr-defined]
    return function


_P, _S, _I, _U = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint32
_set_print = declare("libbpf_set_print", _P, _PRINT)
_object_open = declare("bpf_object__open_file", _P, _S, _P)
_object_load = declare("bpf_object__load", _I, _P)
_object_close = declare("bpf_object__close", None, _P)
_next_program = declare("bpf_object__next_program", _P, _P, _P)
_program_name = declare("bpf_program__name", _S, _P)
_program_fd = declare("bpf_program__fd", _I, _P)
_program_attach = declare("bpf_program__attach", _P, _P)
_link_destroy = declare("bpf_link__destroy", _I, _P)
_find_map = declare("bpf_object__find_map_by_name", _P, _P, _S)
_map_fd = declare("bpf_map__fd", _I, _P)
_map_reuse = declare("bpf_map__reuse_fd", _I, _P, _I)
_map_resize = declare("bpf_map__set_max_entries", _I, _P, _U)
_lookup = declare("bpf_map_lookup_elem", _I, _I, _P, _P)
_update = declare("bpf_map_update_elem", _I, _I, _P, _P, ctypes.c_uint64)
_delete = declare("bpf_map_delete_elem", _I, _I, _P)
_next_key = declare("bpf_map_get_next_key", _I, _I, _P, _P)
_info = declare("bpf_obj_get_info_by_fd", _I, _I, _P, ctypes.POINTER(_U))
_raw_tracepoint_open = declare("bpf_raw_tracepoint_open", _I, _S, _I)
_possible_cpus = declare("libbpf_num_possible_cpus", _I)
_probe_map = declare("libbpf_probe_bpf_map_type", _I, _I, _P)
_map_create = declare("bpf_map_create", _I, _I, _S, _U, _U, _U, _P)


class Log:
    """What libbpf and the verifier said last, bounded; `text()` is shown when a load fails."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._size = 0
        # Takes no memory before something is written, nor after it has been taken out.
        self._memory = mmap.mmap(-1, MAX_LINE)
        self._buffer = (ctypes.c_char * MAX_LINE).from_buffer(self._memory)
        self._callback = _PRINT(self._take)
        _set_print(self._callback)

    def _take(self, _level: int, form: bytes, arguments: int) -> int:
        if self._size < MAX_LOG:
            _vsnprintf(self._buffer, MAX_LINE, form, arguments)
            line = self._buffer.value
            self._lines.append(line[-MAX_LOG:])
            self._size += len(line)
            if len(line) >= mmap.PAGESIZE:
                self._memory.madvise(mmap.MADV_DONTNEED)
        return 0

    def clear(self) -> None:
        """Forget what was said."""
        self._lines.clear()
        self._size = 0

    def text(self) -> str:
        """Everything since `clear`."""
        return b"".join(self._lines).decode(errors="replace")


LOG: Final = Log()


class LibbpfError(OSError):
    """A call of libbpf failed; `log` is what libbpf and the verifier said."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(code, f"{what}: {os.strerror(code)}")
        self.log = LOG.text()

    @property
    def reason(self) -> str:
        """One line for people: what libbpf or the verifier complained of, else the error itself."""
        return shortened(self.log) or str(self)


class Map:
    """An open map with fixed key and value sizes; one preallocated buffer for each."""

    def __init__(self, fd: int, key_size: int, value_size: int) -> None:
        self.fd = fd
        self._key = ctypes.create_string_buffer(key_size)
        self._value = ctypes.create_string_buffer(value_size)

    def must_update(self, key: bytes, value: bytes) -> bool:
        """Set `key`; False when the map has no room."""
        self._key.raw = key
        self._value.raw = value
        return bool(_update(self.fd, self._key, self._value, 0) == 0)

    def push(self, value: bytes) -> bool:
        """Put on a stack, which has no keys; False when it has no room."""
        self._value.raw = value
        return bool(_update(self.fd, None, self._value, 0) == 0)

    def must_delete(self, key: bytes) -> bool:
        """Remove `key`; False when it was not there."""
        self._key.raw = key
        return bool(_delete(self.fd, self._key) == 0)

    def lookup(self, key: bytes) -> bytes | None:
        """The value of `key`, None when absent."""
        self._key.raw = key
        return self._value.raw if _lookup(self.fd, self._key, self._value) == 0 else None

    def must_has(self, key: bytes) -> bool:
        """Whether there is an entry."""
        self._key.raw = key
        return bool(_lookup(self.fd, self._key, self._value) == 0)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All entries; those removed meanwhile are left out."""
        key = ctypes.create_string_buffer(len(self._key))
        found = _next_key(self.fd, None, key)
        while found == 0:
            current = key.raw
            value = self.lookup(current)
            if value is not None:
                yield current, value
            self._key.raw = current
            found = _next_key(self.fd, self._key, key)


class Program:
    """One loaded program, attached to the hook of its section."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._link: int | None = None
        self.name: str = _program_name(handle).decode()

    def attach(self) -> None:
        """Raises LibbpfError when the kernel has no such hook; nothing happens when it is attached."""
        if self._link:
            return
        self._link = _program_attach(self._handle)
        if not self._link:
            raise LibbpfError(ctypes.get_errno() or errno.EINVAL, f"attach {self.name}")

    def detach(self) -> None:
        """Undo `attach`; the program stays loaded."""
        if self._link:
            _link_destroy(self._link)
            self._link = None

    def run_time(self) -> tuple[int, int]:
        """(nanoseconds, runs) so far; zeros unless kernel.bpf_stats_enabled."""
        return run_time(_program_fd(self._handle))


# Offset of run_time_ns in struct bpf_prog_info, include/uapi/linux/bpf.h.
_RUN_TIME_NS: Final = 192


def run_time(program: int) -> tuple[int, int]:
    """(nanoseconds, runs) of a program so far; zeros unless kernel.bpf_stats_enabled."""
    info = ctypes.create_string_buffer(232)
    size = _U(len(info))
    if _info(program, info, ctypes.byref(size)) != 0:
        return 0, 0
    run_ns = int.from_bytes(info.raw[_RUN_TIME_NS : _RUN_TIME_NS + 8], "little")
    runs = int.from_bytes(info.raw[_RUN_TIME_NS + 8 : _RUN_TIME_NS + 16], "little")
    return run_ns, runs


class Object:
    """A BPF object file: open, share maps, load, use, close."""

    def __init__(self, path: str) -> None:
        LOG.clear()
        self._handle = _object_open(path.encode(), None)
        if not self._handle:
            raise LibbpfError(ctypes.get_errno() or errno.EINVAL, f"open {path}")

    def share(self, name: str, fd: int) -> None:
        """Before `load`: use the open map `fd` instead of making one."""
        if code := -_map_reuse(_find_map(self._handle, name.encode()), fd):
            raise LibbpfError(code, f"share map {name}")

    def resize(self, name: str, entries: int) -> None:
        """Before `load`: bound of a map, for a ring its bytes."""
        if code := -_map_resize(_find_map(self._handle, name.encode()), entries):
            raise LibbpfError(code, f"resize map {name}")

    def load(self) -> None:
        """Make the maps, relocate and verify the programs."""
        if code := -_object_load(self._handle):
            raise LibbpfError(code, "load")

    def map_fd(self, name: str) -> int:
        """Descriptor of a map of the loaded object; raises KeyError."""
        handle = _find_map(self._handle, name.encode())
        if not handle:
            raise KeyError(name)
        return int(_map_fd(handle))

    def programs(self) -> Iterator[Program]:
        """In the order of the source."""
        handle = _next_program(self._handle, None)
        while handle:
            yield Program(handle)
            handle = _next_program(self._handle, handle)

    def close(self) -> None:
        """Unload; maps shared with others live on."""
        _object_close(self._handle)


def attach_raw_tracepoint(name: str, program: int) -> int:
    """A link that keeps the program there until it is closed; raises LibbpfError."""
    link = _raw_tracepoint_open(name.encode(), program)
    if link < 0:
        raise LibbpfError(-link, f"attach {name}")
    return int(link)


def offers_map_type(number: int) -> bool:
    """Whether a map of that type (`enum bpf_map_type`) can be created here and now."""
    return bool(_probe_map(number, None) == 1)


def ring_buffer_error(number: int) -> int:
    """Why no ring buffer, a map of that type, can be created here and now: an errno, 0 where one can."""
    fd = int(_map_create(number, None, 0, 0, mmap.PAGESIZE, None))
    if fd < 0:
        return -fd
    os.close(fd)
    return 0


def possible_cpus() -> int:
    """CPUs for which a per-CPU map keeps values."""
    return int(_possible_cpus())
