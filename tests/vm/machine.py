"""One emulated machine: started, watched, and ended by its process id whatever happens.

Emulation in software: it needs no /dev/kvm and is the same everywhere. The host's root comes in through
virtiofs, results go out through the second serial port.
"""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

VIRTIOFSD: Final = "/usr/lib/qemu/virtiofsd"
MEMORY: Final = "2G"
START_SECONDS: Final = 10


class MachineError(Exception):
    """The machine did not come to its end."""


@dataclass(frozen=True)
class Machine:
    """What is booted, and the files that its two serial ports are written to."""

    vmlinux: Path
    initramfs: Path
    environment: dict[str, str]
    """Of the guest's first program. Without blanks: it travels on the kernel's command line."""
    console: Path
    results: Path

    def run(self, seconds: float) -> None:
        """Until it powers itself off; raises MachineError when it has not after that time."""
        with tempfile.TemporaryDirectory(prefix="reflexarc-vm-") as name:
            socket = Path(name, "host.socket")
            with (
                _ended([VIRTIOFSD, f"--socket-path={socket}", *_SHARE], self.console),
                self._qemu(socket) as qemu,
            ):
                try:
                    code = qemu.wait(seconds)
                except subprocess.TimeoutExpired as error:
                    raise MachineError(f"still running after {seconds:.0f} s: see {self.console}") from error
        if code != 0:
            raise MachineError(f"QEMU ended with {code}: see {self.console}")

    @contextmanager
    def _qemu(self, socket: Path) -> Iterator[subprocess.Popen[bytes]]:
        end = time.monotonic() + START_SECONDS
        while not socket.exists():
            if time.monotonic() > end:
                raise MachineError(f"{VIRTIOFSD} offers no root: see {self.console}")
            time.sleep(0.01)
        with _ended(self._command(socket), self.console) as qemu:
            yield qemu

    def _command(self, socket: Path) -> list[str]:
        words = (f"{name}={value}" for name, value in self.environment.items())
        return [
            *("qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max"),
            *("-smp", "2", "-m", MEMORY, "-nodefaults", "-no-reboot", "-display", "none", "-nic", "none"),
            *(
                "-object",
                f"memory-backend-memfd,id=memory,size={MEMORY},share=on",
                "-numa",
                "node,memdev=memory",
            ),
            *(
                "-chardev",
                f"socket,id=host,path={socket}",
                "-device",
                "vhost-user-fs-pci,chardev=host,tag=host",
            ),
            *("-serial", f"file:{self.console}", "-serial", f"file:{self.results}"),
            *("-kernel", str(self.vmlinux), "-initrd", str(self.initramfs)),
            *("-append", " ".join(["console=ttyS0 quiet panic=-1 mitigations=off psi=1", *words])),
        ]


_SHARE: Final = ("-o", "source=/", "-o", "cache=always", "-o", "sandbox=chroot", "-o", "log_level=err")


@contextmanager
def _ended(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program that does not outlive this block."""
    with log.open("ab") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            yield process
        finally:
            process.kill()
