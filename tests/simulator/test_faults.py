"""The fault plan over real connections: what strikes, how often, and what the truth says."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gateway.simulator.corruption import CORRUPTIONS
from tests.simulator.conftest import ORDER, PRIVATE_ORDER, TEXT_MODEL, Venice
from tests.simulator_process import SimulatorProcess

KEY = {"authorization": "Bearer k"}
# Reading certificates for a client that speaks plain HTTP would take most of the time.
PLAIN = httpx.Client(verify=False)
QUOTE = {"model": TEXT_MODEL, "duration": "5s", "resolution": "480p"}


def post(process: SimulatorProcess, door: str, body: Any) -> httpx.Response:
    return PLAIN.post(f"{process.url}/video/{door}", json=body, headers=KEY, timeout=5)


def next_chunk(chunks: Iterator[bytes]) -> bytes | None:
    """The next piece of a body; None where the connection is cut before its end."""
    try:
        return next(chunks)
    except httpx.RemoteProtocolError:
        return None


@pytest.fixture
def clean(process: SimulatorProcess) -> SimulatorProcess:
    """The shared process, with neither faults nor a past."""
    process.faults([])
    process.forget()
    return process


@pytest.fixture
def finished(clean: SimulatorProcess) -> dict[str, Any]:
    """A job whose video can be retrieved."""
    clean.faults([{"outcome": "ready_now"}])
    job: dict[str, Any] = post(clean, "queue", ORDER).json()
    clean.faults([])
    return job


@pytest.mark.parametrize("drop", [True, "reset"])
def test_a_drop_before_accept_buys_nothing(clean: SimulatorProcess, drop: bool | str) -> None:
    clean.faults([{"endpoint": "queue", "action": {"drop": drop}}])
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        post(clean, "queue", ORDER)
    truth = clean.truth()
    assert truth["jobs"] == []
    assert [call["status"] for call in truth["calls"]] == [None]
    assert truth["requests"] == {"queue": {"none": 1}}


@pytest.mark.parametrize("drop", [True, "reset"])
def test_a_drop_before_the_answer_has_bought(clean: SimulatorProcess, drop: bool | str) -> None:
    clean.faults([{"endpoint": "queue", "before": "answer", "action": {"drop": drop}}])
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        post(clean, "queue", ORDER)
    truth = clean.truth()
    assert truth["charged_usd"] == "0.060000"
    assert truth["calls"][0]["queue_id"] == truth["jobs"][0]["queue_id"]


def test_a_status_before_accept_buys_nothing_and_before_the_answer_does(
    clean: SimulatorProcess,
) -> None:
    action = {"status": 503, "headers": {"Retry-After": 2}, "body": {"error": "At capacity"}}
    clean.faults([{"endpoint": "queue", "action": action, "times": 1}])
    refused = post(clean, "queue", ORDER)
    assert (refused.status_code, refused.json()) == (503, {"error": "At capacity"})
    assert refused.headers["retry-after"] == "2"
    assert clean.truth()["jobs"] == []
    clean.faults([{"endpoint": "queue", "action": {"status": 504}, "before": "answer"}])
    assert post(clean, "queue", ORDER).status_code == 504
    assert len(clean.truth()["jobs"]) == 1


def test_a_body_can_break_off(clean: SimulatorProcess, finished: dict[str, Any]) -> None:
    clean.faults([{"endpoint": "retrieve", "action": {"drop_after_bytes": 70_001}}])
    received = 0
    with PLAIN.stream("POST", f"{clean.url}/video/retrieve", json=finished, headers=KEY) as answer:
        chunks = answer.iter_raw()
        while (chunk := next_chunk(chunks)) is not None:
            received += len(chunk)
    assert received == 70_001
    assert int(answer.headers["content-length"]) > 120_000
    assert clean.truth()["jobs"][0]["bytes_served_complete"] == 0


def test_a_client_that_leaves_was_not_served(
    clean: SimulatorProcess, finished: dict[str, Any]
) -> None:
    clean.faults([{"endpoint": "retrieve", "action": {"stall_seconds": 1, "stall_after_bytes": 8}}])
    url = f"{clean.url}/video/retrieve"
    with PLAIN.stream("POST", url, json=finished, headers=KEY) as answer:
        assert next(answer.iter_raw()) == b"\x00\x00\x00\x20ftyp"
    clean.faults([])
    post(clean, "quote", QUOTE)
    assert clean.truth()["jobs"][0]["bytes_served_complete"] == 0


def test_a_body_can_be_slow_or_stall(clean: SimulatorProcess) -> None:
    whole = post(clean, "quote", QUOTE).content
    for action in ({"slow_bytes_per_second": 80}, {"stall_after_bytes": 5, "stall_seconds": 0.15}):
        clean.faults([{"endpoint": "quote", "action": action}])
        began = time.monotonic()
        assert post(clean, "quote", QUOTE).content == whole
        assert time.monotonic() - began > 0.14


def test_an_answer_can_come_late_although_the_job_is_bought(clean: SimulatorProcess) -> None:
    late = {"delay_seconds": 0.8}
    clean.faults([{"endpoint": "queue", "before": "answer", "action": late}])
    with pytest.raises(httpx.ReadTimeout):
        PLAIN.post(f"{clean.url}/video/queue", json=ORDER, headers=KEY, timeout=0.2)
    assert len(clean.truth()["jobs"]) == 1


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corrupted_video_arrives_as_if_it_were_whole(
    clean: SimulatorProcess, finished: dict[str, Any], name: str
) -> None:
    whole = post(clean, "retrieve", finished)
    clean.faults([{"endpoint": "retrieve", "action": {"corrupt": name}}])
    broken = post(clean, "retrieve", finished)
    assert broken.status_code == 200
    assert broken.headers["content-type"] == "video/mp4"
    assert int(broken.headers["content-length"]) == len(broken.content)
    assert broken.content != whole.content
    assert clean.truth()["jobs"][0]["bytes_served_complete"] == 1


def test_a_corruption_waits_for_the_video(venice: Venice) -> None:
    job = venice.buy()
    venice.faults([{"endpoint": "retrieve", "times": 1, "action": {"corrupt": "head_only"}}])
    assert venice.look(job).json()["status"] == "PROCESSING"
    venice.wait()
    assert len(venice.look(job).content) < 100
    assert len(venice.look(job).content) > 100_000


def test_a_rule_can_be_about_videos_or_about_everything_else(venice: Venice) -> None:
    job = venice.buy()
    teapot = {"status": 418}
    venice.faults([{"match": {"answer": "video"}, "action": teapot}])
    assert venice.look(job).status_code == 200
    venice.wait()
    assert venice.look(job).status_code == 418
    venice.faults([{"match": {"answer": "other"}, "action": teapot}])
    assert venice.look(job).status_code == 200


def test_a_download_link_can_break_too(clean: SimulatorProcess) -> None:
    clean.faults([{"outcome": "ready_now"}])
    job = post(clean, "queue", PRIVATE_ORDER).json()
    clean.faults([{"endpoint": "download", "action": {"corrupt": "html"}, "times": 1}])
    assert PLAIN.get(job["download_url"]).content.startswith(b"<!DOCTYPE")
    assert PLAIN.get(job["download_url"]).content[4:8] == b"ftyp"


def test_garbage_and_truncation_keep_http_intact(clean: SimulatorProcess) -> None:
    whole = post(clean, "quote", QUOTE).content
    clean.faults([{"endpoint": "quote", "action": {"garbage": True}}])
    garbage = post(clean, "quote", QUOTE).content
    assert len(garbage) == len(whole)
    assert garbage != whole
    clean.faults([{"endpoint": "quote", "action": {"truncate": 4}}])
    assert post(clean, "quote", QUOTE).content == whole[:4]


def test_a_json_answer_can_be_patched(venice: Venice) -> None:
    patch = {"queue_id": None, "download_url": "file:///etc/passwd"}
    venice.faults([{"endpoint": "queue", "action": {"patch": patch}}])
    answer = venice.post("/video/queue", ORDER).json()
    assert answer == {"model": TEXT_MODEL, "download_url": "file:///etc/passwd"}


@pytest.mark.parametrize(
    ("action", "content"),
    [
        ({"body": {"quote": 0}}, b'{"quote":0}'),
        ({"body": None}, b"null"),
        ({"text": '{"quote":NaN}'}, b'{"quote":NaN}'),
        ({"body_base64": "AAEC"}, b"\x00\x01\x02"),
        ({"text": "<html>", "content_type": "text/html"}, b"<html>"),
    ],
)
def test_an_answer_can_say_anything(venice: Venice, action: dict[str, Any], content: bytes) -> None:
    venice.faults([{"endpoint": "quote", "action": action}])
    answer = venice.post("/video/quote", QUOTE)
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["content-type"] == action.get(
        "content_type", "application/json; charset=utf-8"
    )


def test_a_rule_skips_and_ends(venice: Venice) -> None:
    venice.faults([{"endpoint": "quote", "skip": 2, "times": 2, "action": {"status": 500}}])
    statuses = [venice.post("/video/quote", QUOTE).status_code for _ in range(6)]
    assert statuses == [200, 200, 500, 500, 200, 200]
    [rule] = venice.request("GET", "/_faults").json()
    assert rule["fired"] == 2


def test_chance_is_the_same_for_the_same_seed(make_venice: Any) -> None:
    runs = []
    for _ in range(2):
        venice = make_venice(limits_enabled=False)
        venice.faults([{"endpoint": "quote", "probability": 0.5, "action": {"status": 500}}])
        runs.append([venice.post("/video/quote", QUOTE).status_code for _ in range(60)])
    assert runs[0] == runs[1]
    assert 15 < runs[0].count(500) < 45


def test_rules_meet_only_what_they_match(venice: Venice) -> None:
    job, other = venice.buy(), venice.buy(prompt="a bridge")
    venice.wait()
    gone = {"status": 404}
    venice.faults(
        [{"endpoint": "retrieve", "match": {"queue_id": job["queue_id"]}, "action": gone}]
    )
    assert [venice.look(each).status_code for each in (job, other)] == [404, 200]
    sha256 = venice.job_of(other)["prompt_sha256"]
    venice.faults([{"match": {"prompt_sha256": sha256}, "action": gone}])
    assert [venice.look(each).status_code for each in (job, other)] == [200, 404]
    venice.faults([{"match": {"prompt_contains": "bridge"}, "action": gone}])
    assert venice.post("/video/queue", {**ORDER, "prompt": "the bridge"}).status_code == 404
    assert venice.post("/video/queue", ORDER).status_code == 200
    venice.faults([{"match": {"model": "ovi-image-to-video"}, "action": gone}])
    assert venice.post("/video/quote", QUOTE).status_code == 200
    assert venice.post("/video/quote", {"model": "ovi-image-to-video"}).status_code == 404
    key = venice.truth()["calls"][0]["key"]
    venice.faults([{"match": {"key": key}, "action": {"status": 401}}])
    assert venice.post("/video/quote", QUOTE).status_code == 401
    assert venice.post("/video/quote", QUOTE, key="another").status_code == 200


def test_an_outcome_and_an_action_can_strike_together(venice: Venice) -> None:
    venice.faults(
        [
            {"endpoint": "queue", "outcome": "stuck"},
            {"endpoint": "queue", "before": "answer", "action": {"status": 502}},
        ]
    )
    assert venice.post("/video/queue", ORDER).status_code == 502
    assert venice.truth()["jobs"][0]["outcome"] == "stuck"


@pytest.mark.parametrize(
    "rule",
    [
        {},
        [1],
        {"action": {"statsu": 500}},
        {"endpoint": "queu", "action": {"status": 500}},
        {"match": {"user": "x"}, "action": {"status": 500}},
        {"action": {"status": "500"}},
        {"action": {"status": True}},
        {"action": {"drop": "maybe"}},
        {"action": {"corrupt": "nicely"}},
        {"action": {"body": 1, "text": "1"}},
        {"action": {"body_base64": "?"}},
        {"action": {"status": 200, "patch": {"a": 1}}},
        {"action": {"status": 200, "corrupt": "html"}},
        {"action": {"status": 200}, "outcome": "lost"},
        {"action": {"drop": True}, "match": {"answer": "audio"}},
        {"action": {"drop": True}, "match": {"answer": "video"}, "before": "accept"},
        {"before": "accept", "action": {"garbage": True}},
        {"before": "lunch", "action": {"status": 500}},
        {"endpoint": "quote", "outcome": "lost"},
        {"outcome": "won"},
        {"outcome": {"charge_usd": 1.5}},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_with_the_reason(venice: Venice, rule: Any) -> None:
    good = {"endpoint": "quote", "action": {"status": 500}}
    answer = venice.request("POST", "/_faults", json=[good, rule])
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert venice.request("GET", "/_faults").json() == []


def test_rules_are_added_replaced_and_cleared(venice: Venice) -> None:
    first = {"endpoint": "quote", "action": {"status": 500}}
    second = {"endpoint": "queue", "action": {"status": 502}}

    def plan(method: str, rules: Any = None) -> list[Any]:
        answer = venice.request(method, "/_faults", json=rules)
        return [entry["rule"] for entry in answer.json()]

    assert plan("POST", first) == [first]
    assert plan("POST", [second]) == [first, second]
    assert plan("PUT", [second]) == [second]
    assert plan("DELETE") == []


def test_drops_work_for_many_at_once(clean: SimulatorProcess) -> None:
    clean.faults([{"endpoint": "quote", "probability": 0.5, "action": {"drop": True}}])

    async def ask(client: httpx.AsyncClient) -> int:
        try:
            answer = await client.post("/api/v1/video/quote", json=QUOTE, headers=KEY)
        except httpx.TransportError:
            return 0
        return answer.status_code

    async def crowd() -> list[int]:
        async with httpx.AsyncClient(base_url=clean.origin, timeout=5, verify=False) as client:
            return await asyncio.gather(*(ask(client) for _ in range(40)))

    statuses = asyncio.run(crowd())
    assert set(statuses) == {0, 200}
    assert clean.truth()["requests"]["quote"]["none"] == statuses.count(0)
