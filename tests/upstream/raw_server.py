"""Servers that answer with exact bytes, badly if wanted: cut, stalled, endless, nonsense."""

from __future__ import annotations

import asyncio
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class RawServer:
    """A server under way."""

    port: int
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    """Whole requests, head and body, in the order they were read."""
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)
    closed_by_client: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v1"


Behaviour = Callable[[RawServer, StreamReader, StreamWriter], Awaitable[None]]
"""What a server does with one connection, which is closed afterwards."""


@asynccontextmanager
async def raw_server(
    behave: Behaviour,
    tls: ssl.SSLContext | None = None,
    port: int = 0,
) -> AsyncIterator[RawServer]:
    """A server on loopback while the context lasts, on a free port where none is named."""
    tasks: set[asyncio.Task[None]] = set()
    server = RawServer(0)

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        server.connections += 1
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await behave(server, reader, writer)
        writer.close()
        tasks.discard(task)

    listener = await asyncio.start_server(serve, "127.0.0.1", port, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_request(server: RawServer, reader: StreamReader) -> bytes:
    """One whole request; remembered."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    request = head + await reader.readexactly(length)
    server.requests.append(request)
    server.was_asked.set()
    return request


def saying(*parts: bytes | float) -> Behaviour:
    """Read a request and write these bytes; a number is a pause in seconds. Then close."""

    async def behave(server: RawServer, reader: StreamReader, writer: StreamWriter) -> None:
        await read_request(server, reader)
        for part in parts:
            if isinstance(part, bytes):
                writer.write(part)
                await writer.drain()
            else:
                await asyncio.sleep(part)

    return behave


def trickling(head: bytes, part: bytes, pause: float) -> Behaviour:
    """Read a request, write a head, then the same few bytes again and again without end."""

    async def behave(server: RawServer, reader: StreamReader, writer: StreamWriter) -> None:
        await read_request(server, reader)
        writer.write(head)
        with suppress(OSError):
            while True:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause)
        server.closed_by_client.set()

    return behave


async def resetting(server: RawServer, reader: StreamReader, writer: StreamWriter) -> None:
    """Read a request and reset the connection."""
    await read_request(server, reader)
    writer.transport.abort()


def keeping(
    *answers: bytes,
) -> Behaviour:
    """Answer request after request on one connection, the last answer again and again."""

    async def behave(server: RawServer, reader: StreamReader, writer: StreamWriter) -> None:
        while True:
            await read_request(server, reader)
            writer.write(answers[min(len(server.requests), len(answers)) - 1])

    return behave


def answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    """A whole answer with its length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def head(status: str, *headers: str) -> bytes:
    """The head of an answer alone."""
    return "\r\n".join([f"HTTP/1.1 {status}", *headers]).encode("latin-1") + b"\r\n\r\n"
