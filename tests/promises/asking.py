"""Clients for the promises: orderly ones, ones that leave early, and ones that send again."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from hashlib import sha256
from typing import Any

import httpx

from tests.gateway_process import GatewayProcess
from tests.simulator_process import SimulatorProcess

MODEL = "wan-2.2-a14b-text-to-video"
PRIVATE_MODEL = "grok-imagine-text-to-video-private"
PRICE = Decimal("0.06")
"""What the order below costs."""
NO_CALLS = 2**40
"""The number of a call that never comes: a truth told from there on is of the jobs alone."""
REPOSTS_MAX = 4
"""As often as the most stubborn real client sends an order again."""


def order(prompt: str, **changes: Any) -> dict[str, Any]:
    """A queue body."""
    body = {"model": MODEL, "prompt": prompt, "duration": "5s", "resolution": "480p"}
    return {name: value for name, value in {**body, **changes}.items() if value is not None}


class Client:
    """One user's program; every answer is given back as it came."""

    def __init__(self, gateway: GatewayProcess, user: str | None = None) -> None:
        self.key = gateway.keys[user] if user is not None else gateway.user_key
        limits = httpx.Limits(max_connections=600, max_keepalive_connections=600)
        self._http = httpx.AsyncClient(
            base_url=gateway.url,
            headers={"authorization": f"Bearer {self.key}"},
            timeout=70,
            limits=limits,
            trust_env=False,
        )

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def post(self, door: str, body: Any, **headers: str) -> httpx.Response:
        """Any door of Venice's; header names with _ for -."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self._http.post(f"/api/v1/video/{door}", json=body, headers=named)

    async def request(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Any method, any path."""
        return await self._http.request(method, path, json=body)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Any path."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self._http.get(path, headers=named)

    async def queue(self, body: Mapping[str, Any], **headers: str) -> httpx.Response:
        """Order a video."""
        return await self.post("queue", body, **headers)

    async def buy(self, prompt: str, **changes: Any) -> str:
        """Order a video that nothing stands against; its queue_id."""
        answer = await self.queue(order(prompt, **changes))
        assert answer.status_code == 200, answer.text
        queue_id: str = answer.json()["queue_id"]
        return queue_id

    async def retrieve(self, queue_id: str, **more: Any) -> httpx.Response:
        """Poll once."""
        return await self.post("retrieve", {"model": MODEL, "queue_id": queue_id, **more})

    async def finished(self, queue_id: str, seconds: float = 30) -> httpx.Response:
        """Poll until the answer is no longer that the job is in the making."""
        found: httpx.Response | None = None

        async def is_over() -> bool:
            nonlocal found
            found = await self.retrieve(queue_id)
            return b'"PROCESSING"' not in found.content[:40]

        await eventually(is_over, seconds)
        assert found is not None
        return found


async def order_stubbornly(client: Client, body: Mapping[str, Any]) -> httpx.Response | None:
    """Order as real clients do: the same body again on 429, 5xx and broken connections."""
    answer: httpx.Response | None = None
    for _ in range(REPOSTS_MAX):
        try:
            answer = await client.queue(body)
        except httpx.TransportError:
            await asyncio.sleep(0.05)
            continue
        if answer.status_code != 429 and answer.status_code < 500:
            return answer
        await asyncio.sleep(0.05)
    return answer


def send_and_hold(
    gateway: GatewayProcess, body: Mapping[str, Any], key: str | None = None
) -> socket.socket:
    """Order over a bare connection and read nothing: closing it is the client's leaving."""
    content = json.dumps(body).encode()
    head = (
        f"POST /api/v1/video/queue HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\n"
        f"Authorization: Bearer {key or gateway.user_key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
    connection.sendall(head.encode() + content)
    return connection


def purchases(simulator: SimulatorProcess, prompt: str) -> int:
    """How many jobs the upstream made of a prompt."""
    wanted = sha256(prompt.encode()).hexdigest()
    return sum(job["prompt_sha256"] == wanted for job in simulator.truth(NO_CALLS)["jobs"])


def calls(simulator: SimulatorProcess, endpoint: str, prompt: str) -> int:
    """How many calls of an endpoint about a prompt reached the upstream."""
    wanted = sha256(prompt.encode()).hexdigest()
    found = simulator.truth()["calls"]
    return sum(c["endpoint"] == endpoint and c["prompt_sha256"] == wanted for c in found)


async def eventually(condition: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    """Return when the condition holds; TimeoutError where it does not in time."""
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {condition}")
        await asyncio.sleep(0.03)


async def arrived(simulator: SimulatorProcess, endpoint: str, prompt: str, times: int = 1) -> None:
    """Return when so many calls about a prompt have reached the upstream."""

    async def have() -> bool:
        return await asyncio.to_thread(calls, simulator, endpoint, prompt) >= times

    await eventually(have)


async def settled_down(gateway: GatewayProcess, seconds: float = 30) -> None:
    """Return when no job is reserved, being sent, in the making or being fetched."""
    busy = ("reserved", "sending", "processing", "fetching")

    async def is_quiet() -> bool:
        found = await asyncio.to_thread(gateway.metrics)
        return not any(found.get(f'venice_gateway_jobs{{state="{s}"}}', 0) for s in busy)

    await eventually(is_quiet, seconds)


def problems(answer: httpx.Response) -> list[str]:
    """What is wrong with the shape of an error of the Venice doors; empty for a right one."""
    try:
        body = answer.json()
    except ValueError:
        return [f"no JSON: {answer.content[:80]!r}"]
    if not isinstance(body, dict):
        return ["no object"]
    needed = ("error", "message", "code", "source")
    found = [f"no {name}" for name in needed if name not in body]
    if isinstance(body.get("error"), str) and body["error"] != body.get("message"):
        found.append("error and message differ")
    if body.get("source") not in ("gateway", "venice"):
        found.append(f"source {body.get('source')!r}")
    if "Traceback" in answer.text:
        found.append("a traceback")
    return found
