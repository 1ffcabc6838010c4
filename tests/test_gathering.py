"""A head and its body go to the kernel together and in order, and nothing is held beyond a turn."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from gateway.gathering import HELD_BYTES_MAX, Gathering

HEAD, BODY = b"HTTP/1.1 200 OK\r\n\r\n", b"{}"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Calls(asyncio.Transport):
    """Notes what each call gave it, and whether it was closed then."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.is_closed, "written after closing"
        self.made.append(bytes(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
async def gathering(calls: Calls) -> Gathering:
    return Gathering(calls, asyncio.get_running_loop())


async def test_a_head_and_its_body_are_one_call(calls: Calls, gathering: Gathering) -> None:
    gathering.write(HEAD)
    gathering.write(BODY)
    assert calls.made == [HEAD + BODY]
    await asyncio.sleep(0)
    assert calls.made == [HEAD + BODY]


async def test_a_head_alone_waits_for_one_turn_only(calls: Calls, gathering: Gathering) -> None:
    gathering.write(HEAD)
    assert calls.made == []
    await asyncio.sleep(0)
    assert calls.made == [HEAD]


async def test_what_is_large_is_not_held(calls: Calls, gathering: Gathering) -> None:
    large = bytes(HELD_BYTES_MAX + 1)
    gathering.write(large)
    gathering.write(HEAD)
    gathering.write(large)
    assert calls.made == [large, HEAD + large]


async def test_closing_sends_what_is_held_first(calls: Calls, gathering: Gathering) -> None:
    gathering.write(HEAD)
    gathering.close()
    assert (calls.made, calls.is_closed) == ([HEAD], True)


async def test_a_client_that_left_gets_nothing(calls: Calls, gathering: Gathering) -> None:
    gathering.write(HEAD)
    calls.close()
    await asyncio.sleep(0)
    assert calls.made == []
    assert gathering.is_closing()
