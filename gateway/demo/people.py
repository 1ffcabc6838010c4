"""Who takes part, each with a key and a budget, and how their programs order and poll.

They are clients like any other: they come through the doors and know nothing of the inside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

CHEAP = {"model": "wan-2.2-a14b-text-to-video", "duration": "5s", "resolution": "480p"}
"""Six cents, and one of the fastest."""
POLL_SECONDS = 0.5
PATIENCE_SECONDS = 55.0
REPEAT_SECONDS = 0.5
REPEATS_MAX = 4
ACTIVE_MAX = 6
"""Videos that one program waits for at a time."""


@dataclass(frozen=True)
class Part:
    """A role: who it is, and what is told of them."""

    name: str
    told: str
    team: str | None = None
    key: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Further fields of their key."""


ANNA = Part("anna", "team film, plenty of money", "film")
BO = Part("bo", "team class, his day's budget nearly used up", "class")
CHEN = Part("chen", "no team, the default policy")
RENDERER = Part(
    "renderer",
    "a program; its key may spend 2 dollars an hour, on wan-* models",
    key={"service": True, "budget": {"usd": "2", "window": "hour"}, "models": ["wan-*"]},
)
DORA = Part("dora", "one job for every way a job can end")
EVE = Part("eve", "orders what Venice refuses, and waits once that endangers the shared key")
PARTS = (ANNA, BO, CHEN, RENDERER, DORA, EVE)


@dataclass
class Tally:
    """What the clients of a demonstration have seen."""

    orders: int = 0
    joined: int = 0
    """Orders sent again that were given the first one's answer."""
    held: int = 0
    """Orders sent again whose first one is in doubt: refused, not bought a second time."""
    videos: int = 0


class Person:
    """One member of the cast, with a client and a key."""

    def __init__(self, part: Part, key: str, url: str, tally: Tally) -> None:
        self.part = part
        self.key = key
        self._tally = tally
        self._places = asyncio.Semaphore(ACTIVE_MAX)
        self._client = httpx.AsyncClient(
            base_url=url,
            headers={"authorization": f"Bearer {key}"},
            timeout=PATIENCE_SECONDS,
            trust_env=False,
        )

    @property
    def is_busy(self) -> bool:
        """Whether they wait for as many videos as they ever do."""
        return self._places.locked()

    async def close(self) -> None:
        """Leave."""
        await self._client.aclose()

    async def order(self, prompt: str, **fields: Any) -> httpx.Response:
        """Order once, whatever comes of it."""
        body = {**CHEAP, "prompt": prompt, **fields}
        self._tally.orders += 1
        return await self._client.post("/api/v1/video/queue", json=body)

    async def order_again_and_again(self, prompt: str, hang_up_after: float | None) -> str | None:
        """Order as hasty clients do, the same once more after any failure; the queue_id at last."""
        self._tally.orders += 1
        body = {**CHEAP, "prompt": prompt}
        was_held = False
        for attempt in range(REPEATS_MAX):
            is_first = attempt == 0
            seconds = hang_up_after if is_first and hang_up_after else PATIENCE_SECONDS
            try:
                answer = await self._client.post("/api/v1/video/queue", json=body, timeout=seconds)
            except httpx.TransportError:
                continue
            if answer.status_code == 200:
                self._tally.joined += "x-gateway-joined" in answer.headers
                return str(answer.json()["queue_id"])
            if answer.status_code == 409 and not is_first and not was_held:
                was_held = True
                self._tally.held += 1
            if answer.status_code in (400, 402):
                return None
            await asyncio.sleep(REPEAT_SECONDS)
        return None

    async def watch(self, queue_id: str, *, completes: bool) -> bool:
        """Poll until the video is here, and take it; False where none will come."""
        job = {**CHEAP, "queue_id": queue_id}
        while True:
            answer = await self._client.post("/api/v1/video/retrieve", json=job)
            if answer.headers.get("content-type") == "video/mp4":
                self._tally.videos += 1
                if completes:
                    await self._client.post("/api/v1/video/complete", json=job)
                return True
            if answer.status_code not in (200, 429, 503):
                return False
            await asyncio.sleep(POLL_SECONDS)

    async def work(self, prompt: str, *, completes: bool, hasty: float | None = None) -> None:
        """Order and take one video, when there is a place."""
        async with self._places:
            if hasty is not None:
                queue_id = await self.order_again_and_again(prompt, hasty or None)
            else:
                answer = await self.order(prompt)
                queue_id = answer.json().get("queue_id") if answer.status_code == 200 else None
            if queue_id is not None:
                await self.watch(queue_id, completes=completes)
