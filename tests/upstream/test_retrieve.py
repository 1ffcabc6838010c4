"""Videos on their way from Venice: whole, or cut and saying so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import respx
from pydantic import SecretStr

from gateway.core.retry import Outcome
from gateway.ports import BodyCut, Reply, VideoReply
from gateway.settings import fingerprint
from gateway.upstream.client import VeniceClient
from gateway.upstream.limits import BodyLimits, ClientLimits
from tests.upstream.clients import client_of
from tests.upstream.raw_server import (
    Behaviour,
    RawServer,
    answer,
    head,
    raw_server,
    resetting,
    saying,
    trickling,
)

VIDEO = bytes(range(256)) * 1_000
MP4 = "Content-Type: video/mp4"
BASE = "https://venice.test/api/v1"
LIMITS = ClientLimits(
    body=BodyLimits(stall_seconds=0.2, stall_bytes=1_000, video_bytes_max=300_000)
)


@asynccontextmanager
async def retrieved(
    behave: Behaviour, limits: ClientLimits = LIMITS
) -> AsyncIterator[tuple[RawServer, Reply | VideoReply]]:
    async with (
        raw_server(behave) as server,
        client_of(server.url, limits) as client,
        client.open_retrieve("m", "q-1") as found,
    ):
        yield server, found


async def read_all(found: Reply | VideoReply) -> bytes:
    assert isinstance(found, VideoReply)
    return b"".join([chunk async for chunk in found.chunks])


async def test_a_finished_video_comes_whole_and_with_its_length() -> None:
    async with retrieved(saying(answer("200 OK", VIDEO, MP4))) as (server, found):
        assert isinstance(found, VideoReply)
        assert found.expected_bytes == len(VIDEO)
        assert await read_all(found) == VIDEO
    sent = json.loads(server.requests[0].partition(b"\r\n\r\n")[2])
    assert sent == {"model": "m", "queue_id": "q-1"}


async def test_a_chunked_video_has_no_length_but_an_end() -> None:
    framed = head("200 OK", "Content-type: VIDEO/MP4; a=b", "Transfer-Encoding: chunked")
    behave = saying(framed, b"3e8\r\n" + VIDEO[:1_000] + b"\r\n0\r\n\r\n")
    async with retrieved(behave) as (_, found):
        assert isinstance(found, VideoReply)
        assert found.expected_bytes is None
        assert await read_all(found) == VIDEO[:1_000]


async def test_a_job_in_the_making_is_a_reply() -> None:
    body = b'{"status": "PROCESSING", "average_execution_time": 145000, "execution_duration": 1}'
    async with retrieved(saying(answer("200 OK", body))) as (_, found):
        assert isinstance(found, Reply)
        assert found.is_ok
        assert found.document["status"] == "PROCESSING"


NO_VIDEOS: dict[str, tuple[Behaviour, Outcome]] = {
    "gone": (saying(answer("404 Not Found", b'{"error": "gone"}')), Outcome.REFUSED),
    "gone as a video": (saying(answer("404 Not Found", b"\0\0", MP4)), Outcome.REFUSED),
    "a part": (saying(answer("206 Partial", b"\0\0", MP4)), Outcome.NONSENSE),
    "packed": (saying(answer("200 OK", b"\0\0", MP4, "Content-Encoding: gzip")), Outcome.NONSENSE),
    "not called a video": (saying(answer("200 OK", VIDEO)), Outcome.NONSENSE),
    "reset": (resetting, Outcome.LOST),
}


@pytest.mark.parametrize("name", NO_VIDEOS)
async def test_what_is_no_video_is_a_reply(name: str) -> None:
    behave, outcome = NO_VIDEOS[name]
    async with retrieved(behave) as (_, found):
        assert isinstance(found, Reply)
        assert found.outcome is outcome


async def test_a_retrieve_nobody_answers_is_lost_in_time() -> None:
    limits = ClientLimits(answer_seconds=0.2)
    async with asyncio.timeout(5), retrieved(saying(60.0), limits) as (_, found):
        assert isinstance(found, Reply)
        assert found.outcome is Outcome.LOST


LONG = head("200 OK", MP4, "Content-Length: 500000")
BROKEN_VIDEOS: dict[str, Behaviour] = {
    "cut": saying(LONG, VIDEO[:9_000]),
    "stalled": saying(LONG, VIDEO[:9_000], 60.0),
    "a byte now and then": trickling(LONG, b"x", 0.02),
    "endless": trickling(head("200 OK", MP4), VIDEO, 0),
    "too large": saying(answer("200 OK", VIDEO * 2, MP4)),
    "cut in a chunk": saying(head("200 OK", MP4, "Transfer-Encoding: chunked"), b"3e8\r\nxx"),
    "no chunk at all": saying(head("200 OK", MP4, "Transfer-Encoding: chunked")),
}


@pytest.mark.parametrize("name", BROKEN_VIDEOS)
async def test_a_body_that_does_not_come_whole_says_so(name: str) -> None:
    async with asyncio.timeout(5), retrieved(BROKEN_VIDEOS[name]) as (_, found):
        with pytest.raises(BodyCut):
            await read_all(found)


async def test_a_body_may_not_take_for_ever_even_at_a_fair_pace() -> None:
    limits = ClientLimits(body=BodyLimits(stall_seconds=5, stall_bytes=1, video_seconds=0.2))
    behave = trickling(head("200 OK", MP4), VIDEO[:2_000], 0.02)
    async with asyncio.timeout(5), retrieved(behave, limits) as (_, found):
        with pytest.raises(BodyCut):
            await read_all(found)


async def test_a_slow_taker_is_not_taken_for_a_stall() -> None:
    limits = ClientLimits(body=BodyLimits(stall_seconds=0.2, stall_bytes=10**6))
    async with retrieved(saying(answer("200 OK", VIDEO, MP4)), limits) as (_, found):
        assert isinstance(found, VideoReply)
        taken = 0
        async for chunk in found.chunks:
            taken += len(chunk)
            await asyncio.sleep(0.1)
    assert taken == len(VIDEO)


async def test_leaving_early_hangs_up() -> None:
    behave = trickling(head("200 OK", MP4, "Content-Length: 9000000000"), VIDEO[:1_000], 0.01)
    async with raw_server(behave) as server, client_of(server.url, ClientLimits()) as client:
        async with client.open_retrieve("m", "q-1") as found:
            assert isinstance(found, VideoReply)
            assert await anext(found.chunks)
        async with asyncio.timeout(5):
            await server.closed_by_client.wait()


async def test_a_fault_of_the_takers_passes_through() -> None:
    async def take_badly() -> None:
        async with retrieved(saying(answer("200 OK", VIDEO, MP4))) as (_, found):
            assert isinstance(found, VideoReply)
            await anext(found.chunks)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await take_badly()


async def test_a_job_is_asked_for_with_the_key_that_bought_it() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return httpx.Response(200, json={"status": "PROCESSING"})

    old, new = SecretStr("old-organization-key"), SecretStr("new-organization-key")
    client = VeniceClient(BASE, new, previous_key=old)
    with respx.mock:
        respx.post(f"{BASE}/video/retrieve").mock(side_effect=answer)
        for bought_with in (fingerprint(old), fingerprint(new), None, "of-a-key-long-gone"):
            async with client.open_retrieve("m", "q", bought_with) as reply:
                assert isinstance(reply, Reply)
    await client.close()
    current = f"Bearer {new.get_secret_value()}"
    assert seen == [f"Bearer {old.get_secret_value()}", current, current, current]
