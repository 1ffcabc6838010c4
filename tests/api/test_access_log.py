"""The access line: one for each request, fewer where polls would flood, none where it is off."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
import structlog
from starlette.types import Message, Receive, Scope, Send

from gateway.api.edge import AccessLog, Edge
from gateway.metrics import Metrics
from gateway.visitors import Visitors
from tests.upstream.still_clock import StillClock


async def answer(scope: Scope, _receive: Receive, send: Send) -> None:
    """A door that answers with the status in its path."""
    scope["endpoint"] = scope["path"].split("/")[1]
    await send({"type": "http.response.start", "status": int(scope["path"].split("/")[2])})
    if scope["path"].endswith("/broken"):
        raise ConnectionError
    await send({"type": "http.response.body"})


async def lines(access_log: AccessLog, path: str) -> list[Mapping[str, Any]]:
    doors = {"retrieve": "retrieve", "queue": "queue"}
    edge = Edge(answer, Metrics(), doors, Visitors(StillClock()), access_log=access_log)
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "headers": [(b"host", b"h")],
    }

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(_message: Message) -> None:
        """Nobody listens."""

    with structlog.testing.capture_logs() as logged, suppress(ConnectionError):
        await edge(scope, receive, send)
    return [line for line in logged if line["event"] == "request"]


@pytest.mark.parametrize(
    ("access_log", "path", "count"),
    [
        ("quiet", "/queue/200", 1),
        ("quiet", "/retrieve/200", 0),
        ("quiet", "/retrieve/404", 0),
        ("quiet", "/retrieve/503", 1),
        ("all", "/retrieve/200", 1),
        ("quiet", "/queue/200/broken", 1),
        ("off", "/queue/200", 0),
        ("off", "/retrieve/503", 0),
    ],
)
async def test_who_has_a_line(access_log: AccessLog, path: str, count: int) -> None:
    assert len(await lines(access_log, path)) == count


async def test_a_line_names_the_door_and_never_the_path() -> None:
    (line,) = await lines("quiet", "/queue/402/CANARY")
    assert (line["door"], line["status"], line["method"]) == ("queue", 402, "POST")
    assert not [value for value in line.values() if "CANARY" in str(value)]
