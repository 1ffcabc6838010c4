"""Sends an open video over HTTP: whole, in ranges, or not at all, and says whether it arrived.

It holds one chunk in memory whatever the video's size, never waits for a disk on the event loop,
and closes the video in every case.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Literal

from anyio import CancelScope
from starlette.types import Receive, Scope, Send

from gateway.core.ranges import CONDITIONAL, Selection, Span, Verdict, select
from gateway.file_sending import SCOPE_KEY, Ahead, Residency
from gateway.ports import OpenVideo, StoreFailure

CHUNK_BYTES = 512 * 2**10
"""What one slow reader holds in memory."""
TURNS_TO_HEAR = 4
"""Turns of the event loop until a failed write is heard of here: the write itself, the transport's
callback, the server's event, the watcher. Waited for before the last piece, not after it: a client
that leaves as soon as it has everything was served."""
FILE_NAME_CHARACTERS_MAX = 100

OnEnd = Callable[[bool], Awaitable[None]]
SendFile = Callable[[int, int, int, Ahead], Awaitable[int | None]]
Headers = list[tuple[bytes, bytes]]
"""As they go out."""
Segment = bytes | Span
"""A piece of an answer: as it is, or from the file."""

_ALWAYS: Headers = [
    (b"cache-control", b"private, no-store"),
    (b"cache-status", b"venice-gateway; hit"),
    (b"x-content-type-options", b"nosniff"),
    (b"accept-ranges", b"bytes"),
]
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")


class VideoResponse:
    """An ASGI application that answers one request with a video, by RFC 9110.

    GET honours ranges and conditions, HEAD conditions, any other method gets the whole. The
    video is closed and `on_end` awaited exactly once, however it ends: with True where the last
    byte of the video was handed to the transport before the client was seen to leave.
    """

    def __init__(
        self,
        video: OpenVideo,
        *,
        queue_id: str,
        disposition: Literal["inline", "attachment"] = "inline",
        headers: Mapping[str, str] | None = None,
        on_end: OnEnd | None = None,
    ) -> None:
        self._video = video
        self._on_end = on_end
        self._headers: Headers = [
            (b"etag", f'"{video.sha256}"'.encode("ascii")),
            *_ALWAYS,
            (
                b"content-disposition",
                f'{disposition}; filename="{file_name(queue_id)}"'.encode("ascii"),
            ),
            *(
                (name.encode("latin-1"), value.encode("latin-1"))
                for name, value in (headers or {}).items()
            ),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        delivered = False
        try:
            delivered = await self._answer(scope, receive, send)
        finally:
            self._video.close()
            if self._on_end is not None:
                with CancelScope(shield=True):
                    await self._on_end(delivered)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> bool:
        method, size = scope["method"], self._video.bytes
        fields = _fields(scope["headers"]) if method in CONDITIONAL else {}
        selection = select(method, size, f'"{self._video.sha256}"', fields)
        status, headers, segments = _answer_to(selection, size)
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": self._headers + headers,
            }
        )
        if method == "HEAD":
            await send({"type": "http.response.body"})
            return False
        reaches_end = any(span.last == size - 1 for span in selection.spans)
        residency = Residency(self._video.descriptor, size)
        hand_over = _Handover(
            self._video.descriptor, residency, receive, send, scope.get(SCOPE_KEY)
        )
        try:
            return await hand_over.all(segments) and reaches_end
        finally:
            hand_over.close()
            residency.close()


class _Handover:
    """Gives pieces to the connection: past this process what is in memory, where the server can,
    else through it, a chunk at a time. `close` it.
    """

    def __init__(
        self,
        descriptor: int,
        residency: Residency,
        receive: Receive,
        send: Send,
        send_file: SendFile | None,
    ) -> None:
        self._descriptor = descriptor
        self._residency = residency
        self._receive = receive
        self._send = send
        self._send_file = send_file
        self._leaving: asyncio.Future[None] | None = None
        """Done when the client has left; nobody watches for it while files go past the process,
        for what sends them hears of it at once."""

    async def all(self, segments: Sequence[Segment]) -> bool:
        """Whether everything was handed over before the client was seen to leave."""
        left = sum(map(len, segments))
        for segment in segments:
            left -= len(segment)
            if isinstance(segment, bytes):
                goes_on = await self._through(segment, is_last=not left)
            else:
                goes_on = await self._span(segment, is_last=not left)
            if not goes_on:
                return False
        if self._leaving is not None and self._leaving.done():
            return False
        # Not earlier: when an answer is complete, a server reports every client as gone.
        await self._send({"type": "http.response.body"})
        return True

    def close(self) -> None:
        """Watch no longer."""
        if self._leaving is not None:
            self._leaving.cancel()

    async def _span(self, span: Span, *, is_last: bool) -> bool:
        """Hand a part of the video over; False where the client turned out to have left."""
        first, end = span.first, span.last + 1
        while first < end:
            sent = await self._past(first, end - first)
            if sent is None:
                return False
            first += sent
            if first < end:
                chunk = Span(first, min(first + CHUNK_BYTES, end) - 1)
                body = await self._read(chunk)
                if self._send_file and self._residency.ahead(chunk.first, len(chunk)):
                    # Reading it has brought it into memory: from there it goes without a copy.
                    continue
                first += len(chunk)
                if not await self._through(body, is_last=is_last and first == end):
                    return False
        return True

    async def _past(self, first: int, count: int) -> int | None:
        """Hand over what is in memory already, past this process, where the server can."""
        if self._send_file is None:
            return 0
        try:
            return await self._send_file(self._descriptor, first, count, self._residency.ahead)
        except EOFError as error:
            raise StoreFailure("a stored video became shorter while it was being sent") from error
        except OSError as error:
            raise StoreFailure(f"a stored video cannot be read: {error}") from error

    async def _through(self, body: bytes | bytearray, *, is_last: bool) -> bool:
        """Hand bytes to the server; False where the client turned out to have left."""
        if self._leaving is None:
            self._leaving = asyncio.ensure_future(_disconnected(self._receive))
        # What is sent to a lost connection is taken at once, until its loss is heard of.
        for _ in range(TURNS_TO_HEAR if is_last else 1):
            await asyncio.sleep(0)
        if self._leaving.done():
            return False
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
        # A server holds this until there is room again: only then is more read.
        await self._send({"type": "http.response.body", "body": b"", "more_body": True})
        return True

    async def _read(self, span: Span) -> bytes | bytearray:
        """These bytes of the video; `StoreFailure` where the file no longer has them."""
        descriptor = self._descriptor
        if self._send_file is None and (cached := _read_cached(descriptor, span)) is not None:
            return cached
        try:
            # Cancelled here, the thread may find the descriptor closed; nobody sees what it reads.
            found = await asyncio.to_thread(os.pread, descriptor, len(span), span.first)
        except OSError as error:
            raise StoreFailure(f"a stored video cannot be read: {error}") from error
        if len(found) < len(span):
            raise StoreFailure("a stored video became shorter while it was being sent")
        return found


def file_name(queue_id: str) -> str:
    """A name any system takes, from an id that may be any text."""
    safe = _UNSAFE.sub("-", queue_id).strip("-")[:FILE_NAME_CHARACTERS_MAX]
    return f"{safe or 'video'}.mp4"


def _fields(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        fields[key] = f"{fields[key]}, {text}" if key in fields else text
    return fields


def _answer_to(selection: Selection, size: int) -> tuple[int, Headers, Sequence[Segment]]:
    """Status, header fields and content for a verdict."""
    spans = selection.spans
    if selection.verdict is Verdict.WHOLE:
        return 200, _content(b"video/mp4", size), spans
    if selection.verdict is Verdict.UNCHANGED:
        return 304, [], ()
    if selection.verdict is Verdict.CHANGED:
        return _problem(412, "The video here is not the version that If-Match names.")
    if selection.verdict is Verdict.UNSATISFIABLE:
        status, headers, segments = _problem(416, f"The video has {size} bytes; none are there.")
        return status, [(b"content-range", b"bytes */%d" % size), *headers], segments
    if len(spans) == 1:
        headers = [(b"content-range", _content_range(spans[0], size))]
        return 206, headers + _content(b"video/mp4", len(spans[0])), spans
    return _multipart(spans, size)


def _content(kind: bytes, length: int) -> Headers:
    return [(b"content-type", kind), (b"content-length", b"%d" % length)]


def _content_range(span: Span, size: int) -> bytes:
    return b"bytes %d-%d/%d" % (span.first, span.last, size)


def _problem(status: int, detail: str) -> tuple[int, Headers, Sequence[Segment]]:
    """An error of our own doors (RFC 9457)."""
    code = {412: "PRECONDITION_FAILED", 416: "RANGE_NOT_SATISFIABLE"}[status]
    title = code.replace("_", " ").capitalize()
    problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    body = json.dumps({**problem, "code": code}).encode()
    return status, _content(b"application/problem+json", len(body)), (body,)


def _multipart(spans: Sequence[Span], size: int) -> tuple[int, Headers, Sequence[Segment]]:
    """Several ranges in one answer (RFC 9110 14.6)."""
    boundary = secrets.token_hex(16).encode("ascii")
    segments: list[Segment] = []
    for span in spans:
        head = b"\r\n--%b\r\nContent-Type: video/mp4\r\nContent-Range: %b\r\n\r\n"
        segments += [head % (boundary, _content_range(span, size)), span]
    segments.append(b"\r\n--%b--\r\n" % boundary)
    length = sum(map(len, segments))
    return 206, _content(b"multipart/byteranges; boundary=" + boundary, length), segments


async def _disconnected(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _read_cached(descriptor: int, span: Span) -> bytearray | None:
    """What the page cache has there; None where the disk would have to be waited for."""
    if sys.platform != "linux":
        return None
    buffer = bytearray(len(span))
    try:
        count = os.preadv(descriptor, [buffer], span.first, os.RWF_NOWAIT)
    except OSError:
        return None  # EAGAIN: not cached; EOPNOTSUPP: a file system without the question
    return buffer if count == len(buffer) else None
