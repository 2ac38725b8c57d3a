"""What is wrong with the cgroups and programs that a policy names: its scope, and what it protects. Pure.

All yield (place below `spec`, message, hint).
"""

from collections.abc import Iterator
from typing import Final

from controlplane.link.config import Mode

MAX_GLOBS: Final = 32
MAX_GLOB: Final = 256

Wrong = tuple[str, str, str]


def wrong_scope(cgroups: tuple[str, ...], mode: Mode, *, node: bool) -> Iterator[Wrong]:
    """What a policy may see and touch."""
    if node and cgroups:
        yield "scope", "has both `node` and `cgroups`", "`node: true` is every cgroup already"
    if len(cgroups) > MAX_GLOBS:
        yield "scope.cgroups", f"has more than {MAX_GLOBS} globs", ""
    for index, glob in enumerate(cgroups[:MAX_GLOBS]):
        at = f"scope.cgroups[{index}]"
        yield from wrong_glob(at, glob)
        if mode == "enforce" and names_every_cgroup(glob):
            yield (
                at,
                "names no cgroup in particular, and the policy enforces",
                "name part of a path, or write `scope: {node: true}` to act anywhere on this node",
            )
    if mode == "enforce" and not node and not cgroups:
        yield (
            "scope",
            "an enforcing policy needs a scope",
            "name cgroups, or write `scope: {node: true}` to act anywhere on this node",
        )


def wrong_protected(words: tuple[str, ...]) -> Iterator[Wrong]:
    """Names of programs, and globs."""
    if len(words) > MAX_GLOBS:
        yield "protect", f"has more than {MAX_GLOBS} entries", ""
    for index, word in enumerate(words[:MAX_GLOBS]):
        at = f"protect[{index}]"
        if word.startswith("/"):
            yield from wrong_glob(at, word)
            if not word.strip("/*?"):
                yield at, "protects every cgroup", "write `mode: observe` to touch none"
        elif not word or "/" in word or not word.isprintable() or len(word) > MAX_GLOB:
            yield at, "is neither a program nor a cgroup", "write sshd, or a path as /databases/**"


def wrong_glob(at: str, glob: str) -> Iterator[Wrong]:
    """One glob."""
    if len(glob) > MAX_GLOB or not glob.isprintable():
        yield at, f"must be at most {MAX_GLOB} printable characters", ""
    elif not glob.startswith("/"):
        yield at, "must begin with /", "globs are anchored at the cgroup2 root"
    elif glob != "/" and any(part in ("", ".", "..") for part in glob[1:].split("/")):
        yield at, "has an empty, `.` or `..` component", ""
    elif any("**" in part and part != "**" for part in glob.split("/")):
        yield at, "`**` must be a component of its own", "write /a/**/b, or * inside a name"


def names_every_cgroup(glob: str) -> bool:
    """Whether it is made of wildcards alone."""
    return glob != "/" and not glob.strip("/*?")
