"""Putting an answer on the wire, whole or with the faults that strike while it leaves."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.simulator.answers import Answer

# Set by the protocol in server.py: the only way from an application to its connection.
CONNECTION_EXTENSION = "simulator.connection"
PIECE_BYTES = 64 * 1024
SLOW_STEPS_PER_SECOND = 20


class ConnectionDropped(ConnectionError):
    """The connection was to be cut, but no server stands below that could cut it."""


@dataclass(frozen=True)
class Pace:
    """How a body leaves: at most this fast, one pause on the way, cut after so many bytes."""

    bytes_per_second: float | None = None
    stall_after_bytes: int = 0
    stall_seconds: float = 0.0
    drop_after_bytes: int | None = None


class Delivery(Response):
    """Sends one Answer. ``delivered`` is told only if the client was there to the last byte."""

    def __init__(self, answer: Answer, pace: Pace, sends_body: bool) -> None:
        super().__init__(None, answer.status, media_type=None)
        self.headers["content-type"] = answer.content_type
        self.headers["content-length"] = str(answer.body.size)
        # One by one: a fault may carry names that differ only in case.
        for name, value in answer.headers.items():
            self.headers[name] = value
        self._answer, self._pace, self._sends_body = answer, pace, sends_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})
        if self._sends_body:
            async for piece in self._pieces():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                if is_gone(scope):
                    return
        if self._pace.drop_after_bytes is not None:
            await cut(scope, receive, is_reset=False)
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        if self._answer.delivered is not None and not is_gone(scope):
            self._answer.delivered()

    async def _pieces(self) -> AsyncIterator[bytes]:
        pace, sent = self._pace, 0
        size = PIECE_BYTES
        if pace.bytes_per_second is not None:
            size = max(1, int(pace.bytes_per_second / SLOW_STEPS_PER_SECOND))
        stops = {pace.stall_after_bytes, pace.drop_after_bytes or 0}
        for piece in _split(self._answer.body.chunks(), size, stops):
            if pace.stall_seconds and sent == pace.stall_after_bytes:
                await asyncio.sleep(pace.stall_seconds)
            if sent == pace.drop_after_bytes:
                return
            yield piece
            sent += len(piece)
            if pace.bytes_per_second is not None:
                await asyncio.sleep(len(piece) / pace.bytes_per_second)


class Drop(Response):
    """No answer at all: the connection ends, in order or by a reset."""

    def __init__(self, is_reset: bool) -> None:
        super().__init__()
        self._is_reset = is_reset

    async def __call__(self, scope: Scope, receive: Receive, _send: Send) -> None:
        await cut(scope, receive, self._is_reset)


def is_gone(scope: Scope) -> bool:
    """Whether the client is known to have left; without a server below nobody knows."""
    connection = scope.get("extensions", {}).get(CONNECTION_EXTENSION)
    return connection is not None and connection.is_closing()


async def cut(scope: Scope, receive: Receive, is_reset: bool) -> None:
    """End the connection after what was written, and wait until the server has seen it end."""
    connection = scope.get("extensions", {}).get(CONNECTION_EXTENSION)
    if connection is None:
        raise ConnectionDropped
    connection.close(is_reset)
    while (await receive())["type"] != "http.disconnect":
        pass


def _split(chunks: Iterator[bytes], size: int, stops: set[int]) -> Iterator[bytes]:
    """Pieces of at most ``size`` bytes that also end at each of the ``stops``."""
    sent = 0
    for chunk in chunks:
        offset = 0
        while offset < len(chunk):
            end = min([offset + size, *(offset + stop - sent for stop in stops if stop > sent)])
            piece = chunk[offset:end]
            yield piece
            offset += len(piece)
            sent += len(piece)
