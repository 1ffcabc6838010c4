"""A stored video over HTTP: the right bytes to every kind of client, and the truth about whether
they arrived."""

from __future__ import annotations

import asyncio
import email.policy
import hashlib
import os
import queue
import random
import re
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.api.files import CHUNK_BYTES, VideoResponse, file_name
from gateway.core.ranges import Verdict, select
from gateway.ports import OpenVideo, StoredVideo, StoreFailure
from gateway.protocol import CarefulProtocol
from gateway.storage.videos_disk import DiskVideoStore
from tests.core.test_ranges import RANGES
from tests.storage.sample_videos import in_chunks, sample_video

VIDEO = sample_video(3_000_000)
LONG = sample_video(24_000_000, seed=1)
"""Longer than all buffers between a server and a client that stops reading."""
VIDEOS = {"job": VIDEO, "long": LONG}
SECONDS_MAX = 10


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


TAG = f'"{sha256(VIDEO)}"'


class Door:
    """A bare application: `/JOB` is answered with that video; it keeps how each answer ended."""

    def __init__(self, root: Path) -> None:
        self.store = DiskVideoStore(root)
        self.ends: queue.Queue[bool] = queue.Queue()
        self.port = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        job = scope["path"].strip("/")
        recorded = StoredVideo(sha256(VIDEOS[job]), len(VIDEOS[job]))
        video = await self.store.open(job, recorded)
        assert video is not None
        headers = {"x-gateway-job": job}
        await VideoResponse(video, queue_id=job, headers=headers, on_end=self.on_end)(
            scope, receive, send
        )

    async def on_end(self, delivered: bool) -> None:
        self.ends.put(delivered)

    def end(self) -> bool:
        return self.ends.get(timeout=SECONDS_MAX)

    def connect(self, request: str, receive_bytes: int | None = None) -> socket.socket:
        connection = socket.socket()
        if receive_bytes is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.settimeout(SECONDS_MAX)
        connection.connect(("127.0.0.1", self.port))
        connection.sendall(request.encode())
        return connection


@pytest.fixture(scope="module", params=["through the process", "past it"])
def serving(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Door]:
    """By uvicorn's own protocol, and by ours, which can hand files to the kernel."""
    root = tmp_path_factory.mktemp("videos")

    async def fill() -> None:
        for job, content in VIDEOS.items():
            await DiskVideoStore(root).fill(job, in_chunks(content), len(content))

    asyncio.run(fill())
    door = Door(root)
    protocol = CarefulProtocol if request.param == "past it" else HttpToolsProtocol
    config = uvicorn.Config(
        door, port=0, loop="uvloop", http=protocol, ws="none", lifespan="off", log_config=None
    )
    server = uvicorn.Server(config)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        door.port = listener.getsockname()[1]
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield door
        finally:
            server.should_exit = True
            thread.join(SECONDS_MAX)
    assert not thread.is_alive()


@pytest.fixture
def door(serving: Door) -> Iterator[Door]:
    """The door, which after each test has told every end once and holds no video open."""
    yield serving
    deadline = time.monotonic() + SECONDS_MAX
    while open_videos() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert open_videos() == []
    assert serving.ends.empty()


def open_videos() -> list[str]:
    found = []
    for descriptor in Path("/dev/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue
        if ".mp4" in target:
            found.append(target)
    return found


@pytest.fixture(scope="module")
def client(serving: Door) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{serving.port}", trust_env=False) as client:
        yield client


# Answers


def test_a_video_comes_whole_with_all_that_is_known_of_it(door: Door, client: httpx.Client) -> None:
    answer = client.get("/job")
    assert answer.status_code == 200
    assert answer.content == VIDEO
    told = {name: text for name, text in answer.headers.items() if name not in ("date", "server")}
    assert told == {
        "accept-ranges": "bytes",
        "cache-control": "private, no-store",
        "cache-status": "venice-gateway; hit",
        "content-disposition": 'inline; filename="job.mp4"',
        "content-length": str(len(VIDEO)),
        "content-type": "video/mp4",
        "etag": TAG,
        "x-content-type-options": "nosniff",
        "x-gateway-job": "job",
    }
    assert door.end() is True


@pytest.mark.parametrize("fields", [{}, {"range": "bytes=5-9"}, {"range": "bytes=9000000-"}])
def test_head_tells_of_the_whole_and_delivers_nothing(
    door: Door, client: httpx.Client, fields: dict[str, str]
) -> None:
    answer = client.head("/job", headers=fields)
    assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(VIDEO)))
    assert "content-range" not in answer.headers
    assert (answer.headers["etag"], answer.content) == (TAG, b"")
    assert door.end() is False


def test_post_gets_the_whole_whatever_range_it_names(door: Door, client: httpx.Client) -> None:
    fields = {"range": "bytes=5-9", "if-none-match": TAG}
    answer = client.post("/job", json={"queue_id": "job"}, headers=fields)
    assert (answer.status_code, answer.content) == (200, VIDEO)
    assert door.end() is True


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("0-0", 0, 0),
        ("5-9", 5, 9),
        ("0-1999999", 0, 1_999_999),
        ("1500000-", 1_500_000, 2_999_999),
        ("-100", 2_999_900, 2_999_999),
        ("0-", 0, 2_999_999),
    ],
)
def test_a_range_comes_as_those_bytes_and_delivers_if_it_reaches_the_end(
    door: Door, client: httpx.Client, asked: str, first: int, last: int
) -> None:
    answer = client.get("/job", headers={"range": f"bytes={asked}", "if-range": TAG})
    assert answer.status_code == 206
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(VIDEO)}"
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.content == VIDEO[first : last + 1]
    assert door.end() is (last == len(VIDEO) - 1)


def test_several_ranges_come_as_parts_of_one_answer(door: Door, client: httpx.Client) -> None:
    answer = client.get("/job", headers={"range": "bytes=0-99, 1000000-1999999, -7"})
    assert answer.status_code == 206
    assert "content-range" not in answer.headers
    kind = answer.headers["content-type"]
    message = email.message_from_bytes(
        f"Content-Type: {kind}\r\n\r\n".encode() + answer.content, policy=email.policy.HTTP
    )
    assert message.get_content_type() == "multipart/byteranges"
    parts = re.split(
        rb"\r\n--" + kind.partition("boundary=")[2].encode() + rb"(?:--)?\r\n", answer.content
    )
    bodies = [part.partition(b"\r\n\r\n") for part in parts[1:-1]]
    assert [body for _, _, body in bodies] == [VIDEO[:100], VIDEO[1_000_000:2_000_000], VIDEO[-7:]]
    assert [head.decode().splitlines() for head, _, _ in bodies] == [
        ["Content-Type: video/mp4", f"Content-Range: bytes {span}/3000000"]
        for span in ("0-99", "1000000-1999999", "2999993-2999999")
    ]
    assert parts[0] == parts[-1] == b""
    assert len(message.get_payload()) == 3
    assert door.end() is True


def test_every_row_of_the_table_of_ranges_is_what_a_client_gets(
    door: Door, client: httpx.Client
) -> None:
    """R33: some sixty fields, well-formed, odd and malformed, each asked for over HTTP."""
    assert len(RANGES) >= 60
    for field in map(str.strip, RANGES):  # no client can send blanks around a field
        wanted = select("GET", len(VIDEO), TAG, {"range": field})
        answer = client.get("/job", headers=[(b"range", field.encode())])
        parts = [VIDEO[span.first : span.last + 1] for span in wanted.spans]
        if wanted.verdict is Verdict.UNSATISFIABLE:
            assert answer.status_code == 416, field
        elif wanted.verdict is Verdict.WHOLE:
            assert (answer.status_code, answer.content == VIDEO) == (200, True), field
        elif len(parts) == 1:
            assert (answer.status_code, answer.content == parts[0]) == (206, True), field
        else:
            assert answer.status_code == 206, field
            assert all(part in answer.content for part in parts), field
        reaches_end = any(part and VIDEO.endswith(part) for part in parts)
        assert door.end() is reaches_end, field


def test_a_range_of_another_version_gets_the_whole(door: Door, client: httpx.Client) -> None:
    for version in ('"other"', f"W/{TAG}", "Wed, 21 Oct 2026 07:28:00 GMT"):
        answer = client.get("/job", headers={"range": "bytes=5-9", "if-range": version})
        assert (answer.status_code, len(answer.content)) == (200, len(VIDEO))
        assert door.end() is True


def test_a_range_beyond_the_end_is_told_the_size(door: Door, client: httpx.Client) -> None:
    answer = client.get("/job", headers={"range": f"bytes={len(VIDEO)}-"})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(VIDEO)}"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 416
    assert door.end() is False


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_client_that_has_the_video_is_not_sent_it_again(
    door: Door, client: httpx.Client, method: str
) -> None:
    answer = client.request(
        method, "/job", headers=[("if-none-match", '"x"'), ("If-None-Match", TAG)]
    )
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == TAG
    assert not {"content-type", "content-length", "transfer-encoding"} & answer.headers.keys()
    assert door.end() is False


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_client_that_wants_another_version_gets_none(
    door: Door, client: httpx.Client, method: str
) -> None:
    answer = client.request(method, "/job", headers={"if-match": '"other"'})
    assert answer.status_code == 412
    assert (answer.json()["status"] if method == "GET" else answer.content) in (412, b"")
    assert door.end() is False


@pytest.mark.parametrize(
    ("queue_id", "name"),
    [
        ("0b1c-22", "0b1c-22.mp4"),
        ("../../etc/passwd", "etc-passwd.mp4"),
        ('a"; filename="b.exe', "a-filename-b-exe.mp4"),
        ("a\r\nSet-Cookie: b", "a-Set-Cookie-b.mp4"),
        ("видео", "video.mp4"),
        ("", "video.mp4"),
        (".hidden", "hidden.mp4"),
        ("x" * 5_000, "x" * 100 + ".mp4"),
    ],
)
def test_a_file_name_is_safe_anywhere(queue_id: str, name: str) -> None:
    assert file_name(queue_id) == name


# Broken and slow downloads


def test_a_resume_at_any_offset_gives_the_same_video(door: Door, client: httpx.Client) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    for offset in random.Random(seed).sample(range(1, len(VIDEO)), 50):
        with client.stream("GET", "/job") as answer:
            begun = b""
            for chunk in answer.iter_raw():
                begun += chunk
                if len(begun) >= offset:
                    break
        begun = begun[:offset]
        door.end()
        fields = {"range": f"bytes={offset}-", "if-range": answer.headers["etag"]}
        rest = client.get("/job", headers=fields)
        assert rest.status_code == 206
        assert sha256(begun + rest.content) == sha256(VIDEO)
        assert door.end() is True


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here: NOT tested with it")
@pytest.mark.parametrize("offset", [1, 1_234_567, len(VIDEO) - 1])
def test_curl_resumes(door: Door, tmp_path: Path, offset: int) -> None:
    (tmp_path / "video.mp4").write_bytes(VIDEO[:offset])
    command = ["curl", "-q", "--silent", "--fail", "--noproxy", "*", "-C", "-", "-o", "video.mp4"]
    subprocess.run([*command, f"http://127.0.0.1:{door.port}/job"], cwd=tmp_path, check=True)
    assert (tmp_path / "video.mp4").read_bytes() == VIDEO
    assert door.end() is True


@pytest.mark.parametrize("is_reset", [True, False])
def test_a_client_that_leaves_midway_was_not_served_and_can_come_again(
    door: Door, client: httpx.Client, is_reset: bool
) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    for _ in range(15):
        connection = door.connect("GET /long HTTP/1.1\r\nHost: gateway\r\n\r\n", 65_536)
        left = chance.choice([0, 8, chance.randrange(len(LONG) // 4)])
        while left > 0:
            left -= len(connection.recv(min(left, 65_536)))
        if is_reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        assert door.end() is False
    assert sha256(client.get("/long").content) == sha256(LONG)
    assert door.end() is True


def test_slow_readers_hold_up_nobody_and_get_every_byte(door: Door, client: httpx.Client) -> None:
    request = "GET /long HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n"
    slow = [door.connect(request, 65_536) for _ in range(10)]
    for _ in range(20):
        assert client.get("/job").content == VIDEO
        assert door.end() is True

    def read(connection: socket.socket) -> str:
        with connection, connection.makefile("rb") as answer:
            while answer.readline() != b"\r\n":
                pass
            return hashlib.file_digest(answer, "sha256").hexdigest()

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(read, slow)) == {sha256(LONG)}
    assert all(door.end() for _ in slow)


def test_a_video_that_left_the_page_cache_comes_the_same(door: Door, client: httpx.Client) -> None:
    for _ in range(3):
        for path in door.store._root.glob("??/??/*.mp4"):
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
        assert sha256(client.get("/long").content) == sha256(LONG)
        assert door.end() is True


def test_deletion_during_a_download_breaks_nothing(door: Door, client: httpx.Client) -> None:
    try:
        with client.stream("GET", "/long") as answer:
            received = answer.iter_raw()
            content = next(received)
            asyncio.run(DiskVideoStore(door.store._root).delete("long"))
            content += b"".join(received)
    finally:
        asyncio.run(DiskVideoStore(door.store._root).fill("long", in_chunks(LONG), len(LONG)))
    assert content == LONG
    assert door.end() is True


# What only a server made for it can show


class Server:
    """An ASGI server with a client that takes `room` bytes and then does as told."""

    def __init__(self, *, room: int, when_full: Callable[[], Awaitable[Any]]) -> None:
        self.received = bytearray()
        self.pieces: list[int] = []
        self._room = room
        self._when_full = when_full
        self.has_left = asyncio.Event()

    async def receive(self) -> Message:
        await self.has_left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if len(self.received) >= self._room:
            await self._when_full()
        if not self.has_left.is_set() and message.get("body"):
            self.pieces.append(len(message["body"]))
            self.received += message["body"]


class Ending:
    """A video in a plain file, and what was told of its sending."""

    def __init__(self, path: Path, content: bytes = VIDEO) -> None:
        path.write_bytes(content)
        descriptor = os.open(path, os.O_RDONLY)
        self.closed = 0
        self.ends: list[bool] = []
        self.response = VideoResponse(
            OpenVideo(descriptor, len(content), sha256(content), self.close),
            queue_id="job",
            on_end=self.on_end,
        )
        self._descriptor = descriptor

    def close(self) -> None:
        self.closed += 1
        os.close(self._descriptor)

    async def on_end(self, delivered: bool) -> None:
        await asyncio.sleep(0)
        self.ends.append(delivered)


SCOPE = {"type": "http", "method": "GET", "headers": []}


async def test_a_client_that_takes_nothing_holds_one_chunk(tmp_path: Path) -> None:
    full = asyncio.Event()

    async def wait() -> None:
        full.set()
        await asyncio.Event().wait()

    server = Server(room=1, when_full=wait)
    ending = Ending(tmp_path / "video.mp4")
    sending = asyncio.create_task(ending.response(SCOPE, server.receive, server.send))
    await full.wait()
    assert server.pieces == [CHUNK_BYTES]
    sending.cancel()
    await asyncio.wait([sending])
    assert (ending.ends, ending.closed) == ([False], 1)


async def test_a_cancelled_answer_is_closed_and_told_of_once(tmp_path: Path) -> None:
    async with anyio.create_task_group() as group:

        async def cancel() -> None:
            group.cancel_scope.cancel()
            await asyncio.Event().wait()

        server = Server(room=1, when_full=cancel)
        ending = Ending(tmp_path / "video.mp4")
        group.start_soon(ending.response, SCOPE, server.receive, server.send)
    assert (ending.ends, ending.closed) == ([False], 1)


async def test_a_client_that_leaves_with_the_last_bytes_was_not_served(tmp_path: Path) -> None:
    """The server's `send` returns as if nothing were wrong, and the news comes right after."""

    async def leave() -> None:
        asyncio.get_running_loop().call_soon(server.has_left.set)
        await server.has_left.wait()

    server = Server(room=len(VIDEO), when_full=leave)
    ending = Ending(tmp_path / "video.mp4")
    await ending.response(SCOPE, server.receive, server.send)
    assert len(server.received) == len(VIDEO)
    assert (ending.ends, ending.closed) == ([False], 1)


async def test_what_is_sent_to_a_lost_connection_was_not_served(tmp_path: Path) -> None:
    """The transport drops everything from the failed write on; the news takes some turns."""
    news: list[asyncio.Handle] = []

    async def lose() -> None:
        loop = asyncio.get_running_loop()
        if not news:
            news.append(loop.call_soon(loop.call_soon, server.has_left.set))

    two_pieces = sample_video(CHUNK_BYTES + 1)
    server = Server(room=1, when_full=lose)
    ending = Ending(tmp_path / "video.mp4", two_pieces)
    await ending.response(SCOPE, server.receive, server.send)
    assert (ending.ends, ending.closed) == ([False], 1)


async def test_a_client_that_left_before_the_first_byte_costs_no_reading(tmp_path: Path) -> None:
    server = Server(room=len(VIDEO), when_full=lambda: asyncio.sleep(0))
    server.has_left.set()
    ending = Ending(tmp_path / "video.mp4")
    await ending.response(SCOPE, server.receive, server.send)
    assert (ending.ends, ending.closed) == ([False], 1)


async def test_a_client_that_leaves_after_the_end_was_served(tmp_path: Path) -> None:
    server = Server(room=2 * len(VIDEO), when_full=lambda: asyncio.sleep(0))
    ending = Ending(tmp_path / "video.mp4")
    await ending.response(SCOPE, server.receive, server.send)
    server.has_left.set()
    assert server.received == VIDEO
    assert (ending.ends, ending.closed) == ([True], 1)


async def test_a_file_cut_while_it_is_sent_ends_the_answer_short_and_says_so(
    tmp_path: Path,
) -> None:
    path = tmp_path / "video.mp4"

    async def cut() -> None:
        os.truncate(path, 2_000_000)

    server = Server(room=1, when_full=cut)
    ending = Ending(path)
    with pytest.raises(StoreFailure, match="shorter"):
        await ending.response(SCOPE, server.receive, server.send)
    assert VIDEO.startswith(server.received)
    assert (ending.ends, ending.closed) == ([False], 1)
