"""The other calls: free questions, looks, deletions and links."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from gateway.core.pacing import CallClass
from gateway.core.retry import Endpoint, Outcome
from gateway.ports import LinkRefused, Reply, VideoReply
from tests.upstream.scene import BAD_GATEWAY, BUSY, LOST, MP4, QUOTED, URL, Scene
from tests.upstream.still_clock import settle


async def test_free_questions_go_where_they_belong(scene: Scene) -> None:
    routes = {
        Endpoint.MODELS: scene.network.get(f"{URL}/models", params={"type": "video"}),
        Endpoint.BALANCE: scene.network.get(f"{URL}/billing/balance"),
        Endpoint.RATE_LIMITS: scene.network.get(f"{URL}/api_keys/rate_limits"),
    }
    for endpoint, route in routes.items():
        route.respond(200, json={"data": []})
        assert (await scene.venice.get(endpoint, scene.clock.monotonic() + 5.0)).is_ok
        assert route.call_count == 1


async def test_complete_names_the_job_and_is_tried_again(scene: Scene) -> None:
    done = httpx.Response(200, json={"success": True})
    route = scene.answers("/video/complete", BAD_GATEWAY, LOST, done)
    assert (await scene.finished(scene.venice.complete("m", "q-1", "ann"))).is_ok
    assert [call.request.content for call in route.calls] == [b'{"model":"m","queue_id":"q-1"}'] * 3


async def test_a_video_frees_its_place_as_soon_as_its_status_is_known(scene: Scene) -> None:
    scene.answers("/video/retrieve", MP4)
    async with scene.venice.retrieve("m", "q-1", "ann") as found:
        assert isinstance(found, VideoReply)
        assert scene.gate.failure_budget() == 15
        assert scene.outcomes == [(Endpoint.RETRIEVE, Outcome.OK)]
        assert b"".join([chunk async for chunk in found.chunks]) == b"mp4"
    assert scene.gate.tokens(CallClass.RETRIEVE) == 113


async def test_a_retrieve_is_not_sent_again(scene: Scene) -> None:
    route = scene.answers("/video/retrieve", BUSY, MP4)
    async with scene.venice.retrieve("m", "q-1", "ann") as found:
        assert isinstance(found, Reply)
        assert found.outcome is Outcome.UNAVAILABLE
    assert route.call_count == 1
    assert scene.gate.failure_budget() == 14


async def test_a_cancelled_question_counts_as_a_failure(scene: Scene) -> None:
    stuck = asyncio.Event()

    async def never(request: httpx.Request) -> httpx.Response:
        await stuck.wait()
        return QUOTED

    scene.network.post(f"{URL}/video/quote").mock(side_effect=never)
    task = asyncio.ensure_future(scene.ask_price())
    await settle()
    task.cancel()
    await settle()
    assert task.cancelled()
    assert scene.gate.failure_budget() == 14


async def test_a_download_takes_no_place_at_the_gate(scene: Scene) -> None:
    route = scene.network.get("https://93.184.215.14/v?sig=1").mock(return_value=MP4)
    async with scene.venice.download("https://share.test/v?sig=1") as found:
        assert isinstance(found, VideoReply)
    assert route.calls[0].request.headers["host"] == "share.test"
    assert scene.recorded == []
    assert scene.outcomes == [(Endpoint.DOWNLOAD, Outcome.OK)]


async def test_a_link_elsewhere_is_neither_followed_nor_revoked(scene: Scene) -> None:
    with pytest.raises(LinkRefused):
        await scene.venice.revoke("https://evil.test/v")
    with pytest.raises(LinkRefused):
        async with scene.venice.download("https://evil.test/v"):
            pass
    assert scene.outcomes == []


async def test_a_link_is_revoked(scene: Scene) -> None:
    scene.network.delete("https://93.184.215.14/v").respond(204)
    assert (await scene.venice.revoke("https://share.test/v")).is_ok
