"""How long a connection may take, on a clock of our own and with a transport of paper."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from gateway import protocol
from gateway.protocol import CarefulProtocol, close_late

STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
HOST = b"Host: gateway\r\n"
GET = b"GET /livez HTTP/1.1\r\n" + HOST
POST = b"POST /api/v1/video/queue HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
UPLOAD = POST + b"Content-Length: 10000000\r\n\r\n"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class StillLoop:
    """A loop whose clock is set, and that keeps what it is to run."""

    now: float = 100.0
    tasks: list[Any] = field(default_factory=list)

    def time(self) -> float:
        """Seconds."""
        return self.now

    def create_task(self, work: Any, **_: Any) -> Any:
        """Never run it."""
        work.close()
        return asyncio.get_running_loop().create_future()


class PaperTransport(asyncio.Transport):
    """Keeps what is written, and whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_closed = False
        self.is_paused = False
        self.untaken = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def write_eof(self) -> None:
        self.is_closed = True

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = True

    def get_write_buffer_size(self) -> int:
        return self.untaken

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False


@dataclass
class Paper:
    """One connection, its clock in our hands."""

    loop: StillLoop
    transport: PaperTransport
    connection: CarefulProtocol

    def after(self, seconds: float, data: bytes = b"") -> bool:
        """Whether the connection is open so much later, and then send this."""
        for _ in range(round(seconds * 2)):
            self.loop.now += 0.5
            close_late([self.connection], self.loop.now)
        if data and not self.transport.is_closed:
            self.connection.data_received(data)
        return not self.transport.is_closed


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("never run")


@pytest.fixture
def paper() -> Iterator[Paper]:
    """A connection that was just made."""
    loop, transport = StillLoop(), PaperTransport()
    config = Config(_nothing, http=CarefulProtocol, ws="none", lifespan="off", log_config=None)
    config.load()
    connection = CarefulProtocol(config, ServerState(), {}, _loop=loop)  # type: ignore[arg-type]
    connection.connection_made(transport)
    yield Paper(loop, transport, connection)
    connection.connection_lost(ConnectionResetError())


async def test_headers_have_their_seconds_from_connecting_however_they_come(paper: Paper) -> None:
    assert paper.after(5, GET)
    assert paper.after(4.5, b"X-A: b\r\n")
    assert not paper.after(1)
    assert STATUS.findall(paper.transport.written) == [b"408"]


async def test_a_silent_connection_is_closed_without_a_word(paper: Paper) -> None:
    assert not paper.after(10.5)
    assert paper.transport.written == b""


async def test_a_steady_upload_is_never_cut_off(paper: Paper) -> None:
    piece = b" " * protocol.BODY_BYTES_PER_SECOND_MIN
    paper.connection.data_received(UPLOAD)
    for _ in range(600):
        assert paper.after(1, piece)
        paper.connection.cycle.body.clear()


async def test_a_fast_beginning_buys_no_slow_end(paper: Paper) -> None:
    paper.connection.data_received(UPLOAD + b" " * 60_000)
    for _ in range(17):
        assert paper.after(1, b" ")
    assert not paper.after(2)


async def test_what_the_gateway_itself_does_not_read_is_not_late(paper: Paper) -> None:
    paper.connection.data_received(UPLOAD + b" " * 70_000)
    assert paper.transport.is_paused
    assert paper.after(600)


async def test_a_request_that_is_here_may_wait_for_its_answer(paper: Paper) -> None:
    paper.connection.data_received(GET + b"\r\n")
    assert paper.after(600)


async def test_an_answer_that_nobody_takes_is_given_up(paper: Paper) -> None:
    paper.connection.data_received(GET + b"\r\n")
    paper.transport.untaken = 60_000
    assert paper.after(27)
    assert not paper.after(2)


async def test_an_answer_that_is_taken_slowly_is_not(paper: Paper) -> None:
    """A little of what lies there, or all of it and as much again."""
    paper.connection.data_received(GET + b"\r\n")
    for left in range(60_000, 0, -1_000):
        paper.transport.untaken = left
        assert paper.after(25)
    for _ in range(10):
        paper.transport.untaken = 60_000
        assert paper.after(25)
        paper.connection.resume_writing()


async def test_extensions_without_an_end_are_refused(paper: Paper) -> None:
    paper.connection.data_received(CHUNKED + b"5;")
    for _ in range(200):
        paper.connection.data_received(b"a" * 1_000)
    assert STATUS.findall(paper.transport.written) == [b"400"]


async def test_a_refusal_tells_the_door_before_anything_it_sends_could_count(paper: Paper) -> None:
    paper.connection.data_received(CHUNKED)
    cycle = paper.connection.cycle
    paper.connection.data_received(b"nonsense")
    assert cycle.disconnected
    assert (await cycle.receive())["type"] == "http.disconnect"
