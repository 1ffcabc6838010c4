"""Venice behind a mocked network, with everything that happened on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from decimal import Decimal

import httpx
import respx
from pydantic import SecretStr

from gateway.core.pacing import GateLimits
from gateway.core.retry import Endpoint, Outcome, RetryRules
from gateway.ports import Reply
from gateway.records import RecordedCall
from gateway.upstream.client import VeniceClient
from gateway.upstream.downloads import Links
from gateway.upstream.gate import Gate
from gateway.upstream.venice import Venice
from tests.upstream.clients import TLS
from tests.upstream.still_clock import StillClock

URL = "https://venice.test/api/v1"
ORDER = {"model": "m", "prompt": "a gondola", "price": Decimal("0.10")}
ACCEPTED = httpx.Response(200, json={"model": "m", "queue_id": "q-1"})
QUOTED = httpx.Response(200, content=b'{"quote": 0.085}')
SERVER_ERROR = httpx.Response(500, json={"error": "failed"})
LIMITED = httpx.Response(429, headers={"retry-after": "7"})
BLOCKED = httpx.Response(429, headers={"x-ratelimit-remaining": "0", "x-ratelimit-resets": "30"})
BUSY = httpx.Response(503)
BUSY_FOR_4 = httpx.Response(503, headers={"retry-after": "4"})
BAD_GATEWAY = httpx.Response(502)
MP4 = httpx.Response(200, headers={"content-type": "video/mp4"}, content=b"mp4")
NO_CONNECTION = httpx.ConnectError("nobody there")
LOST = httpx.ReadTimeout("too late")


class Scene:
    """Venice behind a mocked network, with everything that happened on the way."""

    def __init__(self, clock: StillClock, network: respx.MockRouter, limits: GateLimits) -> None:
        self.clock = clock
        self.network = network
        self.recorded: list[RecordedCall] = []
        self.outcomes: list[tuple[Endpoint, Outcome]] = []
        self.retries: list[tuple[Endpoint, Outcome]] = []
        self.prepared = 0
        self.client = VeniceClient(URL, SecretStr("a-key"), tls=TLS)
        self.gate = Gate(clock, limits, self._record)
        links = Links(URL, ["share.test"], resolve=self._resolve, proxy_for=lambda url: None)
        self.venice = Venice(
            self.client, self.gate, links, clock, self, rules=RetryRules(), hold=25.0
        )

    async def _record(self, call: RecordedCall) -> None:
        self.recorded.append(call)

    async def _resolve(self, host: str, port: int) -> Sequence[str]:
        return ("93.184.215.14",)

    def called(self, endpoint: Endpoint, outcome: Outcome) -> None:
        self.outcomes.append((endpoint, outcome))

    def retried(self, endpoint: Endpoint, reason: Outcome) -> None:
        self.retries.append((endpoint, reason))

    async def prepare(self) -> None:
        self.prepared += 1

    def answers(self, path: str, *answers: httpx.Response | Exception) -> respx.Route:
        return self.network.post(f"{URL}{path}").mock(side_effect=list(answers))

    async def finished(self, call: Awaitable[Reply], seconds: float = 50.0) -> Reply:
        """The reply of a call that may wait for the clock meanwhile."""
        task = asyncio.ensure_future(call)
        await self.clock.advance(seconds)
        assert task.done()
        return await task

    def order(self, user: str = "ann", within: float = 50.0) -> Awaitable[Reply]:
        deadline = self.clock.monotonic() + within
        return self.venice.queue(ORDER, user, deadline, self.prepare)

    def ask_price(self, user: str = "ann", within: float = 50.0) -> Awaitable[Reply]:
        return self.venice.quote({"model": "m"}, user, self.clock.monotonic() + within)
