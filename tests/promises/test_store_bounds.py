"""R16 and R17: a store within its quota, and disks that are full."""

from __future__ import annotations

import asyncio
import hashlib
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.storage.videos_disk import name_of
from tests.gateway_process import GatewayProcess, with_rules
from tests.missing import missing
from tests.promises.asking import NO_CALLS, Client, calls, eventually, order
from tests.promises.books import assert_books_balance, job_of, jobs_of
from tests.simulator_process import SimulatorProcess

VIDEO_BYTES = 1_000_000
LARGE_BYTES = 8_000_000
"""A system takes more than 4 MB for a client that reads nothing: of these, half is still to go."""
QUOTA = 56_000_000
"""Six of them: those that nobody fetches, and as many as come at once."""
STOPPED_SECONDS_MAX = 12.0
"""Who takes nothing for half a minute is cut off, evicted or not."""
WAITING = 2
FETCHES = 4
RECOVERS_SECONDS = 10.0
DISK = "64m"
CHORES = {"models", "rate_limits", "balance", "usage", "retrieve", "complete"}
"""Calls that are about no new order; a gateway makes them at times of its own."""


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    """Large videos in a moment, and copies that are never deleted there."""
    with SimulatorProcess(
        speed=1_000, seed=1, no_limits=True, video_bytes_min=VIDEO_BYTES
    ) as running:
        yield running


def stored_bytes(gateway: GatewayProcess) -> int:
    """What whole videos take on the disk at this moment."""
    found = 0
    for path in (gateway.data_dir / "videos").glob("??/??/*.mp4"):
        try:
            found += path.stat().st_size
        except FileNotFoundError:
            continue
    return found


class Reader(NamedTuple):
    """A download that has stopped, and since when."""

    queue_id: str
    connection: socket.socket
    since: float


def begin_reading(gateway: GatewayProcess, queue_id: str) -> socket.socket:
    """A download that stops after its first bytes until it is told to go on."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    connection.settimeout(30)
    connection.connect(("127.0.0.1", gateway.port))
    head = (
        f"GET /gateway/v1/videos/{queue_id} HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\n"
        f"Authorization: Bearer {gateway.user_key}\r\nConnection: close\r\n\r\n"
    )
    connection.sendall(head.encode())
    assert connection.recv(12) == b"HTTP/1.1 200"
    return connection


def finish_reading(connection: socket.socket) -> str:
    """The hash of all that a download brings."""
    with connection, connection.makefile("rb") as answer:
        while answer.readline() != b"\r\n":
            pass
        return hashlib.file_digest(answer, "sha256").hexdigest()


def is_being_read(gateway: GatewayProcess, job_id: str) -> bool:
    """Whether a gateway still holds the file of a video open that has no name any more."""
    for descriptor in Path(f"/proc/{gateway.pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            file = str(descriptor.readlink())
            if name_of(job_id) in file and file.endswith("(deleted)"):
                return True
    return False


@pytest.mark.parametrize("videos", [14, pytest.param(300, marks=pytest.mark.torture)])
async def test_the_store_keeps_its_quota_and_breaks_no_read_nor_takes_what_nobody_has(
    simulator: SimulatorProcess, tmp_path: Path, videos: int
) -> None:
    """R17: readers stop after their first bytes until their videos are gone.

    The disk holds at most the quota and what those read who have yet to go on: 150 MB.
    """
    simulator.faults([{"endpoint": "queue", "outcome": {"video_bytes_min": LARGE_BYTES}}])
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    rules = with_rules(videos={"max_bytes": f"{QUOTA}B", "fetches": FETCHES})
    readers: list[Reader] = []
    waiting: list[str] = []
    largest = most = overtaken = 0

    async def have_one(client: Client, number: int) -> None:
        nonlocal largest, most
        queue_id = await client.buy(f"bounded {number}")
        await eventually(lambda: is_stored(gateway, queue_id), 60)
        size = job_of(gateway, queue_id).video_bytes or 0
        largest, most = max(largest, size), max(most, stored_bytes(gateway))
        if number < WAITING:
            waiting.append(queue_id)
            return
        if chance.random() < 0.4 or not readers:
            readers.append(Reader(queue_id, begin_reading(gateway, queue_id), time.monotonic()))
        await client.finished(queue_id)

    async def go_on(*, at_once: bool = False) -> None:
        """Let those have the rest whose videos are gone, and those that have waited long."""
        nonlocal overtaken
        for reader in tuple(readers):
            job = job_of(gateway, reader.queue_id)
            is_gone = job.state == "evicted"
            if not (at_once or is_gone or time.monotonic() - reader.since > STOPPED_SECONDS_MAX):
                continue
            readers.remove(reader)
            overtaken += is_gone and is_being_read(gateway, job.id)
            found = await asyncio.to_thread(finish_reading, reader.connection)
            assert found == job.video_sha256

    with GatewayProcess(tmp_path, simulator, policies=rules) as gateway:
        async with Client(gateway) as client:
            for first in range(0, videos, FETCHES):
                batch = range(first, min(first + FETCHES, videos))
                await asyncio.gather(*(have_one(client, number) for number in batch))
                await go_on()
            assert most <= QUOTA + FETCHES * largest, f"{most} bytes"
            await eventually(lambda: is_within(gateway), 10)
            await go_on(at_once=True)
            print(f"{overtaken} videos evicted while they were read")
            assert overtaken, "no video was evicted while it was read"
            assert len(waiting) == WAITING
            for queue_id in waiting:
                assert job_of(gateway, queue_id).state == "stored"
                assert (await client.finished(queue_id)).headers["content-type"] == "video/mp4"
        assert gateway.events("video.evicted_undelivered") == []
        assert (
            sum(job.state == "evicted" for job in jobs_of(gateway)) >= videos - QUOTA // largest - 1
        )
        assert_books_balance(gateway)


async def is_stored(gateway: GatewayProcess, queue_id: str) -> bool:
    return job_of(gateway, queue_id).state == "stored"


async def is_within(gateway: GatewayProcess) -> bool:
    return stored_bytes(gateway) <= QUOTA


async def test_an_evicted_video_comes_again_or_is_not_found(
    simulator: SimulatorProcess, tmp_path: Path
) -> None:
    """Venice refuses to delete the copy of the first one, and has deleted that of the second."""
    kept = {"endpoint": "complete", "action": {"status": 503}}
    simulator.faults([kept])
    rules = with_rules(videos={"max_bytes": "3MiB"})
    with GatewayProcess(tmp_path, simulator, policies=rules) as gateway:
        async with Client(gateway) as client:
            first = await client.buy("comes again")
            video = await client.finished(first)
            for number in range(2):
                await client.finished(await client.buy(f"in its place {number}"))
            await eventually(lambda: is_evicted(gateway, first))
            again = await client.finished(first)
            assert again.content == video.content
            assert job_of(gateway, first).settled == job_of(gateway, first).quote
            simulator.faults([])
            second = await client.buy("does not come again")
            await client.finished(second)
            await eventually(lambda: is_gone_there(gateway, second), 40)
            for number in range(2):
                await client.finished(await client.buy(f"in its place, too {number}"))
            await eventually(lambda: is_evicted(gateway, second))
            answer = await client.retrieve(second)
            assert (answer.status_code, answer.json()["code"]) == (404, "MEDIA_NOT_FOUND")
        assert_books_balance(gateway)


async def is_evicted(gateway: GatewayProcess, queue_id: str) -> bool:
    return job_of(gateway, queue_id).state == "evicted"


async def is_gone_there(gateway: GatewayProcess, queue_id: str) -> bool:
    return job_of(gateway, queue_id).copy_gone


@pytest.fixture(params=["videos", "database"])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """What is kept on a disk of its own that is soon full, and where it is mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "small", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        missing("no right to mount here: full disks are NOT tested")
    try:
        yield str(request.param), disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


async def test_a_full_disk_takes_no_orders_serves_on_and_recovers_by_itself(
    simulator: SimulatorProcess, tmp_path: Path, small_disk: tuple[str, Path]
) -> None:
    """R16: and a job whose video comes while there is no room for it ends well afterwards."""
    # More than comes free where the other one, which somebody has, makes room for it.
    long = {"execution_seconds": 9_000, "video_bytes_min": LARGE_BYTES}
    simulator.faults(
        [{"endpoint": "queue", "match": {"prompt_contains": "in progress"}, "outcome": long}]
    )
    kept, disk = small_disk
    place = {
        "videos": {"VGW_VIDEO_STORE": f"file://{disk}/videos"},
        "database": {"VGW_DATABASE_URL": f"sqlite:///{disk}/gateway.db"},
    }[kept]
    (tmp_path / "data").mkdir()
    if kept == "database":
        # Where the tests look for it.
        (tmp_path / "data" / "gateway.db").symlink_to(disk / "gateway.db")
    rules = with_rules(videos={"max_bytes": "1GiB"})
    with GatewayProcess(tmp_path, simulator, policies=rules, settings=place) as gateway:
        async with Client(gateway) as client:
            prompt = f"while the disk of the {kept} is full"
            running = await client.buy(f"in progress {prompt}")
            before = await client.buy("before")
            video = await client.finished(before)
            ballast = fill_up(disk)
            # Of a resolution that nobody has asked the price of.
            asked = order(prompt, resolution="720p")
            calls_before = simulator.truth()["calls"][-1]["seq"]
            refused = await client.queue(asked)
            assert (refused.status_code, refused.json()["code"]) == (503, "STORAGE_FULL")
            assert "retry-after" in refused.headers
            made = {call["endpoint"] for call in simulator.truth(calls_before)["calls"]}
            assert made <= CHORES
            assert (await client.retrieve(before)).content == video.content

            if kept == "videos":
                await eventually(lambda: has_failed_here(gateway, running), 30)
                assert (await client.retrieve(running)).json()["status"] == "PROCESSING"
            else:
                await eventually(lambda: has_been_served(simulator, running), 30)
            ballast.unlink()

            async def is_taken() -> bool:
                return (await client.queue(asked)).status_code == 200

            await eventually(is_taken, RECOVERS_SECONDS)
            last = jobs_of(gateway)[-1].queue_id or ""
            assert (await client.finished(last)).headers["content-type"] == "video/mp4"
            assert calls(simulator, "queue", prompt) == 1
            content = (await client.finished(running, 60)).content
            job = job_of(gateway, running)
            assert hashlib.sha256(content).hexdigest() == job.video_sha256
            assert job.settled == job.quote
        assert_books_balance(gateway)


async def has_been_served(simulator: SimulatorProcess, queue_id: str) -> bool:
    """Whether a job's video went to its end there."""
    jobs = simulator.truth(NO_CALLS)["jobs"]
    return any(job["bytes_served_complete"] for job in jobs if job["queue_id"] == queue_id)


async def has_failed_here(gateway: GatewayProcess, queue_id: str) -> bool:
    job = job_of(gateway, queue_id)
    return any(event["job"] == job.id for event in gateway.events("fetch.failed_here"))


def fill_up(disk: Path) -> Path:
    """A file that takes all the room there is."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        size = 2**20
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
    return ballast
