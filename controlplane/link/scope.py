"""Whether a scope names a cgroup: anchored globs over the path below the cgroup2 root.

`?` is one character and `*` any run of them within a component; `**` is any number of components, none
included. Matching never backtracks past the last star, so a hostile glob costs at most glob x path steps.
"""

from collections.abc import Callable, Sequence

from controlplane.link.rules import Scope


def matches(scope: Scope, path: str) -> bool:
    """Whether the cgroup at `path` (`/` is the root) lies in the scope; an empty scope names none.

    What a rule without a scope may see is not asked here: `rules.is_empty`.
    """
    return scope.node or any(matches_glob(glob, path) for glob in scope.cgroups)


def matches_glob(glob: str, path: str) -> bool:
    """One glob against one path."""
    return _matches(_components(glob), _components(path), "**", _matches_component)


def _components(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def _matches_component(pattern: str, name: str) -> bool:
    return _matches(pattern, name, "*", _matches_character)


def _matches_character(pattern: str, character: str) -> bool:
    return pattern in ("?", character)


def _matches(
    pattern: Sequence[str], items: Sequence[str], star: str, one: Callable[[str, str], bool]
) -> bool:
    """Greedy match; only the last star seen can still give way, for an earlier one would gain nothing."""
    at = item = 0
    resume: tuple[int, int] | None = None
    while item < len(items):
        if at < len(pattern) and pattern[at] == star:
            at += 1
            resume = (at, item)
        elif at < len(pattern) and one(pattern[at], items[item]):
            at += 1
            item += 1
        elif resume is not None:
            at, item = resume[0], resume[1] + 1
            resume = (at, item)
        else:
            return False
    return all(rest == star for rest in pattern[at:])
