"""Whether this kernel asks BPF programs before it lets something happen (BPF LSM, Linux 5.7).

A kernel that was built with it may still not do so: programs can be loaded and attached then, and are never
called. So its list of active security modules is read.
"""

import ctypes
from typing import Final

LIST: Final = "/sys/kernel/security/lsm"
_LSM_LIST_MODULES: Final = 461
_LSM_ID_BPF: Final = 109
_MODULES: Final = 64


def bpf_lsm_active() -> bool | None:
    """Whether BPF programs may deny; None when the kernel does not tell."""
    try:
        with open(LIST, encoding="ascii") as file:
            return "bpf" in file.read().strip().split(",")
    except OSError:
        return _listed()


def _listed() -> bool | None:
    """By lsm_list_modules(2), since Linux 6.8, where securityfs is not mounted."""
    modules = (ctypes.c_uint64 * _MODULES)()
    size = ctypes.c_uint32(ctypes.sizeof(modules))
    count: int = ctypes.CDLL(None).syscall(_LSM_LIST_MODULES, modules, ctypes.byref(size), 0)
    return None if count < 0 else _LSM_ID_BPF in modules[:count]


def why_absent() -> str:
    """Why nothing can be denied by BPF; empty where it can."""
    match bpf_lsm_active():
        case True:
            return ""
        case False:
            return "this kernel does not ask BPF programs: `bpf` is not among its security modules (lsm=)"
        case _:
            return f"this kernel does not tell whether it asks BPF programs: {LIST} is not there"
