"""The rule for code that runs once per event: what `must_` promises, checked in the syntax tree.

A `must_` function allocates nothing that stays, does not block and does not log. So its body has no
displays but tuples, no text building, no closures, no imports and no catch-all, and it calls, of our own
functions, only those which promise the same. What syntax cannot tell is left to the test that counts
allocated blocks. Pure: takes sources, returns problems.
"""

import ast
import mmap
import struct
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from typing import Final, TypeAlias

PREFIX: Final = "must_"

FORBIDDEN: Final[Mapping[type[ast.AST], str]] = {
    ast.AsyncFunctionDef: "defines a function",
    ast.Await: "waits",
    ast.ClassDef: "defines a class",
    ast.Dict: "builds a dict",
    ast.DictComp: "builds a dict",
    ast.FunctionDef: "defines a function",
    ast.GeneratorExp: "builds a generator",
    ast.Import: "imports",
    ast.ImportFrom: "imports",
    ast.JoinedStr: "builds text",
    ast.Lambda: "defines a function",
    ast.List: "builds a list",
    ast.ListComp: "builds a list",
    ast.Set: "builds a set",
    ast.SetComp: "builds a set",
    ast.Yield: "is a generator",
    ast.YieldFrom: "is a generator",
}
FORBIDDEN_CALLS: Final = frozenset({"dict", "format", "input", "list", "open", "print", "repr", "set", "str"})
FORBIDDEN_METHODS: Final = frozenset({"format", "join", "sleep"})

C_METHODS: Final = frozenset(
    name
    for kind in (bytearray, bytes, deque, dict, int, list, memoryview, mmap.mmap, set, str, struct.Struct)
    for name in dir(kind)
)
"""A call of such a name may be one of a C type, so it passes."""

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Sources: TypeAlias = Mapping[str, ast.Module]
"""Syntax trees by module name."""


def hot_path_problems(
    sources: Sources, hot: Mapping[str, Collection[str]], rare: Collection[str]
) -> Iterator[str]:
    """What is wrong in `sources`.

    `hot` names the modules that are nothing but hot path, each with the functions in it that are not
    called per event; any other function there needs the prefix, or it would escape the rule. `rare` are
    functions that hot code may call although they do not promise anything.
    """
    everything = {function.name for tree in sources.values() for function in functions_of(tree)}
    for name in sorted(set(rare) - everything):
        yield f"{name} is listed as rare and does not exist"
    ours = everything - set(rare)
    for module, tree in sources.items():
        callable_here = own_names(tree, ours)
        for function in functions_of(tree):
            if promises(function.name):
                for line, problem in body_problems(function, callable_here, ours):
                    yield f"{module}:{line}: {function.name} {problem}"
    for module, cold in hot.items():
        yield from prefix_problems(module, sources[module], cold)


def promises(name: str) -> bool:
    """Whether a function of that name is held to the rule."""
    return name.lstrip("_").startswith(PREFIX)


def functions_of(tree: ast.Module) -> Iterator[Function]:
    """Functions of a module and methods of its classes, not what is defined within them."""
    for node in tree.body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        yield from (item for item in inner if isinstance(item, Function))


def own_names(tree: ast.Module, ours: set[str]) -> set[str]:
    """Bare names by which a function of ours can be called in this module."""
    defined = {node.name for node in tree.body if isinstance(node, Function)} & ours
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("controlplane")
        for alias in node.names
        if alias.name in ours
    }
    return defined | imported


def body_problems(function: Function, callable_here: set[str], ours: set[str]) -> Iterator[tuple[int, str]]:
    """(line, problem) of one `must_` function. What only happens while an exception is raised is free."""
    todo: list[ast.AST] = list(function.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Raise):
            continue
        todo.extend(ast.iter_child_nodes(node))
        if problem := problem_of(node, callable_here, ours):
            yield getattr(node, "lineno", function.lineno), problem


def problem_of(node: ast.AST, callable_here: set[str], ours: set[str]) -> str | None:
    """What one node does against the promise."""
    match node:
        case (
            ast.ExceptHandler(type=None) | ast.ExceptHandler(type=ast.Name(id="Exception" | "BaseException"))
        ):
            return "catches everything"
        case ast.BinOp(op=ast.Add() | ast.Mod(), left=ast.Constant(value=str())):
            return "builds text"
        case ast.Call(func=ast.Name(id=name)) if name in FORBIDDEN_CALLS:
            return f"calls {name}()"
        case ast.Call(func=ast.Name(id=name)) if name in callable_here and not promises(name):
            return f"calls {name}(), which does not promise to be {PREFIX}"
        case ast.Call(func=ast.Attribute(value=ast.Name(id="logging" | "warnings" as name))):
            return f"uses {name}"
        case ast.Call(func=ast.Attribute(attr=name)) if name in FORBIDDEN_METHODS:
            return f"calls .{name}()"
        case ast.Call(func=ast.Attribute(value=owner, attr=name)) if (
            name in ours - C_METHODS and not promises(name) and not is_module(owner)
        ):
            return f"calls .{name}(), which does not promise to be {PREFIX}"
        case _:
            return FORBIDDEN.get(type(node))


def is_module(owner: ast.expr) -> bool:
    """Whether `owner.name()` is surely a function of the operating system and not one of ours."""
    return isinstance(owner, ast.Name) and owner.id in {"os", "signal", "socket", "select"}


def prefix_problems(module: str, tree: ast.Module, cold: Collection[str]) -> Iterator[str]:
    """Functions of a hot module that lack the prefix, and exceptions that no longer exist."""
    names = {function.name: function.lineno for function in functions_of(tree)}
    for name, line in names.items():
        if not (promises(name) or name.startswith("__") or name in cold):
            yield f"{module}:{line}: {name} runs per event and lacks {PREFIX}, or is to be listed as cold"
    for name in sorted(set(cold) - names.keys()):
        yield f"{module}: {name} is listed as cold and does not exist"
