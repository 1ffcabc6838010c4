"""Bad input at the Venice doors gets its promised answer, and Venice never hears of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from typing import Any

import httpx
import pytest

from tests.gateway_process import ORGANIZATION_KEY, GatewayProcess
from tests.promises.asking import (
    MODEL,
    PRICE,
    PRIVATE_MODEL,
    Client,
    order,
    problems,
)
from tests.promises.books import job_of
from tests.simulator_process import SimulatorProcess

QUEUE = "/api/v1/video/queue"
JSON = {"Content-Type": "application/json"}
GOOD = json.dumps(order("good")).encode()
LOCAL_SECONDS_MAX = 1.0


def _requests(simulator: SimulatorProcess) -> int:
    counts = simulator.truth()["requests"]
    return sum(sum(counts.get(door, {}).values()) for door in ("quote", "queue", "complete"))


class Bare:
    """Requests as they are written, with nothing put right by a client library."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self._gateway = gateway

    def ask(self, path: str, headers: dict[str, str], body: bytes = b"") -> httpx.Response:
        """POST with exactly these headers, and the length of the body."""
        lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{self._gateway.port}"]
        lines += [f"{name.rstrip('2')}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
        with socket.create_connection(("127.0.0.1", self._gateway.port), timeout=10) as connection:
            connection.sendall("\r\n".join(lines).encode("latin-1"))
            # A body may be refused before it was read.
            with contextlib.suppress(OSError):
                connection.sendall(body)
            return _read(connection)


def _read(connection: socket.socket) -> httpx.Response:
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65_536):
            data += part
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = [tuple(line.split(": ", 1)) for line in lines]
    return httpx.Response(int(status.split()[1]), headers=headers, content=body)  # type: ignore[arg-type]


KEYS = {
    "none": ({}, 401),
    "empty": ({"Authorization": ""}, 401),
    "no scheme": ({"Authorization": "KEY"}, 401),
    "another scheme": ({"Authorization": "Basic KEY"}, 401),
    "a changed key": ({"Authorization": "Bearer KEYx"}, 401),
    "a well-formed foreign key": (
        {"Authorization": "Bearer vgw_0123456789_0123456789abcdefghijABCDEFGHIJ01000000"},
        401,
    ),
    "the organization's": ({"Authorization": f"Bearer {ORGANIZATION_KEY}"}, 401),
    "doubled": ({"Authorization": "Bearer KEY", "Authorization2": "Bearer KEY"}, 400),
    "a megabyte": ({"Authorization": "Bearer " + "x" * 2**20}, 431),
}


@pytest.mark.parametrize("name", KEYS)
async def test_a_bad_key_opens_nothing(
    gateway: GatewayProcess, simulator: SimulatorProcess, name: str
) -> None:
    before = _requests(simulator)
    headers, status = KEYS[name]
    sent = {n: v.replace("KEY", gateway.user_key) for n, v in headers.items()}
    answer = await asyncio.to_thread(Bare(gateway).ask, QUEUE, {**sent, **JSON}, GOOD)
    assert answer.status_code == status
    if status != 431:
        assert problems(answer) == []
        assert gateway.user_key not in answer.text
    assert _requests(simulator) == before


BODIES: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"prompt=hello",
    "BOM": b"\xef\xbb\xbf" + GOOD,
    "UTF-16": GOOD.decode().encode("utf-16"),
    "trailing bytes": GOOD + b"{}",
    "an array": b"[" + GOOD + b"]",
    "text": b'"order"',
    "NaN": GOOD.replace(b'"good"', b"NaN"),
    "1e999": GOOD.replace(b'"good"', b"1e999"),
    "depth": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "duplicate keys": GOOD[:-1] + b',"prompt":"again"}',
    "bad UTF-8": GOOD.replace(b"good", b"\xff\xfe"),
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_body_that_is_no_json_object_is_refused_at_once(
    gateway: GatewayProcess, simulator: SimulatorProcess, name: str
) -> None:
    before = _requests(simulator)
    headers = {"Authorization": f"Bearer {gateway.user_key}", **JSON}
    began = time.monotonic()
    answer = await asyncio.to_thread(Bare(gateway).ask, QUEUE, headers, BODIES[name])
    assert time.monotonic() - began < LOCAL_SECONDS_MAX
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")
    assert problems(answer) == []
    assert _requests(simulator) == before


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {},
        {**JSON, "Content-Encoding": "gzip"},
    ],
)
async def test_another_content_type_is_refused(
    gateway: GatewayProcess, headers: dict[str, str]
) -> None:
    key = {"Authorization": f"Bearer {gateway.user_key}"}
    answer = await asyncio.to_thread(Bare(gateway).ask, QUEUE, {**key, **headers}, GOOD)
    assert (answer.status_code, answer.json()["code"]) == (415, "INVALID_CONTENT_TYPE")
    assert problems(answer) == []


async def test_a_body_over_the_limit_is_refused_before_it_is_read(gateway: GatewayProcess) -> None:
    """Honest about its length, and endless in chunks."""
    key = f"Authorization: Bearer {gateway.user_key}\r\nContent-Type: application/json\r\n"
    head = f"POST {QUEUE} HTTP/1.1\r\nHost: x\r\n{key}"

    def honest() -> httpx.Response:
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
            length = 65 * 2**20
            connection.sendall(f"{head}Content-Length: {length}\r\n\r\n{{".encode())
            connection.shutdown(socket.SHUT_WR)
            return _read(connection)

    def endless() -> tuple[httpx.Response, int]:
        chunk = b"100000\r\n" + b" " * 2**20 + b"\r\n"
        sent = 0
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
            connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
            with contextlib.suppress(OSError):
                for _ in range(200):
                    connection.sendall(chunk)
                    sent += len(chunk)
            return _read(connection), sent

    answer = await asyncio.to_thread(honest)
    assert (answer.status_code, answer.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")
    answer, sent = await asyncio.to_thread(endless)
    assert (answer.status_code, answer.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert sent < 100 * 2**20


INVALID: dict[str, dict[str, Any]] = {
    "unknown model": {"model": "no-such-model"},
    "model of a wrong type": {"model": 7},
    "no model": {"model": None},
    "path in model": {"model": "../../etc/passwd"},
    "CRLF in model": {"model": "wan\r\nX-Evil: 1"},
    "10 KB model": {"model": "m" * 10_000},
    "0s": {"duration": "0s"},
    "-5s": {"duration": "-5s"},
    "5": {"duration": "5"},
    "number": {"duration": 5},
    "another duration": {"duration": "7s"},
    "empty prompt": {"prompt": ""},
    "long prompt": {"prompt": "x" * 100_000},
    "prompt of a wrong type": {"prompt": ["a"]},
    "resolution": {"resolution": "4320p"},
    "aspect ratio": {"aspect_ratio": "1:7"},
    "audio where there is none": {"audio": True},
    "references over the maximum": {"reference_image_urls": ["https://example.org/a.png"] * 500},
}


@pytest.mark.parametrize("name", INVALID)
async def test_an_order_against_the_catalogue_never_leaves_the_house(
    gateway: GatewayProcess, simulator: SimulatorProcess, name: str
) -> None:
    before = _requests(simulator)
    async with Client(gateway) as client:
        began = time.monotonic()
        given = {**order("invalid"), **INVALID[name]}
        answer = await client.queue({k: v for k, v in given.items() if v is not None})
    assert time.monotonic() - began < LOCAL_SECONDS_MAX
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST"), answer.text
    assert answer.json()["issues"]
    assert problems(answer) == []
    assert _requests(simulator) == before


@pytest.mark.parametrize(
    "extra",
    [
        {"quote": 0},
        {"price": "0.000001"},
        {"reference_video_total_duration": 1},
        {"api_base": "http://127.0.0.1:9"},
        {"user": "berta"},
        {"callback": "http://127.0.0.1:9"},
    ],
)
async def test_a_price_trick_is_dropped_or_refused_and_never_believed(
    gateway: GatewayProcess, extra: dict[str, Any]
) -> None:
    async with Client(gateway) as client:
        answer = await client.queue(order(f"trick {extra}", **extra))
    assert answer.status_code in (200, 400)
    if answer.status_code == 200:
        assert answer.headers["x-gateway-cost-usd"] == f"{PRICE:.6f}"
        assert job_of(gateway, answer.headers["x-gateway-job"]).user == "anna"


PATHS = {
    "//api//v1//models": 200,
    "/api/v1/models/": 200,
    "/api/v1/models;x": 404,
    "/api/v1/%2e%2e/v1/models": 404,
    "/API/v1/models": 404,
    "/api/v1/chat/completions": 404,
    "/api/v1/image/generate": 404,
    "/api/v1": 404,
    "/api/v1/video/queue": 405,
}


@pytest.mark.parametrize("path", PATHS)
async def test_each_door_has_one_spelling(gateway: GatewayProcess, path: str) -> None:
    async with Client(gateway) as client:
        answer = await client.get(f"{gateway.url}{path}")
    assert answer.status_code == PATHS[path]
    if answer.status_code == 405:
        assert answer.headers["allow"] == "POST"
    if answer.status_code >= 400 and path.startswith("/api/v1"):
        assert problems(answer) == []
    if answer.status_code == 404 and path.startswith("/api/v1/"):
        assert answer.json()["code"] == "NOT_GOVERNED"


async def test_ids_that_nobody_has_are_all_alike(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    ids = ["unknown", "", "x" * 10_000, "../../x", "a\r\nb", "ä", "\x00", "' OR 1=1 --"]
    async with Client(gateway) as client:
        for door in ("retrieve", "complete"):
            answers = [await client.post(door, {"model": MODEL, "queue_id": i}) for i in ids]
            assert {a.status_code for a in answers} == {404}
            assert len({a.content for a in answers}) == 1
    # Others' calls, a deletion that was put off say, may come meanwhile.
    assert not set(ids) & {call["queue_id"] for call in simulator.truth()["calls"]}


async def test_the_job_record_decides_which_model_it_is(gateway: GatewayProcess) -> None:
    async with Client(gateway) as client:
        queue_id = await client.buy("which model")
        await client.finished(queue_id)
        for model in (PRIVATE_MODEL, None, 7):
            body = {"queue_id": queue_id} | ({} if model is None else {"model": model})
            answer = await client.post("retrieve", body)
            assert answer.headers["content-type"] == "video/mp4"


async def test_hostile_headers_of_clients_are_ignored(gateway: GatewayProcess) -> None:
    headers = {
        "Authorization": f"Bearer {gateway.user_key}",
        "X-Forwarded-For": "203.0.113.9, 127.0.0.1",
        "X-Forwarded-Host": "evil.example",
        "X-Request-Id": "evil\tid" * 10,
        **JSON,
    }
    body = json.dumps(order("hostile", model=PRIVATE_MODEL)).encode()
    answer = await asyncio.to_thread(Bare(gateway).ask, QUEUE, headers, body)
    assert answer.status_code == 200
    assert answer.json()["download_url"].startswith(gateway.url + "/")
    assert "evil" not in answer.headers["x-request-id"]
    twice = await asyncio.to_thread(Bare(gateway).ask, QUEUE, {"Host": "b", **headers}, body)
    assert twice.status_code == 400
