"""`python -m tests.vm.box [KERNEL...]`: a Vagrant box of our own, and what its machines start from.

For where there is no network, or no box with these kernels. The box has the root of tests/vm/root.py and
neither boot loader nor kernel, so there is one for all kernels; it is for libvirt.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from tests.vm import root
from tests.vm.image import ImageError, unpacked_once
from tests.vm.initramfs import write_initramfs
from tests.vm.kernels import ROOT, STORE, Kernel, KernelError, chosen, fetched

FOLDER: Final = ROOT / "build/vagrant"
INIT: Final = ROOT / "vagrant/init.sh"
KEY: Final = "home/vagrant/.ssh/key"
NEEDED: Final = (
    *("virtio_pci", "virtio_blk", "ext4", "crc32c_generic"),  # the root; ext4 asks for the last by itself
    *("virtio_net", "virtio_rng", "loop"),
)
"""All modules that there are in such a machine."""
GIB: Final = 4
"""Of the file system; the disk is larger, whatever unit Vagrant takes its size in."""


def write_box(source: Path, target: Path) -> None:
    """The folder as a disk, and what Vagrant has to know of it. It appears whole or not at all."""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        raw, disk, new = (Path(folder, name) for name in ("raw", "box.img", "box"))
        make = ("mkfs.ext4", "-q", "-O", "^has_journal", "-d", str(source), str(raw), f"{GIB}G")
        subprocess.run(make, check=True)
        subprocess.run(["qemu-img", "convert", "-O", "qcow2", str(raw), str(disk)], check=True)
        about = Path(folder, "metadata.json")
        about.write_text(json.dumps({"provider": "libvirt", "format": "qcow2", "virtual_size": GIB + 1}))
        with tarfile.open(new, "w") as archive:
            for path in (about, disk):
                archive.add(path, path.name)
        new.replace(target)


def write_kernel(kernel: Kernel) -> None:
    """What vagrant/Vagrantfile has a machine of that name start from."""
    unpacked = fetched(kernel)
    folder = FOLDER / kernel.name
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(unpacked_once(unpacked.image, STORE / unpacked.release / "vmlinux"), folder)
    write_initramfs(unpacked.modules, folder / "initramfs", INIT, NEEDED)


def main() -> int:
    """Exit codes: 0 all is there, 1 a kernel cannot be had, 2 usage."""
    parser = argparse.ArgumentParser(prog="vagrant/build-box", description=__doc__)
    parser.add_argument("kernels", nargs="*", metavar="KERNEL", help="names in kernels.yaml; all without any")
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    source, box = root.made(), FOLDER / "reflexarc.box"
    if not box.exists() or box.stat().st_mtime < source.stat().st_mtime:
        write_box(source, box)
        shutil.copy(source / KEY, FOLDER / "key")
        (FOLDER / "key").chmod(0o600)
    try:
        for kernel in chosen(options.kernels):
            write_kernel(kernel)
    except (KernelError, ImageError) as error:
        sys.exit(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
