"""Venice's limits on a key: a minute's requests, and the block after too many failures."""

from collections.abc import Callable

import pytest

from tests.simulator.conftest import NOON, ORDER, Venice


def test_the_41st_order_in_a_minute_is_refused(venice: Venice) -> None:
    for _ in range(40):
        venice.buy()
        venice.wait(1)
    refused = venice.post("/video/queue", ORDER)
    assert refused.status_code == 429
    assert refused.headers["x-ratelimit-limit-requests"] == "40"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert refused.headers["x-ratelimit-reset-requests"] == str(int((NOON + 60) * 1000))
    assert "x-ratelimit-remaining" not in refused.headers
    venice.wait(20)
    venice.buy()
    truth = venice.truth()
    assert (len(truth["jobs"]), truth["rate_limited"]) == (41, 1)


def test_the_121st_retrieve_in_a_minute_is_refused(venice: Venice) -> None:
    job = venice.buy()
    answers = [venice.look(job) for _ in range(121)]
    assert [answer.status_code for answer in answers] == [200] * 120 + [429]
    assert answers[0].headers["x-ratelimit-remaining-requests"] == "119"


def test_each_key_has_limits_of_its_own(make_venice: Callable[..., Venice]) -> None:
    venice = make_venice(queue_per_minute=1)
    venice.buy()
    assert venice.post("/video/queue", ORDER).status_code == 429
    assert venice.post("/video/queue", ORDER, key="another-key").status_code == 200


def test_too_many_failures_block_the_key_for_half_a_minute(venice: Venice) -> None:
    job = venice.buy()
    for _ in range(21):
        assert venice.post("/video/quote", {}).status_code == 400
    blocked = venice.look(job)
    assert blocked.status_code == 429
    assert blocked.headers["x-ratelimit-remaining"] == "0"
    assert blocked.headers["x-ratelimit-resets"] == "30"
    assert "x-ratelimit-limit-requests" not in blocked.headers
    assert venice.post("/video/quote", {}, key="another-key").status_code == 400
    venice.wait(29.9)
    assert venice.look(job).status_code == 429
    venice.wait(0.1)
    assert venice.look(job).status_code == 200
    assert [block["until"] for block in venice.truth()["blocks"]] == [NOON + 30]


def test_twenty_failures_in_half_a_minute_are_borne(venice: Venice) -> None:
    for _ in range(3):
        for _ in range(20):
            venice.post("/video/quote", {})
        assert venice.get("/models?type=video").status_code == 200
        venice.wait(30)
    assert venice.truth()["blocks"] == []


def test_windows_shrink_with_their_scale(make_venice: Callable[..., Venice]) -> None:
    venice = make_venice(queue_per_minute=1, window_scale=60)
    for _ in range(3):
        venice.buy()
        venice.wait(1)


def test_limits_can_be_left_out(make_venice: Callable[..., Venice]) -> None:
    venice = make_venice(limits_enabled=False, queue_per_minute=1, failures_per_30s=1)
    for _ in range(3):
        venice.buy()
        assert venice.post("/video/quote", {}).status_code == 400


def test_good_answers_carry_what_is_left(venice: Venice) -> None:
    answer = venice.post("/video/queue", ORDER)
    assert answer.headers["x-venice-balance-usd"] == "999.94"
    assert answer.headers["x-venice-balance-diem"] == "0"
    assert answer.headers["x-venice-model-id"] == ORDER["model"]
    assert len(answer.headers["x-ratelimit-reset-requests"]) == 13


def test_a_deprecated_model_warns(venice: Venice) -> None:
    body = {"model": "wan-2.1-text-to-video", "duration": "5s"}
    answer = venice.post("/video/quote", body)
    assert answer.headers["x-venice-model-deprecation-date"].startswith("2027-03-01")
    assert "wan-2.2" in answer.headers["x-venice-model-deprecation-warning"]


@pytest.mark.parametrize("key", ["revoked", "simulated-billing-key-not"])
def test_refused_keys_open_nothing(make_venice: Callable[..., Venice], key: str) -> None:
    venice = make_venice(refused_keys=frozenset({key}))
    for path in ("/models", "/api_keys/rate_limits"):
        assert venice.get(path, key).status_code == 401
    assert "x-venice-balance-usd" not in venice.get("/models", key).headers
