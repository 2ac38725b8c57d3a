"""What compilers, libbpf and the verifier say, in one line that a person can act on. Pure."""

import re
from typing import Final

MAX_REASON: Final = 240

_COMPILER: Final = re.compile(
    r"^(?P<place>[^:\s]+:\d+)(?::\d+)?: (?:fatal )?error: (?P<what>.*)$", re.MULTILINE
)
_FATAL: Final = re.compile(r"^(?:LLVM ERROR|fatal error|error): .*$", re.MULTILINE)
_SOURCE: Final = re.compile(r"^; (?P<text>\S.*?)(?: @ (?P<place>\S+:\d+))?$", re.MULTILINE)
_PROGRAM: Final = re.compile(r"^libbpf: prog '(\w+)': .*fail", re.MULTILINE)
_VERDICT: Final = re.compile(r"^processed \d+ insns", re.MULTILINE)
_STATE: Final = re.compile(r"^(?:\d+: |R\d+(?:_\w+)?=|from \d+ to |;|libbpf: |-- |$)")
"""Lines of the verifier that only follow its way."""
_LIBBPF: Final = "libbpf: "


def shortened(log: str) -> str:
    """The reason in a log; empty when it holds none."""
    reason = _from_compiler(log) or _from_verifier(log) or _from_libbpf(log) or _last_line(log)
    return reason[:MAX_REASON]


def _from_compiler(log: str) -> str:
    if found := _COMPILER.search(log):
        name = found["place"].rpartition("/")[2]
        return f"{name}: {found['what']}"
    fatal = _FATAL.search(log)
    return fatal[0] if fatal else ""


def _from_verifier(log: str) -> str:
    """Its last words before the summary, with the program and the line of the source it was at."""
    end = _VERDICT.search(log)
    if end is None:
        return ""
    said = log[: end.start()]
    words = [line.strip() for line in said.splitlines() if not _STATE.match(line)]
    if not words:
        return ""
    program = _PROGRAM.search(log)
    at = list(_SOURCE.finditer(said))
    place = f" ({at[-1]['place'] or 'at'}: {at[-1]['text']})" if at else ""
    return f"{program[1]}: {words[-1]}{place}" if program else f"{words[-1]}{place}"


def _from_libbpf(log: str) -> str:
    """The first thing it complained of: what follows are consequences."""
    lines = [line.removeprefix(_LIBBPF) for line in log.splitlines() if line.startswith(_LIBBPF)]
    telling = [line for line in lines if "fail" in line or "not found" in line or "rror" in line]
    return (telling or lines or [""])[0].strip()


def _last_line(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return lines[-1] if lines else ""
