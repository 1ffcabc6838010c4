"""A crowd of clients that each poll at an even pace, over one connection each, from a process of
its own. It tells how long answers took and how many were something else than 200.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from dataclasses import asdict, dataclass
from typing import cast
from urllib.parse import urlsplit

import httptools
import uvloop

CONNECTED_AT_ONCE = 200


@dataclass(frozen=True)
class Crowd:
    """Who polls what: clients are shared out over the bodies."""

    url: str
    key: str
    bodies: tuple[str, ...]
    clients: int
    pace: float
    """Seconds between the polls of one client."""
    seconds: float


@dataclass(frozen=True)
class Answered:
    """What came back; times in milliseconds."""

    answers: int
    others: int
    seconds: float
    p50: float
    p99: float


class _Client(asyncio.Protocol):
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._parser = httptools.HttpResponseParser(self)
        self._asked = 0.0
        self._transport: asyncio.Transport | None = None
        self.took: list[float] = []
        self.others = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def poll(self) -> None:
        """Ask once, unless the last answer is still to come."""
        if self._asked or self._transport is None:
            return
        self._asked = time.perf_counter()
        self._transport.write(self._content)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.took.append((time.perf_counter() - self._asked) * 1000)
        self.others += self._parser.get_status_code() != 200
        self._asked = 0.0


async def _poll(crowd: Crowd) -> Answered:
    parts = urlsplit(crowd.url)
    loop = asyncio.get_running_loop()
    clients: list[_Client] = []

    async def connect(body: str) -> None:
        head = (
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"Authorization: Bearer {crowd.key}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        _, client = await loop.create_connection(
            lambda: _Client((head + body).encode()), parts.hostname or "", parts.port or 80
        )
        clients.append(client)

    wanted = [crowd.bodies[n % len(crowd.bodies)] for n in range(crowd.clients)]
    for first in range(0, len(wanted), CONNECTED_AT_ONCE):
        await asyncio.gather(*map(connect, wanted[first : first + CONNECTED_AT_ONCE]))
    began, chance = time.perf_counter(), random.Random(1)
    end = loop.time() + crowd.seconds

    def tick(client: _Client) -> None:
        client.poll()
        if loop.time() + crowd.pace < end:
            loop.call_later(crowd.pace, tick, client)

    for client in clients:
        loop.call_later(chance.random() * crowd.pace, tick, client)
    await asyncio.sleep(crowd.seconds)
    took = sorted(ms for client in clients for ms in client.took)
    return Answered(
        len(took),
        sum(client.others for client in clients),
        time.perf_counter() - began,
        took[len(took) // 2],
        took[int(len(took) * 0.99)],
    )


def main() -> None:
    """Poll as told on the command line, and print what came of it."""
    given = json.loads(sys.argv[1])
    crowd = Crowd(**{**given, "bodies": tuple(given["bodies"])})
    print(json.dumps(asdict(uvloop.run(_poll(crowd)))))


if __name__ == "__main__":
    main()
