"""What gRPC's log says of handshakes."""

import asyncio
import os

import pytest

from controlplane.plane.api.handshakes import failed_handshakes, reason_in

PREFIX = (
    b"I1124 12:41:16.148394    4889 ssl_transport_security.cc:2563] "
    b"Handshake failed with error SSL_ERROR_SSL: "
)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (
            PREFIX + b"error:1000009c:SSL routines:OPENSSL_internal:HTTP_REQUEST: "
            b"Invalid certificate verification context",
            "http request",
        ),
        (
            PREFIX + b"error:1000007d:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: "
            b"certificate has expired",
            "certificate verify failed, certificate has expired",
        ),
        (b"I1124 12:41:16.148394 4889 server.cc:1] something else", None),
        (b"\xff\xfe", None),
    ],
)
def test_reasons(line: bytes, reason: str | None) -> None:
    assert reason_in(line) == reason


def test_what_else_is_said_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    """In pieces, as a pipe hands it over; what is there only for our sake is left out."""
    said: list[str] = []

    async def main() -> None:
        reading, writing = os.pipe2(os.O_NONBLOCK)
        last = asyncio.Event()

        def failed(reason: str) -> None:
            said.append(reason)
            last.set()

        with failed_handshakes(reading, failed):
            os.write(writing, b"E1124 a.cc:1] it breaks\nI1124 b.cc:1] all is well\n" + PREFIX)
            os.write(writing, b"error:1:SSL routines:OPENSSL_internal:NO_SHARED_CIPHER: what\n")
            await asyncio.wait_for(last.wait(), 5)
        os.close(reading)
        os.close(writing)

    asyncio.run(main())
    assert said == ["no shared cipher, what"]
    assert capsys.readouterr().err == "E1124 a.cc:1] it breaks\n"
