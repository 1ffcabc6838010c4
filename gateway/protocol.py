"""Connections that hold nobody up: how long a request may take to arrive, how much of it may be
header, how long an answer may lie untaken. Refuses what two readers could understand in two ways,
before any door sees it; not what a request means.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from enum import Enum
from functools import partial
from math import inf
from typing import Any, cast

import httptools
import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.core.taking import Taking
from gateway.file_sending import SCOPE_KEY, FileSender
from gateway.gathering import Gathering
from gateway.unreadable import refusal

HEADERS_BYTES_MAX = 64 * 1024
"""The longest honest header is a key of 53 characters; behind proxies a request has some 2 KB."""
HEADERS_SECONDS_MAX = 10.0
"""From connecting, or from the first byte of a later request, to the end of its headers."""
BODY_SECONDS_AHEAD_MAX = 18.0
"""A body may stand still so long. With the headers and two late looks it makes less than 30 s."""
BODY_BYTES_PER_SECOND_MIN = 4096
"""What a body must average: a bad telephone line. Slower is a connection held for its own sake."""
PIPELINED_MAX = 32
"""Requests that wait behind one being answered: each costs 2 KB, key or no key."""
LINGER_SECONDS = 2.0
"""How long a client that still sends may take to read its refusal (RFC 9112, 9.6)."""
LINGER_BYTES_MAX = 1024 * 1024
"""What is read and thrown away meanwhile."""
_TOO_LARGE = f"The headers are larger than {HEADERS_BYTES_MAX // 1024} KiB."
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_HOST = re.compile(rb"[\w.~!$&'()*+,;=%:\[\]-]+", re.ASCII)
_log = structlog.get_logger(__name__)


class _Phase(Enum):
    """What a connection is waiting for."""

    IDLE = "the next request"
    HEADERS = "the end of the headers"
    BODY = "the end of the body"
    ANSWER = "the answer"
    END = "the client to read its refusal"


class _Refused(Exception):
    """Ends the parser's work; what the client is told stands in `_refusal`."""


class CarefulProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits; `close_late` is to be called twice a second.

    One deadline a connection, set by whatever happens on it and looked at from outside: a request
    that arrives in one piece starts no timer.
    """

    _phase = _Phase.HEADERS
    _deadline = inf
    """By the loop's clock, in seconds."""
    _overhead = 0
    """Bytes of the current message that are not body."""
    _body_bytes = 0
    _refusal: tuple[int, str] | None = None
    _running: Any = None
    """The request being answered; `cycle` is the last that came."""
    _keeps_alive: bool | None = None
    """Whether the connection outlives the answer, once the body will have come; None: it has."""
    _is_deaf = False
    """Nothing more is read: the answer under way is the last."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock."""
        super().connection_made(transport)
        self._deadline = self.loop.time() + HEADERS_SECONDS_MAX
        self._taking = Taking()
        self._gathering = Gathering(transport, self.loop)
        self._files = FileSender(transport, self.loop, self._gathering.take)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request being answered too, where others wait behind it."""
        self._deadline = inf
        if self._running is not self.cycle:
            _leave(self._running)
        super().connection_lost(exc)
        self._files.wake()

    def data_received(self, data: bytes) -> None:
        """Parse what came, and see how long the rest may take."""
        if self._is_deaf or self._phase is _Phase.END:
            self._overhead += len(data)
            if self._overhead > LINGER_BYTES_MAX:
                self.flow.pause_reading()
            return
        if self._phase is _Phase.IDLE:
            self._phase = _Phase.HEADERS
            self._deadline = self.loop.time() + HEADERS_SECONDS_MAX
        self._overhead += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # We speak nothing else, so the request is answered as it stands (RFC 9110, 7.8). The
            # parser will not go on, and neither will the connection.
            self._is_deaf = True
            self.cycle.keep_alive = False
            return
        except httptools.HttpParserError:
            self._refuse(*(self._refusal or (400, "This is no well-formed HTTP/1.1 request.")))
            return
        if self._phase is _Phase.BODY:
            self._await_body(len(data))
        if self._overhead > HEADERS_BYTES_MAX:
            self._check_overhead()

    # what the parser finds

    def on_headers_complete(self) -> None:
        """Refuse what is ambiguous before anybody acts on it."""
        refusal = self._objection()
        if refusal is not None:
            self._refusal = refusal
            raise _Refused
        self._phase = _Phase.BODY
        self._deadline = self.loop.time() + BODY_SECONDS_AHEAD_MAX
        self._body_bytes = 0
        super().on_headers_complete()
        # Trailers would otherwise be added to the headers of a request already being answered.
        self.headers = []

    def on_body(self, body: bytes) -> None:
        """Count it."""
        self._overhead -= len(body)
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Nothing more is to come; the time is now the answer's."""
        self._phase = _Phase.ANSWER
        self._deadline = inf
        self._overhead = 0
        if self._keeps_alive is not None and not self.cycle.response_started:
            self.cycle.keep_alive = self._keeps_alive
            self.cycle.transport = cast("asyncio.Transport", self._gathering)
        self._keeps_alive = None
        super().on_message_complete()

    def _objection(self) -> tuple[int, str] | None:
        """Why a request cannot be taken, from what the parser itself lets pass."""
        is_modern = self.parser.get_http_version() == "1.1"
        if not is_modern and self.parser.get_http_version() != "1.0":
            return 400, "Speak HTTP/1.1."
        if self.url[:1] != b"/" or b"#" in self.url:
            return 400, "The request's target must be a path."
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) != 1 and (hosts or is_modern):
            return 400, "Send exactly one Host header."
        if hosts and not _HOST.fullmatch(hosts[0]):
            return 400, "Send a Host header with a name and perhaps a port."
        if self._overhead > HEADERS_BYTES_MAX:
            # It may be body, or the next request, that came along.
            own = sum(len(name) + len(value) + 4 for name, value in self.headers)
            if len(self.url) + own > HEADERS_BYTES_MAX:
                return 431, _TOO_LARGE
        if len(self.pipeline) >= PIPELINED_MAX:
            return 400, f"No more than {PIPELINED_MAX} requests can wait on one connection."
        return self._objection_to_framing(is_modern)

    def _objection_to_framing(self, is_modern: bool) -> tuple[int, str] | None:
        for name, value in self.headers:
            if name == b"transfer-encoding" and not (is_modern and value.lower() == b"chunked"):
                return 400, "The only transfer encoding is chunked, with HTTP/1.1."
            if name in _FRAMING and value != b"0" and self.parser.should_upgrade():
                return 400, "A request with a body cannot ask for another protocol."
        return None

    # time and size

    def _await_body(self, received: int) -> None:
        """A body is under way: each byte buys time, up to a limit."""
        ahead = self.loop.time() + BODY_SECONDS_AHEAD_MAX
        self._deadline = min(self._deadline + received / BODY_BYTES_PER_SECOND_MIN, ahead)
        cycle = self.cycle
        if self._keeps_alive is None and not cycle.response_started:
            # An answer given before the body has come is the last on this connection: reading on
            # to its end could take for ever.
            self._keeps_alive = cycle.keep_alive
            cycle.keep_alive = False
            cycle.transport = cast("asyncio.Transport", _LingeringTransport(self))

    def _check_overhead(self) -> None:
        """Refuse headers, chunk extensions or trailers without an end."""
        if self._phase is not _Phase.BODY:
            self._refuse(431, _TOO_LARGE)
        elif self._overhead > 2 * HEADERS_BYTES_MAX + self._body_bytes:
            self._refuse(400, "This body is more framing than content.")

    def close_late(self, now: float) -> None:
        """Close the connection if its time is up, or its client takes nothing of its answer."""
        if self._taking.is_stuck(self._files.untaken(), now):
            _log.info("answer.untaken")
            self.transport.abort()
            return
        if now < self._deadline:
            return
        if self._phase is _Phase.END:
            self.transport.abort()
        elif not self._overhead:
            self.transport.close()
        elif self.flow.read_paused:
            # It is us who do not read.
            self._deadline = now + BODY_SECONDS_AHEAD_MAX
        else:
            self._refuse(408, "This request took too long to arrive.")

    # answers

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running = cycle
        if cycle.transport is self.transport:
            cycle.transport = self._gathering
        cycle.scope[SCOPE_KEY] = partial(self._files.send, cycle)
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for one without a timer of uvicorn's."""
        self.server_state.total_requests += 1
        self._gathering.flush()
        if self._phase is _Phase.END or self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._phase = _Phase.HEADERS if self._overhead else _Phase.IDLE
            seconds = HEADERS_SECONDS_MAX if self._overhead else self.timeout_keep_alive
            self._deadline = self.loop.time() + seconds

    def resume_writing(self) -> None:
        """The client has taken most of what lay ready."""
        self._taking.taken()
        super().resume_writing()

    def shutdown(self) -> None:
        """The answer under way is the last."""
        super().shutdown()
        if self._keeps_alive is not None:
            self._keeps_alive = False

    def _refuse(self, status: int, message: str) -> None:
        """Say why, where nothing else was said, and close."""
        running = self._running
        self._gathering.flush()
        if running is None or running.response_complete or not running.response_started:
            self.transport.write(refusal(status, message))
        _log.info("request.unreadable", status=status, reason=message)
        for cycle in (running, self.cycle, *(cycle for cycle, _ in self.pipeline)):
            _leave(cycle)
        self.pipeline.clear()
        self.linger()

    def linger(self) -> None:
        """Close, but not at once: what a client still sends would be answered by a reset, and that
        wipes out what it was told.
        """
        self._phase = _Phase.END
        self._overhead = 0
        self._deadline = self.loop.time() + LINGER_SECONDS
        self._gathering.flush()
        if not self.transport.is_closing():
            self.transport.write_eof()
            self.flow.resume_reading()


class _LingeringTransport:
    """The transport for an answer to a request that has not wholly come: closing takes its time."""

    __slots__ = ("_protocol", "is_closing", "write")

    def __init__(self, protocol: CarefulProtocol) -> None:
        self._protocol = protocol
        self.write = protocol.transport.write
        self.is_closing = protocol.transport.is_closing

    def close(self) -> None:
        """Close once the client has had time to read."""
        self._protocol.linger()


def close_late(connections: Iterable[Any], now: float) -> None:
    """Close those whose time is up; `now` by the loop's clock."""
    for connection in [c for c in connections if isinstance(c, CarefulProtocol)]:
        connection.close_late(now)


def _leave(cycle: Any) -> None:
    """Tell the door that its client is gone, before anything it sends could count as delivered."""
    if cycle is not None and not cycle.response_complete:
        cycle.disconnected = True
        cycle.waiting_for_100_continue = False
        cycle.message_event.set()
