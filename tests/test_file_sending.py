"""Files past the process: the right bytes to the right client, and no word of any that were not
handed over."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway import file_sending
from gateway.file_sending import PIECE_BYTES, FileSender, Residency
from gateway.gathering import Gathering

LONG = 24_000_000
"""More than all buffers between a server and a client that stops reading."""
HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Cycle:
    """What a sender looks at of the answer that is being given."""

    disconnected: bool = False
    message_event: asyncio.Event = field(default_factory=asyncio.Event)
    expected_content_length: int = LONG


@dataclass
class Connection(asyncio.Protocol):
    """The server's end: it sends a head at once, and knows when it is over."""

    made: asyncio.Queue[Connection]
    cycle: Cycle = field(default_factory=Cycle)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.gathering = Gathering(transport, asyncio.get_running_loop())
        self.sender = FileSender(transport, asyncio.get_running_loop(), self.gathering.take)
        transport.write(HEAD)
        self.made.put_nowait(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.cycle.disconnected = True
        self.sender.wake()
        self.over.set()


@dataclass
class Room:
    """A server, and a file to be sent."""

    port: int
    made: asyncio.Queue[Connection]
    descriptor: int
    content: bytes

    async def connect(
        self, client: socket.socket | None = None
    ) -> tuple[socket.socket, Connection]:
        client = client or a_socket()
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", self.port))
        return client, await self.made.get()

    def sending(self, connection: Connection, first: int = 0) -> asyncio.Task[int | None]:
        count = LONG - first
        work = connection.sender.send(
            connection.cycle, self.descriptor, first, count, lambda _first, wanted: wanted
        )
        return asyncio.create_task(work)


def a_socket() -> socket.socket:
    """One that takes little at a time."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    client.setblocking(False)
    return client


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with _room(tmp_path / "video.mp4") as found:
        yield found


@asynccontextmanager
async def _room(path: Path) -> AsyncIterator[Room]:
    content = random.Random(1).randbytes(LONG)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    os.write(descriptor, content)
    made: asyncio.Queue[Connection] = asyncio.Queue()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(made), "127.0.0.1", 0
    )
    try:
        port = server.sockets[0].getsockname()[1]
        yield Room(port, made, descriptor, content)
    finally:
        os.close(descriptor)
        server.close()
        await server.wait_closed()


async def received(client: socket.socket, count: int) -> bytes:
    """So many bytes, or all there are until the end."""
    found = bytearray()
    while len(found) < count:
        part = await asyncio.get_running_loop().sock_recv(client, min(65_536, count - len(found)))
        if not part:
            break
        found += part
    return bytes(found)


async def lying(connection: Connection, others: set[int]) -> int:
    """How much the client has not confirmed, once that is another figure than these."""
    async with asyncio.timeout(10):
        while True:
            left = connection.sender.untaken()
            if left and left not in others:
                return left
            await asyncio.sleep(0.01)


def descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


@pytest.mark.parametrize("first", [0, 1, 12_345_678, LONG - 1])
async def test_what_was_written_comes_first_and_then_the_file(room: Room, first: int) -> None:
    client, connection = await room.connect()
    before = descriptors()
    sending = room.sending(connection, first)
    content = await received(client, len(HEAD) + LONG - first)
    assert await sending == LONG - first
    assert content == HEAD + room.content[first:]
    assert connection.cycle.expected_content_length == first
    assert descriptors() == before
    client.close()
    connection.transport.close()


async def test_a_head_that_was_held_back_goes_before_the_file(room: Room) -> None:
    client, connection = await room.connect()
    await received(client, len(HEAD))
    room.sending(connection)
    # Before the first turn of the task above: without a flush the file would be first.
    connection.gathering.write(HEAD)
    assert await received(client, len(HEAD) + 100) == HEAD + room.content[:100]
    client.close()
    connection.transport.close()


async def test_a_head_comes_also_where_the_file_is_not_in_memory(room: Room) -> None:
    """It waits for the file's first bytes, but not for ever."""
    client, connection = await room.connect()
    await received(client, len(HEAD))
    nothing = connection.sender.send(connection.cycle, room.descriptor, 0, LONG, lambda *_: 0)
    sending = asyncio.create_task(nothing)
    connection.gathering.write(b"a head")
    assert await sending == 0
    assert await asyncio.wait_for(received(client, 6), 10) == b"a head"
    client.close()
    connection.transport.close()


async def test_heads_do_not_wait_for_the_files_of_those_before_them(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a turn has time for one piece, all heads leave in the turn they are written in."""
    monkeypatch.setattr(file_sending, "TURN_SECONDS", 1e-9)
    clients = [await room.connect() for _ in range(8)]
    for client, _ in clients:
        await received(client, len(HEAD))
    sending = [room.sending(connection) for _, connection in clients]
    for _, connection in clients:
        connection.gathering.write(b"a head")
    await asyncio.sleep(0)
    assert [client.recv(6) for client, _ in clients] == [b"a head"] * 8
    for client, connection in clients:
        connection.transport.abort()
        client.close()
    assert await asyncio.gather(*sending) == [None] * len(clients)


async def test_a_client_that_leaves_ends_it_and_was_not_handed_everything(room: Room) -> None:
    client, connection = await room.connect()
    before = descriptors()
    sending = room.sending(connection)
    await received(client, 1_000_000)
    client.close()
    assert await sending is None
    assert connection.cycle.disconnected
    await connection.over.wait()
    assert descriptors() < before


async def test_a_connection_that_is_closed_here_ends_it_at_once(room: Room) -> None:
    client, connection = await room.connect()
    sending = room.sending(connection)
    await received(client, 1_000_000)
    await lying(connection, set())
    connection.transport.abort()
    assert await sending is None
    client.close()


async def test_a_descriptor_that_another_connection_was_given_gets_nothing(room: Room) -> None:
    client, connection = await room.connect()
    number = connection.transport.get_extra_info("socket").fileno()
    sending = room.sending(connection)
    await received(client, 1_000_000)
    # Made beforehand, so that the number goes to the server's end of one.
    clients = [a_socket() for _ in range(3)]
    connection.transport.abort()
    await connection.over.wait()
    others = [await room.connect(other) for other in clients]
    numbers = {each.transport.get_extra_info("socket").fileno() for _, each in others}
    assert number in numbers
    assert await sending is None
    for other, its in others:
        its.transport.close()
        assert await received(other, 10_000) == HEAD
        other.close()
    client.close()


async def test_a_file_that_became_shorter_is_said_so(room: Room) -> None:
    client, connection = await room.connect()
    sending = room.sending(connection)
    await received(client, 100_000)
    os.ftruncate(room.descriptor, 5_000_000)
    with pytest.raises(EOFError):
        await asyncio.gather(sending, received(client, LONG))
    client.close()
    connection.transport.close()


async def test_what_a_slow_client_confirms_counts_as_taken(room: Room) -> None:
    client, connection = await room.connect()
    sending = room.sending(connection)
    seen: set[int] = set()
    for _ in range(5):
        await received(client, 65_536)
        seen.add(await lying(connection, seen))
    assert len(seen) == 5
    connection.transport.abort()
    await sending
    client.close()


async def test_a_client_that_takes_on_is_watched_once(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To begin and end watching for each piece costs as much as the piece."""
    monkeypatch.setattr(file_sending, "TURN_SECONDS", 10.0)
    loop = asyncio.get_running_loop()
    watched, is_waiting = [], asyncio.Event()
    add_writer = loop.add_writer

    def watching(descriptor: int, call: Callable[[], object]) -> None:
        watched.append(descriptor)
        is_waiting.set()
        add_writer(descriptor, call)

    client, connection = await room.connect()
    monkeypatch.setattr(loop, "add_writer", watching)
    sending = room.sending(connection)
    # As much as fits is on its way, and it waits.
    await asyncio.wait_for(is_waiting.wait(), 10)
    content = b""
    for _ in range(5):
        content += await received(client, await lying(connection, set()))
    content += await received(client, len(HEAD) + LONG - len(content))
    assert content == HEAD + room.content
    assert await sending == LONG
    assert len(watched) == 1
    client.close()
    connection.transport.close()


async def test_files_leave_the_rest_of_a_turn_to_others(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one call takes all the time there is, many files at once make one in each turn."""
    monkeypatch.setattr(file_sending, "TURN_SECONDS", 1e-9)
    clients = [await room.connect() for _ in range(8)]
    sending = [room.sending(connection) for _, connection in clients]
    handed_over = []
    for _ in range(40):
        left = sum(connection.cycle.expected_content_length for _, connection in clients)
        await asyncio.sleep(0)
        now = sum(connection.cycle.expected_content_length for _, connection in clients)
        handed_over.append(left - now)
        for client, _ in clients:
            with suppress(BlockingIOError):
                client.recv(1_000_000)
    assert sum(handed_over) > 8 * PIECE_BYTES
    assert max(handed_over) <= PIECE_BYTES
    # Nobody who came later was passed over for good.
    assert max(connection.cycle.expected_content_length for _, connection in clients) < LONG
    for client, connection in clients:
        connection.transport.abort()
        client.close()
    assert await asyncio.gather(*sending) == [None] * len(clients)


@pytest.mark.parametrize("kernel", ["this one", "an older one"])
def test_what_was_just_read_is_in_memory_and_what_nobody_can_tell_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: str
) -> None:
    if kernel == "an older one":
        monkeypatch.setattr(file_sending, "is_cached", lambda *_: False)
    path = tmp_path / "video.mp4"
    path.write_bytes(bytes(3_000_001))
    descriptor = os.open(path, os.O_RDONLY)
    os.pread(descriptor, 3_000_001, 0)
    found = Residency(descriptor, 3_000_001)
    assert found.ahead(0, 3_000_001) == PIECE_BYTES
    assert found.ahead(2_999_999, 2) == 2
    assert found.ahead(1, 4_097) == 4_097
    found.close()
    found.close()
    assert found.ahead(0, 1) == 0
    os.close(descriptor)


def test_once_something_was_not_in_memory_pages_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A place in memory may still be empty where somebody reads from the disk."""
    path = tmp_path / "video.mp4"
    path.write_bytes(bytes(3_000_000))
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    asked = []

    def is_cached(descriptor: int, first: int, count: int) -> bool:
        asked.append(first)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return first < 1_000_000

    monkeypatch.setattr(file_sending, "is_cached", is_cached)
    found = Residency(descriptor, 3_000_000)
    assert found.ahead(0, 1_000_000) == 1_000_000
    if found.ahead(1_000_000, 1_000_000):
        pytest.skip("this file system keeps in memory what it was told to forget: NOT tested")
    os.pread(descriptor, 8_192, 0)
    assert 8_192 <= found.ahead(0, 1_000_000) <= 1_000_000
    assert asked == [0, 1_000_000]
    found.close()
    os.close(descriptor)


@pytest.mark.parametrize("first", [0, 1, 4_095, 4_096, 10_000])
def test_what_is_in_memory_is_told_up_to_the_first_page_that_is_not(
    tmp_path: Path, first: int
) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(bytes(3_000_000))
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    # Nothing is read ahead.
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
    os.pread(descriptor, 20_000, first)
    found = Residency(descriptor, 3_000_000)
    ahead = found.ahead(first, 500_000)
    if ahead == 500_000:
        pytest.skip("this file system keeps in memory what it was told to forget: NOT tested")
    assert ahead >= 20_000
    assert os.preadv(descriptor, [bytearray(ahead)], first, os.RWF_NOWAIT) == ahead
    with pytest.raises(BlockingIOError):
        os.preadv(descriptor, [bytearray(1)], first + ahead, os.RWF_NOWAIT)
    found.close()
    os.close(descriptor)
