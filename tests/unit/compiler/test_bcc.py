"""Instructions that name a map get its descriptor; no other is touched."""

import pytest

from controlplane.compiler.bcc import with_maps

LOAD_MAP = bytes.fromhex("1811000000000000") + bytes(8)
LOAD_NUMBER = bytes.fromhex("1801000000000000") + bytes(8)
EXIT = bytes.fromhex("9500000000000000")


def loading(instruction: bytes, number: int) -> bytes:
    return instruction[:4] + number.to_bytes(4, "little") + instruction[8:]


def test_maps_are_put_in() -> None:
    code = loading(LOAD_MAP, 1001) + loading(LOAD_NUMBER, 1001) + loading(LOAD_MAP, 1000) + EXIT
    expected = loading(LOAD_MAP, 7) + loading(LOAD_NUMBER, 1001) + loading(LOAD_MAP, 300) + EXIT
    assert with_maps(code, {1000: 300, 1001: 7}) == expected


def test_an_unknown_map_is_no_descriptor() -> None:
    with pytest.raises(KeyError):
        with_maps(loading(LOAD_MAP, 1001), {1000: 3})
