"""Asks a server of ours for TLS 1.2, which it must not speak: the proof that what was set before holds.

Speaks raw bytes: an ordinary handshake fails for many reasons, and would pass for a refusal.
"""

import asyncio
import ssl
from typing import Final

import grpc

from controlplane.plane.api.aio_server import LIMITS, AioServer

ANSWER_S: Final = 5.0
_HANDSHAKE: Final = 22
"""ContentType of a ServerHello (RFC 8446, section 5.1); a refusal is an alert, or the end."""


class OldTlsError(RuntimeError):
    """TLS 1.2 is spoken here."""


async def require_tls_1_3(credentials: grpc.ServerCredentials) -> None:
    """Returns when a server with these credentials refused TLS 1.2. Raises OldTlsError."""
    server = AioServer([], LIMITS)
    port = server.listen("127.0.0.1:0", credentials)
    await server.start()
    try:
        if await _answers(port, client_hello()):
            hint = "GRPC_SSL_CIPHER_SUITES must be PSK before grpc is imported"
            raise OldTlsError(f"TLS 1.2 is spoken: nothing is served over TLS ({hint})")
    finally:
        await server.stop()


def client_hello() -> bytes:
    """What a client says that knows TLS 1.2 and every cipher suite of it, and nothing newer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.set_alpn_protocols(["h2"])
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = context.wrap_bio(received, sent)
    try:
        connection.do_handshake()
    except ssl.SSLWantReadError:
        return sent.read()
    raise AssertionError("a handshake needs an answer")


async def _answers(port: int, hello: bytes) -> bool:
    async with asyncio.timeout(ANSWER_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(hello)
            first = await reader.read(1)
        except ConnectionResetError:
            return False
        finally:
            writer.close()
    return first == bytes([_HANDSHAKE])
