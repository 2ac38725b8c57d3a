"""One line out of what compilers, libbpf and the verifier say."""

import pytest

from controlplane.arc.kernel.reasons import MAX_REASON, shortened

CLANG = """In file included from x.bpf.c:6:
/tmp/sensors.d/x.bpf.c:12:3: error: use of undeclared identifier 'nobody'
  nobody;
  ^
/tmp/sensors.d/x.bpf.c:13:3: error: another
2 errors generated.
"""
VERIFIER = """libbpf: prog 'sys_enter': BPF program load failed: Permission denied
libbpf: prog 'sys_enter': -- BEGIN PROG LOAD LOG --
0: R1=ctx() R10=fp0
; HOOK1(sys_enter, long, call) @ x.bpf.c:4
0: (b7) r1 = 1                        ; R1=1
; *found += 1; @ x.bpf.c:7
;  @ x.bpf.c:0
7: (79) r1 = *(u64 *)(r0 +0)
R0 invalid mem access 'map_value_or_null'
processed 7 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
-- END PROG LOAD LOG --
libbpf: prog 'sys_enter': failed to load: -13
libbpf: failed to load object 'x'
"""
OLDER = VERIFIER.replace(" @ x.bpf.c:7", "").replace(" @ x.bpf.c:4", "").replace(";  @ x.bpf.c:0\n", "")
NO_HOOK = """libbpf: loading object from x
libbpf: prog 'gone': failed to find kernel BTF type ID of 'gone': -3
libbpf: failed to load object 'x'
"""


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        pytest.param(CLANG, "x.bpf.c:12: use of undeclared identifier 'nobody'", id="clang"),
        pytest.param(
            VERIFIER,
            "sys_enter: R0 invalid mem access 'map_value_or_null' (x.bpf.c:7: *found += 1;)",
            id="verifier",
        ),
        pytest.param(
            OLDER,
            "sys_enter: R0 invalid mem access 'map_value_or_null' (at: *found += 1;)",
            id="verifier-before-6.8",
        ),
        pytest.param(NO_HOOK, "prog 'gone': failed to find kernel BTF type ID of 'gone': -3", id="libbpf"),
        pytest.param(
            "LLVM ERROR: line 161: Invalid usage\n", "LLVM ERROR: line 161: Invalid usage", id="llvm"
        ),
        pytest.param("something\n\nModuleNotFoundError: bcc\n", "ModuleNotFoundError: bcc", id="other"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_the_reason(log: str, reason: str) -> None:
    assert shortened(log) == reason


def test_it_is_never_long() -> None:
    assert len(shortened("x" * 10_000)) == MAX_REASON
