"""UNIX sockets of management: who gets through the file system, with what role, and whose path is refused.

What the kernel refuses never reaches the plane, and is not journalled.
"""

import grp
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import grpc
import pytest

from tests.plane.running import GROUP, node, plane
from tests.plane.world import LOOKS, UNDO, Kind, World, outcome, says, unchanged
from tests.unit.plane.loop import LoopThread

CONNECT = """
import os, socket, sys
os.setgroups([int(group) for group in sys.argv[2:]])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
try:
    socket.socket(socket.AF_UNIX).connect(sys.argv[1])
except PermissionError:
    sys.exit(13)
"""


def connect_as_nobody(path: Path, *groups: int) -> int:
    """0 where another uid, in these groups, is let in; 13 (EACCES) where it is not."""
    arguments = [sys.executable, "-c", CONNECT, str(path), *map(str, groups)]
    return subprocess.run(arguments, check=False).returncode


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: becomes another user")


@needs_root
def test_a_socket_as_another_uid(world: World) -> None:
    """The kernel refuses, before a byte is read: there is no call, and nothing to journal."""
    group = grp.getgrnam(GROUP).gr_gid
    heard = len(world.running.responder.calls)
    with unchanged(world):
        for socket_path in ("plane/management.sock", "viewer/management.sock"):
            assert connect_as_nobody(world.node.root / socket_path) == 13
        assert connect_as_nobody(world.node.root / "plane/management.sock", group) == 13
        assert connect_as_nobody(world.node.root / "viewer/management.sock", group) == 0
    assert len(world.running.responder.calls) == heard


@pytest.mark.parametrize("kind", ["unary", "stream"])
def test_the_socket_for_viewers_is_for_looking(world: World, kind: Kind) -> None:
    path = world.node.root / "viewer/management.sock"
    entry = path.stat()
    assert stat.S_IMODE(entry.st_mode) == 0o660
    assert entry.st_gid == grp.getgrnam(GROUP).gr_gid
    credentials = grpc.local_channel_credentials(grpc.LocalConnectionType.UDS)
    world.loop.call(world.running.responder.calls.clear)
    with unchanged(world), grpc.secure_channel(f"unix:{path}", credentials) as channel:
        assert outcome(channel, *LOOKS[kind], world.tell) == "OK"
        assert outcome(channel, *UNDO, world.tell) == "PERMISSION_DENIED"
        wanted = "unix:viewer .*/Undo PERMISSION_DENIED this needs the role operator"
        call = world.loop.run(world.running.journalled(partial(says, wanted)))
    assert (call.role, call.origin) == ("viewer", "unix:")


def link_to_a_file(path: Path) -> None:
    (path.parent / "file").write_text("precious")
    path.symlink_to("file")


def link_to_a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path.parent / "other.sock"))
    path.symlink_to("other.sock")


def somebody_elses_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
    os.chown(path, 65534, 65534)


@needs_root
@pytest.mark.parametrize(
    "make",
    [
        link_to_a_file,
        link_to_a_socket,
        somebody_elses_socket,
        Path.mkdir,
        lambda path: path.write_text("precious"),
    ],
    ids=["link to a file", "link to a socket", "another's socket", "folder", "file"],
)
def test_a_socket_path_that_is_taken(loop: LoopThread, make: Callable[[Path], object]) -> None:
    """The plane does not start, and touches nothing."""

    async def scenario() -> None:
        with node() as where:
            path = where.root / "plane/management.sock"
            make(path)
            before = path.lstat()
            with pytest.raises(AssertionError, match="is there already, and no socket of ours"):
                async with plane(where, where.config()):
                    pass
            assert path.lstat() == before

    loop.run(scenario())


@needs_root
def test_a_folder_in_which_others_may_write(loop: LoopThread) -> None:
    async def scenario() -> None:
        with node() as where:
            (where.root / "plane").chmod(0o770)
            with pytest.raises(AssertionError, match="not a folder that only we can write to"):
                async with plane(where, where.config()):
                    pass

    loop.run(scenario())


def test_a_socket_that_a_dead_plane_left(loop: LoopThread) -> None:
    async def scenario() -> None:
        with node() as where:
            async with plane(where, where.config()) as running:
                running.kill()
                await running.ended()
            assert (where.root / "plane/management.sock").is_socket()
            async with plane(where, where.config()) as running:
                await running.serving("plane", serving=True)

    loop.run(scenario())
