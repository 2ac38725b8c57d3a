"""The archive that a guest starts from is one that the kernel reads."""

import subprocess
from pathlib import Path

import pytest

from tests.vm.initramfs import BUSYBOX, FOLDERS, archive, dependencies, in_order

DEPENDENCIES = """\
kernel/fs/fuse/fuse.ko:
kernel/fs/fuse/virtiofs.ko: kernel/fs/fuse/fuse.ko kernel/virtio/virtio_ring.ko kernel/virtio/virtio.ko
kernel/virtio/virtio_ring.ko: kernel/virtio/virtio.ko
kernel/virtio/virtio.ko:
kernel/drivers/net/dummy-net.ko.xz:
"""


def test_each_module_comes_after_what_it_needs() -> None:
    order = in_order(dependencies(DEPENDENCIES), ["virtiofs"])
    assert [Path(path).stem for path in order] == ["virtio", "virtio_ring", "fuse", "virtiofs"]


def test_modules_go_by_one_name_and_what_is_built_in_is_left_out() -> None:
    assert in_order(dependencies(DEPENDENCIES), ["dummy_net", "overlay"]) == [
        "kernel/drivers/net/dummy-net.ko.xz"
    ]


@pytest.mark.skipif(not BUSYBOX.exists(), reason="no busybox here; `make vm` brings it")
def test_others_can_read_the_archive(tmp_path: Path) -> None:
    files = {"init": b"#!/bin/sh\n", "bin/odd": b"12345"}
    subprocess.run([BUSYBOX, "cpio", "-id"], input=archive(files), cwd=tmp_path, check=True)
    assert {name: (tmp_path / name).read_bytes() for name in files} == files
    assert all((tmp_path / name).is_dir() for name in FOLDERS)
    assert (tmp_path / "init").stat().st_mode & 0o777 == 0o755
