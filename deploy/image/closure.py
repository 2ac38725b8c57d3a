"""Which Python modules a program can reach: by every import statement, those within functions included.

More than what runs on one day, so nothing is missing but what is imported by a computed name; that is in
`NAMED`. Reads source files and imports nothing.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

NAMED: Final = (
    *("encodings.ascii", "encodings.idna", "encodings.latin_1", "encodings.utf_8", "encodings.utf_8_sig"),
    *("_cffi_backend", "google._upb._message", "opentelemetry.context.contextvars_context", "runpy", "site"),
)
NEVER: Final = (
    *("_pydatetime", "_pydecimal", "_pyio", "_pyrepl", "bdb", "cmd", "curses", "dbm", "doctest"),
    *("grpc_tools", "pdb", "pip", "pydoc", "pydoc_data", "pytest", "readline", "rich"),
    *("setuptools", "sitecustomize", "tkinter", "usercustomize", "venv", "webbrowser"),
)
"""Reached only on other systems, in other interpreters, or by what people do at a terminal."""


class Closure:
    """Modules by name, with their files; a folder without __init__ has none."""

    def __init__(self, search: list[Path]) -> None:
        """`search` is what sys.path would be."""
        self._search = search
        self.files: dict[str, Path | None] = {}

    def add_all(self, package: Path) -> None:
        """Every module of a package, and all that they import."""
        for path in sorted(package.rglob("*.py")):
            parts = path.relative_to(package.parent).with_suffix("").parts
            self.add(".".join(parts).removesuffix(".__init__"))

    def add(self, name: str) -> bool:
        """A module, the packages around it, and all that they import. Whether there is one."""
        if name in self.files:
            return True
        parent = name.rpartition(".")[0]
        if name in NEVER or (parent and not self.add(parent)):
            return False
        found = self._find(name)
        if found is None:
            return False
        self.files[name] = path = found if found.is_file() else None
        if path is not None and path.suffix == ".py":
            for wanted in imports(path, name):
                self.add(wanted)
        return True

    def _find(self, name: str) -> Path | None:
        """Its file, or the folder of a package without one."""
        relative = name.replace(".", "/")
        for folder in self._search:
            at = folder / relative
            extensions = at.parent.glob(f"{at.name}.*.so")
            for path in (at / "__init__.py", *extensions, at.with_name(f"{at.name}.py")):
                if path.is_file():
                    return path
            if at.is_dir():
                return at
        return None


def imports(path: Path, name: str) -> Iterator[str]:
    """What one file imports; of `from a import b` also `a.b`, which may be a module."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
