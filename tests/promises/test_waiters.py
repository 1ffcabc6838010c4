"""Promises to those who wait: all of them hear the news at once, and Venice is not asked for it."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import datetime

import pytest

from tests.gateway_process import GatewayProcess
from tests.promises.asking import Client, eventually
from tests.simulator_process import SimulatorProcess

FIRST_BYTE_SECONDS_MAX = 0.3


class _Waiter(asyncio.Protocol):
    """One connection that polls once with `Prefer: wait`, and notes when its answer begins."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.began: float | None = None
        self.head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._content)

    def data_received(self, data: bytes) -> None:
        if self.began is None:
            self.began, self.head = time.time(), data[:1_000]
            # A thousand whole videos would keep this process from noting when the others begin.
            self._transport.pause_reading()


@pytest.mark.parametrize("waiters", [100, pytest.param(1_000, marks=pytest.mark.torture)])
async def test_all_who_wait_have_their_first_byte_within_300_ms_of_the_news(
    gateway: GatewayProcess, simulator: SimulatorProcess, waiters: int
) -> None:
    """R20."""
    # 300 times faster: six seconds here.
    simulator.faults([{"endpoint": "queue", "outcome": {"execution_seconds": 1_800}, "times": 1}])
    async with Client(gateway) as client:
        queue_id = await client.buy("awaited")
        content = _poll(gateway, queue_id)
        loop = asyncio.get_running_loop()
        opened = [
            await loop.create_connection(lambda: _Waiter(content), "127.0.0.1", gateway.port)
            for _ in range(waiters)
        ]

        async def all_have_begun() -> bool:
            return all(waiter.began for _, waiter in opened)

        await eventually(all_have_begun, 40)
        for transport, _ in opened:
            transport.close()
    news = _stored_at(gateway, queue_id)
    late = sorted(waiter.began - news for _, waiter in opened if waiter.began is not None)
    print(f"first bytes {late[0] * 1000:.0f} to {late[-1] * 1000:.0f} ms after the news")
    assert all(b"video/mp4" in waiter.head for _, waiter in opened), opened[0][1].head
    assert late[-1] <= FIRST_BYTE_SECONDS_MAX
    calls = [c for c in simulator.truth()["calls"] if c["queue_id"] == queue_id]
    assert sum(call["endpoint"] == "retrieve" for call in calls) <= 12


def _poll(gateway: GatewayProcess, queue_id: str) -> bytes:
    body = json.dumps({"queue_id": queue_id}).encode()
    head = (
        f"POST /api/v1/video/retrieve HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\n"
        f"Authorization: Bearer {gateway.user_key}\r\nContent-Type: application/json\r\n"
        f"Prefer: wait=25\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _stored_at(gateway: GatewayProcess, queue_id: str) -> float:
    """When the gateway knew that the video is here."""
    job = next(iter(gateway.cli("job", "show", queue_id).values()))
    (moved,) = (
        event
        for event in gateway.events("job.moved")
        if event["job"] == job and event["state"] == "stored"
    )
    return datetime.fromisoformat(moved["timestamp"]).timestamp()
