"""A transport takes what has come, and is otherwise the library's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from gateway.upstream.wide_reads import wide_transport

BODY = bytes(range(256)) * 16_384
LIBRARY_READS = 64 * 1024


@asynccontextmanager
async def served() -> AsyncIterator[str]:
    """The URL of a server that answers anything with the body, as fast as it is taken."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def test_a_body_comes_whole_and_in_large_parts() -> None:
    async with served() as url, httpx.AsyncClient(transport=wide_transport()) as client:
        parts = []
        async with client.stream("GET", url) as answer:
            async for part in answer.aiter_raw():
                parts.append(part)
                await asyncio.sleep(0.005)
    assert b"".join(parts) == BODY
    assert max(map(len, parts)) > LIBRARY_READS


async def test_who_cannot_be_reached_is_told_in_the_librarys_words() -> None:
    async with served() as url:
        pass
    async with httpx.AsyncClient(transport=wide_transport()) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(url)
