"""A 401 or 403 about one model closes that model alone, for a while, and then one call tries."""

from __future__ import annotations

import httpx
import pytest

from gateway.core.retry import Endpoint, Outcome
from gateway.ports import ModelClosed, Reply
from gateway.upstream.breaker import Permission
from gateway.upstream.closures import CLOSED_MAX, FIRST_SECONDS, REST_SECONDS_MAX, Closures
from tests.upstream.scene import ACCEPTED, QUOTED, URL, Scene

FORBIDDEN = httpx.Response(403, json={"error": "not in your region"})


def refuse(closures: Closures, model: str, now: float, status: int = 403) -> None:
    permission = closures.enter(model, now)
    assert permission is not None
    closures.leave(model, permission, now, status=status, outcome=Outcome.REFUSED)


async def ask(scene: Scene, model: str) -> Reply:
    deadline = scene.clock.monotonic() + 9
    return await scene.venice.quote({"model": model}, "ann", deadline)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_model_is_left_alone_and_the_others_are_not(
    scene: Scene, status: int
) -> None:
    refused = httpx.Response(status, json={"error": "no"})
    route = scene.answers("/video/quote", refused, QUOTED, QUOTED)
    assert (await ask(scene, "wan")).status == status
    with pytest.raises(ModelClosed):
        await ask(scene, "wan")
    assert (await ask(scene, "kling")).is_ok
    assert (route.call_count, set(scene.venice.closed_models)) == (2, {"wan"})
    await scene.clock.advance(FIRST_SECONDS)
    assert (await ask(scene, "wan")).is_ok
    assert scene.venice.closed_models == set()


async def test_an_order_for_a_closed_model_is_neither_prepared_nor_sent(scene: Scene) -> None:
    queued = scene.answers("/video/queue", FORBIDDEN, ACCEPTED)
    assert (await scene.order()).status == 403
    with pytest.raises(ModelClosed):
        await scene.order()
    assert (queued.call_count, scene.prepared) == (1, 1)
    assert scene.gate.failure_budget() == 14


async def test_what_is_bought_already_is_asked_for_all_the_same(scene: Scene) -> None:
    scene.answers("/video/quote", FORBIDDEN)
    looked = scene.network.post(f"{URL}/video/retrieve").mock(return_value=FORBIDDEN)
    await ask(scene, "wan")
    for _ in range(2):
        async with scene.venice.retrieve("wan", "q-1", "ann") as answer:
            assert isinstance(answer, Reply)
    assert looked.call_count == 2
    assert scene.venice.closed_models == {"wan"}


async def test_another_key_is_tried_at_once(scene: Scene) -> None:
    scene.answers("/video/quote", FORBIDDEN, QUOTED)
    await ask(scene, "wan")
    scene.venice.take_new_key()
    assert (await ask(scene, "wan")).is_ok


async def test_a_breaker_that_stands_in_the_way_lets_the_model_be_tried_later(
    scene: Scene,
) -> None:
    scene.answers("/video/quote", FORBIDDEN, QUOTED)
    await ask(scene, "wan")
    await scene.clock.advance(FIRST_SECONDS)
    with pytest.raises(Exception, match="the deadline had passed"):
        await scene.venice.quote({"model": "wan"}, "ann", scene.clock.monotonic())
    assert not scene.venice.breaker_is_open(Endpoint.QUOTE)
    assert (await ask(scene, "wan")).is_ok


def test_each_refused_try_doubles_the_rest_up_to_its_limit() -> None:
    closures, now = Closures(), 0.0
    rests = []
    for _ in range(9):
        refuse(closures, "wan", now)
        began = now
        while closures.enter("wan", now) is None:
            now += 1.0
        rests.append(now - began)
        closures.leave("wan", Permission(is_probe=True), now)
    assert rests == [2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert max(rests) == REST_SECONDS_MAX


def test_one_call_tries_at_a_time_and_news_of_nothing_keeps_it_closed() -> None:
    closures = Closures()
    refuse(closures, "wan", 0.0)
    probe = closures.enter("wan", FIRST_SECONDS)
    assert probe is not None
    assert probe.is_probe
    assert closures.enter("wan", FIRST_SECONDS) is None
    closures.leave("wan", probe, FIRST_SECONDS, status=503, outcome=Outcome.UNAVAILABLE)
    assert closures.models == {"wan"}
    again = closures.enter("wan", FIRST_SECONDS)
    assert again is not None
    closures.leave("wan", again, FIRST_SECONDS, status=400, outcome=Outcome.REFUSED)
    assert closures.models == set()


def test_calls_that_were_under_way_when_a_model_closed_lengthen_nothing() -> None:
    closures = Closures()
    both = [closures.enter("wan", 0.0) for _ in range(2)]
    for permission in both:
        assert permission is not None
        closures.leave("wan", permission, 0.0, status=401, outcome=Outcome.REFUSED)
    assert closures.enter("wan", FIRST_SECONDS) is not None


def test_no_number_of_models_fills_the_memory() -> None:
    closures = Closures()
    for number in range(CLOSED_MAX + 10):
        refuse(closures, f"model {number}", 0.0)
    assert len(closures.models) == CLOSED_MAX
    assert repr(Closures()) == "<Closures none>"
