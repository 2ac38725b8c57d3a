"""From a compressed kernel image to the ELF file that QEMU starts through its PVH entry.

Emulated, that boots in a third of the time: the guest neither runs a boot loader nor unpacks itself.
"""

import lzma
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Final

SETUP_SECTORS: Final = 0x1F1
MAGIC: Final = 0x202
PAYLOAD: Final = 0x248
"""Fields of the header, Documentation/arch/x86/boot.rst; at PAYLOAD are payload_offset and payload_length."""
SECTOR: Final = 512
ELF: Final = b"\x7fELF"


class ImageError(Exception):
    """Not a kernel image that is understood here."""


def write_vmlinux(image: Path, target: Path) -> None:
    """Unpack `image` (bzImage) to `target`, which appears whole or not at all; raises ImageError."""
    new = target.with_suffix(".new")
    new.write_bytes(vmlinux_in(image.read_bytes()))
    new.replace(target)


def unpacked_once(image: Path, target: Path) -> Path:
    """`target`, unpacked from `image` unless it is there; raises ImageError."""
    if not target.exists():
        write_vmlinux(image, target)
    return target


def vmlinux_in(image: bytes) -> bytes:
    """The ELF kernel in a bzImage; raises ImageError."""
    if image[MAGIC : MAGIC + 4] != b"HdrS":
        raise ImageError("no boot header: this is not a bzImage")
    offset, length = struct.unpack_from("<II", image, PAYLOAD)
    begin = ((image[SETUP_SECTORS] or 4) + 1) * SECTOR + offset
    kernel = unpacked(image[begin : begin + length])
    if not kernel.startswith(ELF):
        raise ImageError("the payload of this image is no ELF file")
    return kernel


def unpacked(data: bytes) -> bytes:
    """Undo gzip, xz, lz4 or zstd, whichever it is, and ignore what follows; raises ImageError."""
    match data:
        case _ if data.startswith(b"\x1f\x8b"):
            return zlib.decompressobj(wbits=31).decompress(data)
        case _ if data.startswith(b"\xfd7zXZ\0"):
            return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(data)
        case _ if data.startswith(b"\x02\x21\x4c\x18"):
            return _piped("lz4", data)
        case _ if data.startswith(b"\x28\xb5\x2f\xfd"):
            return _piped("zstd", data)
    raise ImageError(f"compressed in an unknown way: {data[:4].hex()}")


def _piped(program: str, data: bytes) -> bytes:
    """What a program makes of it; it may complain of the size that the kernel's build appends."""
    done = subprocess.run([program, "-dc"], input=data, capture_output=True, check=False)
    if not done.stdout:
        raise ImageError(f"{program}: {done.stderr.decode().strip()}")
    return done.stdout
