"""Adds one step to the build that pyproject.toml describes: compiling the BPF objects.

Editable installs get them beside the sources, wheels inside; source distributions carry the C files.
"""

import subprocess
import sys
from pathlib import Path

from setuptools import Command, setup
from setuptools.command.build import build

OBJECTS = "controlplane/arc/kernel/objects"


class BuildBpf(Command):
    """`bpf/*.bpf.c` -> `controlplane/arc/kernel/objects/*.bpf.o`."""

    description = "compile the BPF objects"

    def initialize_options(self) -> None:
        """Part of the protocol of `setuptools.command.build.SubCommand`."""
        self.build_lib = ""
        self.editable_mode = False

    def finalize_options(self) -> None:
        """Take the folder that the wheel is made from."""
        self.build_lib = self.get_finalized_command("build_py").build_lib

    def run(self) -> None:
        """Compile; a failure ends the build, since a wheel without objects feels nothing."""
        out = Path(OBJECTS) if self.editable_mode else Path(self.build_lib, OBJECTS)
        subprocess.run([sys.executable, "bpf/build.py", str(out)], check=True)

    def get_source_files(self) -> list[str]:
        """What a source distribution needs to compile them again."""
        return [str(path) for path in sorted(Path("bpf").iterdir()) if path.is_file()]

    def get_outputs(self) -> list[str]:
        """Objects of this build, and the sources that are compiled at run time."""
        out = Path(self.build_lib, OBJECTS)
        return [str(path) for path in sorted((*out.glob("*.bpf.o"), *out.glob("source/*")))]

    def get_output_mapping(self) -> dict[str, str]:
        """An editable install copies nothing."""
        return {}


build.sub_commands.append(("build_bpf", None))
setup(cmdclass={"build_bpf": BuildBpf})
