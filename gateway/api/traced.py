"""A span around every request, where traces are on; where they are off it is not there at all.

It stands outside of the edge, so that a span has the status that the client has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.ports import Traces

CARRIERS = (b"traceparent", b"tracestate")
"""W3C Trace Context: the only headers that a trace needs to see."""


class Traced:
    """The outermost application while traces are on."""

    def __init__(self, app: ASGIApp, traces: Traces, doors: Mapping[Any, str]) -> None:
        self._app = app
        self._traces = traces
        self._doors = doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        carried = {
            name.decode("ascii"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in CARRIERS
        }
        status = 0

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self._traces.door(carried) as span:
            try:
                await self._app(scope, receive, seen)
            finally:
                # Known only now: the door, and not the path, which may be anything.
                door = self._doors.get(scope.get("endpoint"), "other")
                span.rename(door)
                span.note("gateway.door", door)
                span.note("gateway.request", scope.get("request_id", ""))
                if status:
                    span.note("http.response.status_code", status)
            if status >= 500:
                span.fail(str(status))
