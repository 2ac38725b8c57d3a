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
BARE: Final = ("pyroute2",)
"""Packages that import all they have; what is used of them is imported by name."""
NEVER: Final = (
    # On other systems, and in other interpreters.
    *("_aix_support", "_ios_support", "_osx_support", "_py_abc", "_pydatetime", "_pydecimal", "_pyio"),
    *("ctypes._aix", "ctypes.wintypes", "encodings.mbcs", "nturl2path", "plistlib"),
    # By people at a terminal.
    *("_pyrepl", "bdb", "cmd", "curses", "doctest", "getpass", "pdb", "pydoc", "pydoc_data", "readline"),
    *("rich", "rlcompleter", "tkinter", "venv", "webbrowser"),
    # By tests and builds.
    *("_testcapi", "_testinternalcapi", "_testlimitedcapi", "grpc_tools", "pip", "py_compile", "pytest"),
    *("setuptools", "sitecustomize", "test", "unittest", "usercustomize"),
    # In functions that nobody calls: mail, FTP, XML-RPC, cookies, archives, databases, pools of processes.
    *("_bz2", "_lzma", "_multiprocessing", "_posixshmem", "bz2", "concurrent.futures.process", "dbm"),
    *("ftplib", "http.cookiejar", "lzma", "netrc", "smtplib", "sqlite3", "statistics", "tarfile", "xml"),
    "xmlrpc",
    # For keys of OpenSSH behind a password.
    "bcrypt",
)
"""Reached by statements that are not run here."""
PARTS: Final = {"multiprocessing": ("context", "process", "reduction")}
"""All that is reached of packages which are imported by others and used by nobody."""


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
        parent, _, part = name.rpartition(".")
        if name in NEVER or part not in PARTS.get(parent, (part,)) or (parent and not self.add(parent)):
            return False
        found = self._find(name)
        if found is None:
            return False
        self.files[name] = path = found if found.is_file() else None
        if path is not None and path.suffix == ".py" and name not in BARE:
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
