"""Bytecode in place of sources, without docstrings: of equal sources equal bytes.

Assertions stay, for they are relied on. The image cannot be written to, so nothing could be kept there later.
"""

import ast
import importlib.util
import marshal
from pathlib import Path
from typing import Final

UNCHECKED: Final = 0b01
"""PEP 552: by hash, and the hash is never looked at; so it is left empty."""
HEADER: Final = importlib.util.MAGIC_NUMBER + UNCHECKED.to_bytes(4, "little") + bytes(8)
TOLD: Final = "controlplane"
"""Ours, whose modules say in their docstrings what `--help` says."""


def compile_modules(out: Path) -> None:
    """Every module below `out`, in its place."""
    for path in sorted(out.rglob("*.py")):
        shown = f"/{path.relative_to(out)}"
        path.with_suffix(".pyc").write_bytes(compiled(path.read_bytes(), shown, told=TOLD in path.parts))
        path.unlink()


def compiled(source: bytes, shown: str, *, told: bool) -> bytes:
    """A .pyc of this source. `shown` is its name in tracebacks; `told` keeps the docstring of the module."""
    tree = ast.parse(source, shown)
    for node in ast.walk(tree):
        match node:
            case ast.Module() if not told:
                without_docstring(node)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                without_docstring(node)
            # Without one, it would make one up at each start.
            case ast.ClassDef(decorator_list=by) if not any("dataclass" in ast.unparse(each) for each in by):
                without_docstring(node)
    code = compile(tree, shown, "exec", dont_inherit=True, optimize=0)
    return HEADER + marshal.dumps(code)


def without_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    """A body of nothing else becomes `pass`."""
    while ast.get_docstring(node, clean=False) is not None:
        first = node.body.pop(0)
        if not node.body and not isinstance(node, ast.Module):
            node.body.append(ast.copy_location(ast.Pass(), first))
