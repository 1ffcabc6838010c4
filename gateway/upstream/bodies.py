"""Bodies of answers taken in within limits of size and time, whatever the other end does.

It knows streams of bytes, not the client library they come from.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator

from gateway.ports import BodyCut, BodyLost
from gateway.upstream.limits import BodyLimits

GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
"""zlib's way to say: find out by the header which of the two it is."""


class UnreadableBody(Exception):
    """A body grew past its limit, or is packed in a way nobody asked for."""


class JsonBody:
    """Gathers a body of `bytes_max` bytes at most, unpacked as far as that and not further."""

    def __init__(self, content_encoding: str | None, bytes_max: int) -> None:
        encoding = (content_encoding or "identity").strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise UnreadableBody("the body is packed in a way nobody asked for")
        is_packed = encoding not in ("", "identity")
        self._unpacker = zlib.decompressobj(GZIP_OR_ZLIB) if is_packed else None
        self._bytes_max = bytes_max
        self._body = bytearray()

    def feed(self, part: bytes) -> None:
        """Take the next bytes from the wire; `UnreadableBody` once there are too many."""
        room = self._bytes_max - len(self._body) + 1
        try:
            self._body += self._unpacker.decompress(part, room) if self._unpacker else part
        except zlib.error as error:
            raise UnreadableBody("the body is not packed as it says") from error
        if len(self._body) > self._bytes_max:
            raise UnreadableBody(f"the body is larger than {self._bytes_max} bytes")

    def whole(self) -> bytes:
        """All of it; `UnreadableBody` where the packing says that something is missing."""
        if self._unpacker is not None and not self._unpacker.eof:
            raise UnreadableBody("the packed body has no end")
        return bytes(self._body)


async def video_chunks(
    parts: AsyncIterator[bytes],
    limits: BodyLimits,
    cuts: tuple[type[Exception], ...],
    losses: tuple[type[Exception], ...] = (),
) -> AsyncGenerator[bytes, None]:
    """A video's bytes as they come; `BodyCut` where it ends early, stalls or grows too large.

    `cuts` are the exceptions by which `parts` says that the connection ended early, `TimeoutError`
    among them; by `losses` it says that the network failed, which is a `BodyLost`. Only the time
    spent waiting for the other end counts, not the taker's.
    """
    loop = asyncio.get_running_loop()
    total, patience_in_all = 0, limits.video_seconds
    fresh, patience = 0, limits.stall_seconds
    while True:
        began = loop.time()
        try:
            async with asyncio.timeout(min(patience, patience_in_all)):
                part = await anext(parts, None)
        except cuts as error:
            kind = BodyLost if isinstance(error, losses) else BodyCut
            raise kind(f"the video ended or stalled after {total} bytes") from error
        if part is None:
            return
        total += len(part)
        if total > limits.video_bytes_max:
            raise BodyCut(f"the video is larger than {limits.video_bytes_max} bytes")
        waited = loop.time() - began
        patience_in_all -= waited
        fresh, patience = fresh + len(part), patience - waited
        if fresh >= limits.stall_bytes:
            fresh, patience = 0, limits.stall_seconds
        yield part
