"""One emulated machine: started, watched, and ended by its process id whatever happens.

Emulation in software: it needs no /dev/kvm and is the same everywhere. Both of the guest's processors are
emulated by one thread: with one thread each, a processor at times executes an instruction that the other has
just replaced (the kernel does so to switch tracepoints), and the guest dies of it. The host's root comes in
through virtiofs, results go out through the second serial port.
"""

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

VIRTIOFSD: Final = "/usr/lib/qemu/virtiofsd"
SHARE: Final = ("-o", "source=/", "-o", "cache=always", "-o", "sandbox=chroot", "-o", "log_level=err")


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
    memory: str = "2G"

    async def run(self, seconds: float) -> None:
        """Until it powers itself off; raises MachineError when it has not after that time."""
        with (
            tempfile.TemporaryDirectory(prefix="reflexarc-vm-") as folder,
            socket.socket(socket.AF_UNIX) as host,
            self.console.open("ab") as log,
        ):
            path = f"{folder}/host.socket"
            host.bind(path)
            host.listen()
            share = [VIRTIOFSD, f"--fd={host.fileno()}", *SHARE]
            async with (
                _running(share, log, [host.fileno()]),
                _running(self._command(path), log) as qemu,
            ):
                try:
                    async with asyncio.timeout(seconds):
                        code = await qemu.wait()
                except TimeoutError as error:
                    raise MachineError(f"still running after {seconds:.0f} s: see {self.console}") from error
        if code != 0:
            raise MachineError(f"QEMU ended with {code}: see {self.console}")

    def _command(self, host: str) -> list[str]:
        words = (f"{name}={value}" for name, value in self.environment.items())
        # Memory that virtiofsd can map, too.
        memory = f"memory-backend-memfd,id=memory,size={self.memory},share=on"
        return [
            *("qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=single,tb-size=512", "-cpu", "max"),
            *("-smp", "2", "-m", self.memory, "-object", memory, "-numa", "node,memdev=memory"),
            *("-nodefaults", "-no-reboot", "-display", "none", "-nic", "none"),
            *(
                "-chardev",
                f"socket,id=host,path={host}",
                "-device",
                "vhost-user-fs-pci,chardev=host,tag=host",
            ),
            *("-serial", f"file:{self.console}", "-serial", f"file:{self.results}"),
            *("-kernel", str(self.vmlinux), "-initrd", str(self.initramfs)),
            *("-append", " ".join(["console=ttyS0 quiet panic=-1 mitigations=off psi=1", *words])),
        ]


@asynccontextmanager
async def _running(
    command: Sequence[str], log: IO[bytes], files: Sequence[int] = ()
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program that does not outlive this block."""
    process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, pass_fds=files)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
