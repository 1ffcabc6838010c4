"""Videos that come slowly starve no order, and whoever asks is not blamed for what we asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import httpx
import pytest

from gateway.core.retry import Endpoint, Outcome
from gateway.ports import BodyCut, BodyLost, ModelClosed, Reply, VideoReply
from gateway.upstream.bodies import video_chunks
from gateway.upstream.client import CONNECTIONS_MAX, NETWORK_FAILED
from gateway.upstream.limits import BodyLimits, ClientLimits
from tests.upstream.clients import client_of
from tests.upstream.raw_server import answer, raw_server, saying
from tests.upstream.scene import ORDER, URL, Scene

VIDEO = bytes(3_000_000)
LIMITS = ClientLimits(connect_seconds=0.5)


async def test_unread_videos_take_no_connection_from_orders_and_questions() -> None:
    behave = saying(answer("200 OK", VIDEO, "Content-Type: video/mp4"))
    async with (
        raw_server(behave) as server,
        client_of(server.url, LIMITS) as client,
        AsyncExitStack() as stack,
    ):
        for number in range(CONNECTIONS_MAX):
            looking = client.open_retrieve("m", f"q-{number}")
            assert isinstance(await stack.enter_async_context(looking), VideoReply)
        async with client.open_retrieve("m", "one too many") as found:
            assert isinstance(found, Reply)
            assert found.outcome is Outcome.NEVER_ARRIVED
        for endpoint, path in (
            (Endpoint.QUOTE, "/video/quote"),
            (Endpoint.QUEUE, "/video/queue"),
            (Endpoint.COMPLETE, "/video/complete"),
        ):
            reply = await client.send(endpoint, "POST", path, {})
            assert reply.outcome is not Outcome.NEVER_ARRIVED, endpoint


@pytest.mark.parametrize(
    ("door", "status", "is_blamed"),
    [
        ("quote", 400, True),
        ("queue", 400, True),
        ("queue", 422, True),
        ("queue", 403, False),
        ("retrieve", 400, False),
        ("retrieve", 404, False),
        ("retrieve", 422, True),
        ("complete", 400, False),
        ("complete", 422, False),
    ],
)
async def test_a_user_is_blamed_for_what_the_user_asked_alone(
    scene: Scene, door: str, status: int, is_blamed: bool
) -> None:
    refused = httpx.Response(status, json={"error": "no"})
    scene.network.post(f"{URL}/video/{door}").mock(return_value=refused)
    for _ in range(5):
        match door:
            case "quote":
                with suppress(ModelClosed):
                    await scene.venice.quote(ORDER, "ann", scene.clock.monotonic() + 5.0)
            case "queue":
                with suppress(ModelClosed):
                    await scene.order()
            case "complete":
                await scene.venice.complete("m", "q-1", "ann")
            case _:
                async with scene.venice.retrieve("m", "q-1", "ann"):
                    pass
    assert (scene.venice.user_wait("ann") > 0) is is_blamed
    assert scene.venice.user_wait("bob") == 0


@pytest.mark.parametrize(
    ("error", "is_lost"),
    [
        (httpx.ReadError("reset"), True),
        (ConnectionResetError("reset"), True),
        (httpx.RemoteProtocolError("ended short"), False),
        (httpx.ReadTimeout("stalled"), False),
        (TimeoutError(), False),
    ],
)
async def test_a_network_that_fails_is_told_from_a_body_that_ends_short(
    error: Exception, is_lost: bool
) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"mp4"
        raise error

    cuts = (httpx.HTTPError, OSError)
    chunks = video_chunks(parts(), BodyLimits(), cuts, NETWORK_FAILED)
    assert await anext(chunks) == b"mp4"
    with pytest.raises(BodyCut) as raised:
        await anext(chunks)
    assert isinstance(raised.value, BodyLost) is is_lost
