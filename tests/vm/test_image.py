"""A kernel image is taken apart whatever its payload is compressed with."""

import gzip
import lzma
import shutil
import struct
import subprocess

import pytest

from tests.vm.image import ELF, MAGIC, PAYLOAD, SECTOR, SETUP_SECTORS, ImageError, vmlinux_in

KERNEL = ELF + bytes(range(256)) * 64
PROGRAMS = {"lz4": ("lz4", "-l", "-c"), "zstd": ("zstd", "-c")}


def image(payload: bytes, sectors: int = 3) -> bytes:
    """A boot header, the code that unpacks, the payload, and its size as the kernel's build appends it."""
    head = bytearray((sectors + 1) * SECTOR)
    head[SETUP_SECTORS] = sectors
    head[MAGIC : MAGIC + 4] = b"HdrS"
    code = bytes(1000)
    struct.pack_into("<II", head, PAYLOAD, len(code), len(payload) + 4)
    return bytes(head) + code + payload + struct.pack("<I", len(KERNEL)) + bytes(500)


def compressed(how: str, data: bytes) -> bytes:
    match how:
        case "gzip":
            return gzip.compress(data)
        case "xz":
            return lzma.compress(data, check=lzma.CHECK_CRC32)
    if shutil.which(how) is None:
        pytest.skip(f"{how} is not installed; `make vm` brings it")
    return subprocess.run(PROGRAMS[how], input=data, capture_output=True, check=True).stdout


@pytest.mark.parametrize("how", ["gzip", "xz", "lz4", "zstd"])
def test_the_kernel_comes_out(how: str) -> None:
    assert vmlinux_in(image(compressed(how, KERNEL))) == KERNEL


@pytest.mark.parametrize(
    "broken",
    [
        image(gzip.compress(b"no ELF file")),
        image(b"\x89LZO\x00"),
        image(gzip.compress(KERNEL)).replace(b"HdrS", b"none"),
    ],
    ids=["no kernel", "unknown compression", "no boot header"],
)
def test_anything_else_is_refused(broken: bytes) -> None:
    with pytest.raises(ImageError):
        vmlinux_in(broken)
