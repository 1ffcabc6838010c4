"""Orders and prices: what is sent, how often, and what comes back in the end."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from pydantic import SecretStr

from gateway.core.errors import Draining
from gateway.core.pacing import CallClass, GateLimits
from gateway.core.retry import Endpoint, Outcome, RetryRules
from gateway.ports import NoPlace, Reply, Upstream
from gateway.upstream.client import VeniceClient
from gateway.upstream.downloads import Links
from gateway.upstream.venice import Venice
from tests.upstream.clients import TLS
from tests.upstream.scene import (
    ACCEPTED,
    BAD_GATEWAY,
    BLOCKED,
    BUSY,
    BUSY_FOR_4,
    LIMITED,
    LOST,
    NO_CONNECTION,
    ORDER,
    QUOTED,
    SERVER_ERROR,
    URL,
    Scene,
)
from tests.upstream.still_clock import settle


async def test_an_order_is_prepared_once_and_its_answer_comes_back(scene: Scene) -> None:
    route = scene.answers("/video/queue", ACCEPTED)
    upstream: Upstream = scene.venice
    reply = await scene.finished(
        upstream.queue(ORDER, "ann", scene.clock.monotonic() + 50, scene.prepare)
    )
    assert reply.document == {"model": "m", "queue_id": "q-1"}
    assert route.calls[0].request.content == b'{"model":"m","prompt":"a gondola","price":0.10}'
    assert scene.prepared == 1
    assert scene.outcomes == [(Endpoint.QUEUE, Outcome.OK)]
    assert [(call.call_class, call.user) for call in scene.recorded] == [(CallClass.QUEUE, "ann")]


async def test_an_order_is_prepared_after_the_gate_and_before_the_first_byte(scene: Scene) -> None:
    route = scene.answers("/video/queue", ACCEPTED)
    seen: list[tuple[int, int]] = []

    async def prepare() -> None:
        seen.append((len(scene.recorded), route.call_count))

    await scene.finished(scene.venice.queue(ORDER, "ann", scene.clock.monotonic() + 9, prepare))
    assert seen == [(1, 0)]


async def test_an_order_that_cannot_be_prepared_is_not_sent(scene: Scene) -> None:
    route = scene.answers("/video/queue", ACCEPTED)

    async def prepare() -> None:
        raise RuntimeError("the ledger is gone")

    with pytest.raises(RuntimeError):
        await scene.venice.queue(ORDER, "ann", scene.clock.monotonic() + 9, prepare)
    assert route.call_count == 0
    assert scene.gate.tokens(CallClass.QUEUE) == 38
    assert scene.gate.failure_budget() == 15


@pytest.mark.parametrize(
    ("answers", "outcome", "calls"),
    [
        ([LOST, ACCEPTED], Outcome.LOST, 1),
        ([httpx.ReadError("reset"), ACCEPTED], Outcome.LOST, 1),
        ([BAD_GATEWAY, ACCEPTED], Outcome.LOST, 1),
        ([httpx.Response(504, json={"error": "late"}), ACCEPTED], Outcome.LOST, 1),
        ([httpx.Response(200, text="<html>"), ACCEPTED], Outcome.NONSENSE, 1),
        ([BUSY, ACCEPTED], Outcome.UNAVAILABLE, 1),
        ([httpx.Response(422, json={"error": "no"}), ACCEPTED], Outcome.REFUSED, 1),
        ([BUSY_FOR_4, ACCEPTED], Outcome.OK, 2),
        ([LIMITED, ACCEPTED], Outcome.OK, 2),
        ([SERVER_ERROR, ACCEPTED], Outcome.OK, 2),
        ([SERVER_ERROR, SERVER_ERROR, ACCEPTED], Outcome.SERVER_ERROR, 2),
        ([SERVER_ERROR, LOST, ACCEPTED], Outcome.LOST, 2),
        ([NO_CONNECTION, NO_CONNECTION, ACCEPTED], Outcome.OK, 3),
        ([NO_CONNECTION] * 4, Outcome.NEVER_ARRIVED, 3),
        ([LIMITED] * 4, Outcome.RATE_LIMITED, 3),
    ],
)
async def test_an_order_is_sent_again_only_where_it_surely_bought_nothing(
    scene: Scene, answers: list[httpx.Response | Exception], outcome: Outcome, calls: int
) -> None:
    route = scene.answers("/video/queue", *answers)
    reply = await scene.finished(scene.order())
    assert reply.outcome is outcome
    assert route.call_count == calls
    assert scene.prepared == 1
    assert len(scene.outcomes) == calls
    assert len(scene.retries) == calls - 1


async def test_a_retry_waits_as_long_as_venice_asks(scene: Scene) -> None:
    route = scene.answers("/video/queue", LIMITED, ACCEPTED)
    task = asyncio.ensure_future(scene.order())
    await scene.clock.advance(7.0)
    assert route.call_count == 1
    await scene.clock.advance(0.5)
    assert (await task).is_ok
    assert scene.retries == [(Endpoint.QUEUE, Outcome.RATE_LIMITED)]


async def test_where_no_retry_fits_the_deadline_the_last_answer_stands(scene: Scene) -> None:
    route = scene.answers("/video/queue", LIMITED, ACCEPTED)
    reply = await scene.finished(scene.order(within=5.0), seconds=0.0)
    assert (reply.outcome, reply.stated_wait) == (Outcome.RATE_LIMITED, 7.0)
    assert route.call_count == 1


async def test_without_a_place_nothing_is_prepared_or_sent(scene: Scene) -> None:
    route = scene.answers("/video/queue", *[ACCEPTED] * 39)
    for _ in range(38):
        await scene.finished(scene.order(), seconds=0.0)
    task = asyncio.ensure_future(scene.order())
    await scene.clock.advance(24.9)
    assert not task.done()
    await scene.clock.advance(0.2)
    assert isinstance(task.exception(), NoPlace), "held no longer than the policy says"
    assert (route.call_count, scene.prepared) == (38, 38)


async def test_a_retry_without_a_place_gives_the_first_answer_back(scene: Scene) -> None:
    route = scene.answers("/video/queue", BUSY_FOR_4, ACCEPTED)
    task = asyncio.ensure_future(scene.order(within=10.0))
    await settle()
    scene.gate.set_limits(GateLimits(queue=1))
    await scene.clock.advance(10.0)
    assert (await task).outcome is Outcome.UNAVAILABLE
    assert route.call_count == 1


async def test_a_closing_gate_ends_the_wait_for_a_retry_with_the_last_answer(scene: Scene) -> None:
    scene.answers("/video/queue", LIMITED)
    task = asyncio.ensure_future(scene.order())
    await settle()
    scene.gate.close()
    await settle()
    assert (await task).outcome is Outcome.RATE_LIMITED
    with pytest.raises(Draining):
        await scene.order()
    with pytest.raises(Draining):
        async with scene.venice.download("https://share.test/v"):
            pass


async def test_retries_stay_a_tenth_of_the_calls_however_many_fail(scene: Scene) -> None:
    scene.gate.set_limits(GateLimits(10_000, 10_000, 10_000, 10_000))
    scene.clock.chance = 0.0

    def nearly_dead(request: httpx.Request) -> httpx.Response:
        return BAD_GATEWAY if route.call_count % 8 else QUOTED  # eight in a row open the breaker

    route = scene.network.post(f"{URL}/video/quote").mock(side_effect=nearly_dead)
    for _ in range(300):
        await scene.finished(scene.ask_price(), seconds=0.1)
    assert 320 <= route.call_count <= 330
    assert len(scene.retries) == route.call_count - 300


async def test_a_dead_endpoint_is_left_alone_then_probed_by_one(scene: Scene) -> None:
    route = scene.answers("/video/quote", *[NO_CONNECTION] * 9, QUOTED, QUOTED)
    scene.venice.set_rules(RetryRules(attempts=1), 25.0)
    for _ in range(8):
        assert not scene.venice.breaker_is_open(Endpoint.QUOTE)
        await scene.finished(scene.ask_price(), seconds=0.0)
    assert scene.venice.breaker_is_open(Endpoint.QUOTE)
    with pytest.raises(NoPlace):
        await scene.ask_price()
    assert route.call_count == 8
    await scene.clock.advance(10.0)
    assert (await scene.ask_price()).outcome is Outcome.NEVER_ARRIVED
    with pytest.raises(NoPlace):
        await scene.ask_price()
    await scene.clock.advance(10.0)
    assert (await scene.ask_price()).is_ok
    assert (await scene.ask_price()).is_ok
    assert not scene.venice.breaker_is_open(Endpoint.QUOTE)


async def test_a_probe_that_found_no_place_lets_another_try(scene: Scene) -> None:
    scene.answers("/video/quote", *[NO_CONNECTION] * 8, QUOTED)
    scene.venice.set_rules(RetryRules(attempts=1), 25.0)
    for _ in range(8):
        await scene.ask_price()
    await scene.clock.advance(10.0)
    with pytest.raises(NoPlace, match="the deadline"):
        await scene.ask_price(within=0.0)
    assert (await scene.ask_price()).is_ok


async def test_an_open_breaker_stands_before_its_own_endpoint_only(scene: Scene) -> None:
    scene.answers("/video/quote", *[NO_CONNECTION] * 8)
    scene.answers("/video/queue", ACCEPTED)
    scene.venice.set_rules(RetryRules(attempts=1), 25.0)
    for _ in range(8):
        await scene.ask_price()
    assert (await scene.order()).is_ok


async def test_a_block_silences_every_endpoint(scene: Scene) -> None:
    scene.answers("/video/queue", BLOCKED, ACCEPTED)
    quotes = scene.answers("/video/quote", QUOTED)
    order = asyncio.ensure_future(scene.order(within=60.0))
    await settle()
    quote = asyncio.ensure_future(scene.ask_price("bob", within=24.0))
    await scene.clock.advance(29.9)
    assert isinstance(quote.exception(), NoPlace)
    assert quotes.call_count == 0
    await scene.clock.advance(1.0)
    assert (await order).is_ok


async def test_a_question_is_cut_off_at_its_deadline_and_an_order_is_not(scene: Scene) -> None:
    given: list[float | None] = []

    class Watching(VeniceClient):
        async def send(self, *args: object, seconds: float | None = None, **_: object) -> Reply:
            given.append(seconds)
            return Reply(Outcome.OK, 200)

    watched = Venice(
        Watching(URL, SecretStr("a-key"), tls=TLS),
        scene.gate,
        Links(URL, []),
        scene.clock,
        scene,
        rules=RetryRules(),
        hold=25.0,
    )
    await watched.quote({}, "ann", scene.clock.monotonic() + 12.0)
    await watched.queue({}, "ann", scene.clock.monotonic() + 12.0, scene.prepare)
    assert given == [12.0, None]
