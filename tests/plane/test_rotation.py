"""Certificates that change under a running plane: no call fails, and what is old comes to its end."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import msgspec
import pytest

from tests.authority import HOUR, Authority, Shown, replace
from tests.plane.running import Node, Running, node, plane
from tests.plane.world import LOOKS, management

ROTATIONS = 200
AGE_S = 1
PATH, BODY = LOOKS["unary"]


class Site(NamedTuple):
    """A plane whose connections do not live long."""

    node: Node
    running: Running
    ours: Authority

    @property
    def folder(self) -> Path:
        return self.node.root / "tls"

    def channel(self, shown: Shown, ca: bytes | None = None) -> grpc.aio.Channel:
        credentials = grpc.ssl_channel_credentials(ca or self.ours.pem, shown.key, shown.certificate)
        # Each of its own: gRPC shares connections between channels that are alike.
        options = [("grpc.use_local_subchannel_pool", 1)]
        return grpc.aio.secure_channel(f"127.0.0.1:{self.running.ports['management']}", credentials, options)


def run(scenario: Callable[[Site], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(55), site() as given:
            await scenario(given)

    asyncio.run(main())


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    ours = Authority()
    with node() as where:
        folder = where.root / "tls"
        ours.issue("node", "server").write(folder / "tls")
        replace(folder / "ca.crt", ours.pem)
        replace(folder / "crl.pem", ours.revoking())
        given = msgspec.structs.replace(management(folder), connection_age_s=AGE_S)
        async with plane(where, where.config(management=given)) as running:
            await running.noticed("tls.rotated")
            yield Site(where, running, ours)


async def call(channel: grpc.aio.Channel) -> str:
    """The status a call ends with."""
    try:
        ask: Any = channel.unary_unary(PATH)  # bytes in, bytes out, which the stubs leave out
        await ask(BODY, timeout=10)
    except grpc.aio.AioRpcError as error:
        return str(error.code().name)
    return "OK"


class Calls:
    """Calls without a pause, one after the other."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.outcomes: list[str] = []
        self.channel = channel
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            self.outcomes.append(await call(self.channel))

    async def end(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self.channel.close()


def test_rotated_under_constant_calls_no_call_fails() -> None:
    async def scenario(given: Site) -> None:
        admin = given.ours.issue("admin")
        calls = [Calls(given.channel(admin)) for _ in range(2)]
        began = time.monotonic()
        for number in range(ROTATIONS):
            fresh = given.ours.issue("node", "server")
            fresh.write(given.folder / "tls")
            told = await given.running.noticed("tls.rotated", number + 2)
            assert f"serial {fresh.pair.certificate.serial_number:x}," in told.text
            async with given.channel(admin) as new:
                assert await call(new) == "OK"
        took = time.monotonic() - began
        assert took > 2 * AGE_S, "connections have aged meanwhile"
        for each in calls:
            await each.end()
            assert set(each.outcomes) == {"OK"}
            assert len(each.outcomes) > ROTATIONS

    run(scenario)


def test_a_certificate_of_the_ca_before_stops_working_within_the_age_of_its_connection() -> None:
    async def scenario(given: Site) -> None:
        old, other = given.ours.issue("admin"), Authority("the next")
        both = given.ours.pem + other.pem
        held = given.channel(old, both)
        assert await call(held) == "OK"
        (given.folder / "ca.crt").write_bytes(other.pem)
        replace(given.folder / "crl.pem", other.revoking())
        other.issue("node", "server").write(given.folder / "tls")
        await given.running.noticed("tls.rotated", 2)
        changed = time.monotonic()
        async with given.channel(other.issue("admin"), both) as new:
            assert await call(new) == "OK"
        async with given.channel(old, both) as again:
            assert await call(again) == "UNAVAILABLE"
        while await call(held) == "OK":
            pass
        # gRPC varies the age of each connection by a tenth.
        assert time.monotonic() - changed < 1.1 * AGE_S + 1
        assert {await call(held) for _ in range(5)} == {"UNAVAILABLE"}
        await held.close()

    run(scenario)


def test_revoked_between_two_calls_of_one_connection() -> None:
    async def scenario(given: Site) -> None:
        admin = given.ours.issue("admin")
        async with given.channel(admin) as channel:
            assert await call(channel) == "OK"
            replace(given.folder / "crl.pem", given.ours.revoking(admin))
            await given.running.noticed("tls.rotated", 2)
            assert await call(channel) == "UNAUTHENTICATED"

    run(scenario)


def expire(given: Site) -> None:
    given.ours.issue("node", "server", since=-2 * HOUR).write(given.folder / "tls")


BAD: dict[str, Callable[[Site], None]] = {
    "another's key": lambda given: replace(given.folder / "tls.key", given.ours.issue("x", "server").key),
    "no certificate": lambda given: replace(given.folder / "tls.crt", b"not one"),
    "no CA": lambda given: replace(given.folder / "ca.crt", b""),
    "gone": lambda given: (given.folder / "tls.key").unlink(),
    "expired": expire,
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_pair_keeps_the_old_one_and_is_told(name: str) -> None:
    async def scenario(given: Site) -> None:
        admin = given.ours.issue("admin")
        BAD[name](given)
        told = await given.running.noticed("tls.refused")
        assert "what was there before is kept" in told.text
        await given.running.serving("management", serving=False)
        async with given.channel(admin) as channel:
            assert await call(channel) == "OK"
        replace(given.folder / "ca.crt", given.ours.pem)
        given.ours.issue("node", "server").write(given.folder / "tls")
        await given.running.noticed("tls.rotated", 2)
        await given.running.serving("management", serving=True)

    run(scenario)


def test_a_secret_of_kubernetes_is_swapped() -> None:
    """All files are links through one link, which is replaced."""

    async def scenario(given: Site) -> None:
        fresh, newer = (given.ours.issue("node", "server") for _ in range(2))
        for name, shown in (("..2026", fresh), ("..2027", newer)):
            version = given.folder / name
            version.mkdir()
            shutil.chown(version, given.folder.stat().st_uid)
            shown.write(version / "tls")
            replace(version / "ca.crt", given.ours.pem)
        (given.folder / "..data").symlink_to("..2026")
        for name in ("tls.crt", "tls.key", "ca.crt"):
            link = given.folder / f".{name}"
            link.symlink_to(f"..data/{name}")
            link.rename(given.folder / name)
        for number, name, shown in ((2, "..2026", fresh), (3, "..2027", newer)):
            (given.folder / "..data_tmp").symlink_to(name)
            (given.folder / "..data_tmp").rename(given.folder / "..data")
            told = await given.running.noticed("tls.rotated", number)
            assert f"serial {shown.pair.certificate.serial_number:x}," in told.text

    run(scenario)
