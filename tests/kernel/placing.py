"""Values of a test's own choosing, through the kernel's own code: a program run by BPF_PROG_TEST_RUN."""

import ctypes
import functools
import os
import runpy
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from controlplane.arc.kernel.events import Counter, Signal
from controlplane.arc.kernel.instructions import has_fetch
from controlplane.arc.kernel.libbpf import Map, Object, declare, possible_cpus, run_time

HERE: Final = Path(__file__).parent
BUILD: Final = HERE.parents[1] / "bpf" / "build.py"

_run = declare("bpf_prog_test_run_opts", ctypes.c_int, ctypes.c_int, ctypes.c_void_p)
_fd = declare("bpf_program__fd", ctypes.c_int, ctypes.c_void_p)
_find = declare("bpf_object__find_program_by_name", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)


class _Options(ctypes.Structure):
    """struct bpf_test_run_opts of libbpf."""

    _fields_ = (
        *(("sz", ctypes.c_size_t), ("data_in", ctypes.c_void_p), ("data_out", ctypes.c_void_p)),
        *(("data_size_in", ctypes.c_uint32), ("data_size_out", ctypes.c_uint32)),
        *(("ctx_in", ctypes.c_void_p), ("ctx_out", ctypes.c_void_p)),
        *(("ctx_size_in", ctypes.c_uint32), ("ctx_size_out", ctypes.c_uint32)),
        *(("retval", ctypes.c_uint32), ("repeat", ctypes.c_int), ("duration", ctypes.c_uint32)),
        *(("flags", ctypes.c_uint32), ("cpu", ctypes.c_uint32), ("batch_size", ctypes.c_uint32)),
    )


@functools.cache
def compiled() -> int:
    """A descriptor of the object, which has no name any more."""
    builder: dict[str, Any] = runpy.run_path(str(BUILD))
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "bet.bpf.o")
        builder["build_object"](HERE / "bet.bpf.c", target, *([] if has_fetch() else builder["NO_FETCH"]))
        return os.open(target, os.O_RDONLY | os.O_CLOEXEC)


class Placing:
    """A context manager; `shared` are the maps of sensors."""

    def __init__(self, shared: Mapping[str, int]) -> None:
        self._object = Object(f"/proc/self/fd/{compiled()}")
        for name, fd in shared.items():
            self._object.share(name, fd)
        self._object.load()
        self._program = _fd(_find(self._object._handle, b"place"))
        self._react = _fd(_find(self._object._handle, b"react_to"))
        self._nothing = _fd(_find(self._object._handle, b"nothing"))
        self._arguments = (ctypes.c_uint64 * 3)()
        self._options = _Options(
            sz=ctypes.sizeof(_Options), ctx_in=ctypes.addressof(self._arguments), ctx_size_in=24
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._object.close()

    def value(self, key: int, value: int, signal: int = Signal.BLOCK_LATENCY) -> None:
        """One value in the stream `key`, which is also the cgroup that it is about."""
        self._arguments[:] = [key, value, signal]
        if error := _run(self._program, ctypes.byref(self._options)):
            raise OSError(-error, "BPF_PROG_TEST_RUN")

    def react(self, value: int, signal: int) -> None:
        """An event with a value that the running process is to blame for."""
        self._arguments[:] = [0, value, signal]
        if error := _run(self._react, ctypes.byref(self._options)):
            raise OSError(-error, "BPF_PROG_TEST_RUN")

    def nothing(self) -> None:
        """A program that returns at once."""
        if error := _run(self._nothing, ctypes.byref(self._options)):
            raise OSError(-error, "BPF_PROG_TEST_RUN")

    def run_time(self) -> tuple[int, int]:
        """(nanoseconds, runs) of both programs; zeros unless kernel.bpf_stats_enabled."""
        first, second = run_time(self._program), run_time(self._nothing)
        return first[0] + second[0], first[1] + second[1]

    def counted(self, counter: Counter) -> int:
        """One of the program's own counters."""
        counters = Map(self._object.map_fd("counters"), 4, 8 * possible_cpus())
        found = counters.lookup(counter.to_bytes(4, "little"))
        assert found is not None
        return sum(memoryview(found).cast("Q"))
