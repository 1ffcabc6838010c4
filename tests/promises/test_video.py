"""Promises about videos: whole or not at all, fetched once, and kept until they are safe."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.simulator.corruption import CORRUPTIONS
from gateway.storage.videos_disk import name_of
from tests.gateway_process import ORGANIZATION_KEY, GatewayProcess, with_rules
from tests.promises.asking import MODEL, NO_CALLS, PRIVATE_MODEL, Client, eventually
from tests.promises.books import assert_books_balance, job_of, jobs_of
from tests.simulator_process import SimulatorProcess

CUTS: dict[str, dict[str, Any]] = {
    "cut connection": {"drop_after_bytes": 100_000},
    "shortened": {"truncate": 100_000},
    "garbage": {"garbage": True},
}
TRIES_MAX = 3
FILLS_AT_ONCE = 4
"""As many as the policy lets be fetched at a time."""
LARGE_BYTES = 10_000_000
"""A system takes more than 4 MB for a client that reads nothing: most of it is still to be sent."""
RECEIVED_BYTES_MAX = 65_536
"""Of that, what lies on the client's side."""
BUFFERED_BYTES_MAX = 5 * 2**20
"""Both sides together, with some room."""
AT_ONCE = 10
"""Turns of all the ways together: each takes as long as the pauses between tries do."""


def _is_video(more: dict[str, Any], prompt: str, **rest: Any) -> dict[str, Any]:
    digest = hashlib.sha256(prompt.encode()).hexdigest()
    match = {"answer": "video", "prompt_sha256": digest}
    return {"endpoint": "retrieve", "match": match, "action": more, **rest}


@pytest.mark.parametrize("times", [1, pytest.param(50, marks=pytest.mark.torture)])
async def test_no_corrupted_body_is_ever_stored_or_served(
    gateway: GatewayProcess, simulator: SimulatorProcess, times: int
) -> None:
    """R15: every way of corrupting a body: none stored, three tries at most, said plainly.

    Many at once, so that there are far more ready videos than places to fetch them.
    """
    for first in range(0, times, AT_ONCE):
        turns = range(first, min(first + AT_ONCE, times))
        await _corrupted_in_each_way(gateway, simulator, turns)
    assert_books_balance(gateway)


async def _corrupted_in_each_way(
    gateway: GatewayProcess, simulator: SimulatorProcess, turns: range
) -> None:
    ways = {name: {"corrupt": name} for name in CORRUPTIONS} | CUTS
    kinds = {f"{name} {turn}": action for turn in turns for name, action in ways.items()}
    rules = [_is_video(action, f"bad {name}") for name, action in kinds.items()]
    once = f"bad once {turns[0]}"
    simulator.faults([*rules, _is_video({"corrupt": "truncated"}, once, times=1)])
    async with Client(gateway) as client:
        bad_once = await client.buy(once)
        bought = {name: await client.buy(f"bad {name}") for name in kinds}
        answers = await asyncio.gather(*(_held(client, q) for q in bought.values()))
        jobs = {job.queue_id: job for job in jobs_of(gateway)}
        for (name, queue_id), answer in zip(bought.items(), answers, strict=True):
            assert answer.status_code == 502, name
            assert answer.json()["code"] == "UPSTREAM_INVALID", name
            job = jobs[queue_id]
            assert (job.state, job.video_sha256) == ("undeliverable", None), name
            assert job.bad_bodies == TRIES_MAX, name
            served = await client.get(f"/gateway/v1/videos/{queue_id}")
            assert served.status_code >= 400, name
        # A second try that is whole is stored and served.
        video = await _held(client, bad_once)
        digest = hashlib.sha256(video.content).hexdigest()
        assert digest == job_of(gateway, bad_once).video_sha256
    fired = [rule["fired"] for rule in simulator.control("GET", "/_faults")]
    assert max(fired) <= TRIES_MAX
    held = {path.stem for path in _files(gateway)}
    assert not held & {name_of(jobs[queue_id].id) for queue_id in bought.values()}


async def _held(client: Client, queue_id: str) -> httpx.Response:
    """The answer that ends it, by polls that wait: quick ones by hundreds would be all it does."""
    async with asyncio.timeout(90):
        while True:
            body = {"model": MODEL, "queue_id": queue_id}
            answer = await client.post("retrieve", body, prefer="wait=20")
            if b'"PROCESSING"' not in answer.content[:40]:
                return answer


@pytest.mark.parametrize("kills", [2, pytest.param(25, marks=pytest.mark.torture)])
async def test_a_kill_during_a_fill_never_shows_a_partial_video(
    gateway: GatewayProcess, simulator: SimulatorProcess, kills: int, chance: random.Random
) -> None:
    """R14: each kill breaks off as many fills as there are places."""
    prompts = [f"killed fill {number}" for number in range(FILLS_AT_ONCE)]
    simulator.faults([_is_video({"slow_bytes_per_second": 200_000}, p) for p in prompts])
    async with Client(gateway) as client:
        bought = [await client.buy(prompt) for prompt in prompts]
        for _ in range(kills):
            await eventually(lambda: _are_filling(gateway, bought), 30)
            await asyncio.sleep(chance.uniform(0, 0.5))
            for queue_id in bought:
                for answer in (
                    await client.get(f"/gateway/v1/videos/{queue_id}"),
                    await client.retrieve(queue_id),
                ):
                    assert answer.headers["content-type"] != "video/mp4"
            gateway.restart()
            for queue_id in bought:
                first = await client.retrieve(queue_id)
                assert first.json()["status"] == "PROCESSING"
        simulator.faults([])
        # Before the delivery, after which Venice's copy may go.
        originals = [await _original(simulator, queue_id) for queue_id in bought]
        for queue_id, original in zip(bought, originals, strict=True):
            video = await client.finished(queue_id)
            assert video.content == original
            digest = hashlib.sha256(video.content).hexdigest()
            assert digest == job_of(gateway, queue_id).video_sha256
    assert [p for p in _files(gateway) if p.stat().st_size == 0] == []


async def _are_filling(gateway: GatewayProcess, queue_ids: list[str]) -> bool:
    states = {job.queue_id: job.state for job in await asyncio.to_thread(jobs_of, gateway)}
    assert {states[queue_id] for queue_id in queue_ids} <= {"processing", "fetching"}
    return all(states[queue_id] == "fetching" for queue_id in queue_ids)


def _files(gateway: GatewayProcess) -> list[Path]:
    return [path for path in (gateway.data_dir / "videos").rglob("*") if path.is_file()]


async def _original(simulator: SimulatorProcess, queue_id: str) -> bytes:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(
            f"{simulator.url}/video/retrieve",
            json={"model": MODEL, "queue_id": queue_id},
            headers={"authorization": f"Bearer {ORGANIZATION_KEY}"},
        )
    assert answer.headers["content-type"] == "video/mp4", answer.text
    return answer.content


async def test_a_suspiciously_small_video_is_delivered_as_it_came_flagged_and_counted(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    """Venice's way to tell of a moderated job is a tiny video; it is billed like any other."""
    counted = "venice_gateway_suspicious_videos_total"
    before = gateway.metrics()[counted]
    # Its copy stays at Venice, to be compared with.
    busy = {"endpoint": "complete", "action": {"status": 503}}
    simulator.faults([{"endpoint": "queue", "outcome": "placeholder", "times": 1}, busy])
    async with Client(gateway) as client:
        tiny, usual = [await client.buy(f"suspicious {number}") for number in range(2)]
        videos = {queue_id: await client.finished(queue_id) for queue_id in (tiny, usual)}
        simulator.faults([busy])
        assert videos[tiny].content == await _original(simulator, tiny)
    assert videos[tiny].headers["content-type"] == "video/mp4"
    assert len(videos[tiny].content) < 100_000 < len(videos[usual].content)
    assert [job_of(gateway, q).is_suspicious for q in (tiny, usual)] == [True, False]
    assert gateway.metrics()[counted] == before + 1


@pytest.mark.parametrize("times", [20, pytest.param(500, marks=pytest.mark.torture)])
async def test_a_client_that_breaks_off_anywhere_downloads_the_same_again(
    simulator: SimulatorProcess, tmp_path: Path, times: int, chance: random.Random
) -> None:
    """R18: although each asks that delivery delete the media, and the policy does that at once."""
    large = {"kind": "ready_now", "video_bytes_min": LARGE_BYTES}
    prompts = [f"broken off {number}" for number in range(FILLS_AT_ONCE)]
    simulator.faults(
        [
            {"endpoint": "queue", "match": {"prompt_contains": "never"}, "outcome": "stuck"},
            {"endpoint": "queue", "outcome": large},
            *(_is_video({"slow_bytes_per_second": 3_000_000}, prompt) for prompt in prompts),
        ]
    )
    with GatewayProcess(tmp_path, simulator, policies=_purging("1s")) as gateway:
        async with Client(gateway) as client:
            never = await client.buy("never ready")
            bought = [await client.buy(prompt) for prompt in prompts]
            for _ in range(times):
                queue_id = chance.choice([never, *bought])
                stays = chance.uniform(0, 0.03)
                await asyncio.to_thread(_break_off, gateway, queue_id, 0, stays)
                _assert_only_stored_are_deleted(gateway, simulator)

            async def are_deleted() -> bool:
                return _assert_only_stored_are_deleted(gateway, simulator) == set(bought)

            await eventually(are_deleted, 40)
            await _break_off_early(gateway, bought, times, chance)
            # Two rounds of what lets videos go.
            await asyncio.sleep(2.5)
            for queue_id in bought:
                job = job_of(gateway, queue_id)
                assert (job.state, job.delete_wanted) == ("stored", True)
                assert job.delivered_at is None
            # Delivered ones would go meanwhile.
            gateway.write_policies(_purging("1d"))
            await asyncio.to_thread(gateway.reload)
            for _ in range(times):
                queue_id = chance.choice(bought)
                size = job_of(gateway, queue_id).video_bytes or 0
                await asyncio.to_thread(_break_off, gateway, queue_id, chance.randrange(size))
                again = await client.retrieve(queue_id, delete_media_on_completion=True)
                digest = hashlib.sha256(again.content).hexdigest()
                assert digest == job_of(gateway, queue_id).video_sha256
            for queue_id in bought:
                await client.retrieve(queue_id, delete_media_on_completion=True)
            gateway.write_policies(_purging("1s"))
            await asyncio.to_thread(gateway.reload)

            async def are_purged() -> bool:
                return {job_of(gateway, queue_id).state for queue_id in bought} == {"purged"}

            # The flag does what it says once somebody has the whole.
            await eventually(are_purged)
            assert job_of(gateway, never).state == "processing"
            assert _assert_only_stored_are_deleted(gateway, simulator) == set(bought)


def _purging(grace: str) -> dict[str, Any]:
    return with_rules(videos={"on_complete": "purge", "grace": grace})


def _assert_only_stored_are_deleted(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> set[str]:
    """The queue_ids of this gateway's jobs whose copies Venice has deleted."""
    # In this order: what is deleted now must be stored by the time we look.
    deleted = {job["queue_id"] for job in simulator.truth(NO_CALLS)["jobs"] if job["deleted"]}
    ours = [job for job in jobs_of(gateway) if job.queue_id in deleted]
    assert all(job.video_sha256 for job in ours)
    return {job.queue_id or "" for job in ours}


async def _break_off_early(
    gateway: GatewayProcess, queue_ids: list[str], times: int, chance: random.Random
) -> None:
    """Leave while the gateway still has much to send, and return when it has seen them all go."""
    before = _answered(gateway)
    for _ in range(times):
        queue_id = chance.choice(queue_ids)
        size = job_of(gateway, queue_id).video_bytes or 0
        count = chance.randrange(1, size - BUFFERED_BYTES_MAX)
        read = await asyncio.to_thread(_break_off, gateway, queue_id, count)
        assert count <= len(read) < size - BUFFERED_BYTES_MAX
        assert read.startswith(b"HTTP/1.1 200"), read[:100]

    async def have_ended() -> bool:
        return await asyncio.to_thread(_answered, gateway) >= before + times

    await eventually(have_ended)


def _answered(gateway: GatewayProcess) -> float:
    """Retrieves whose answer was a success and has come to its end, whatever that was."""
    name = 'venice_gateway_requests_total{door="retrieve",status="200"}'
    return gateway.metrics().get(name, 0)


def _break_off(
    gateway: GatewayProcess, queue_id: str, count: int, stays_seconds: float = 0
) -> bytes:
    """Ask for the video and for its deletion, wait for so many bytes of the answer, and leave."""
    body = f'{{"queue_id":"{queue_id}","delete_media_on_completion":true}}'
    head = (
        f"POST /api/v1/video/retrieve HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\n"
        f"Authorization: Bearer {gateway.user_key}\r\nContent-Type: application/json\r\n"
        f"Prefer: wait=20\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    read = bytearray()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVED_BYTES_MAX)
        connection.settimeout(10)
        connection.connect(("127.0.0.1", gateway.port))
        connection.sendall(head.encode())
        while len(read) < count:
            piece = connection.recv(min(65_536, count - len(read)))
            assert piece, f"the answer ended after {len(read)} bytes"
            read += piece
        time.sleep(stays_seconds)
    return bytes(read)


async def test_venices_copy_is_deleted_only_after_ours_is_stored(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    """R18: clients that complete too early, and a broken body before the good one."""
    doors = {MODEL: "retrieve", PRIVATE_MODEL: "download"}
    rules = [_is_video({"corrupt": "one_byte_short"}, f"safe {m}", times=1) for m in doors]
    doored = zip(rules, doors.values(), strict=True)
    simulator.faults([{**rule, "endpoint": door} for rule, door in doored])
    async with Client(gateway) as client:
        bought = [await client.buy(f"safe {model}", model=model) for model in doors]
        for queue_id in bought:
            done = await client.post("complete", {"queue_id": queue_id})
            assert done.json() == {"success": True}

        async def are_deleted() -> bool:
            jobs = {job["queue_id"]: job for job in simulator.truth()["jobs"]}
            gone = [queue_id for queue_id in bought if jobs[queue_id]["deleted"]]
            # In this order: what is deleted now must be stored by the time we look.
            assert all(job_of(gateway, queue_id).video_sha256 for queue_id in gone)
            return gone == bought

        await eventually(are_deleted, 40)
        for queue_id in bought:
            video = await client.retrieve(queue_id)
            assert video.headers["content-type"] == "video/mp4"
            job = job_of(gateway, queue_id)
            assert hashlib.sha256(video.content).hexdigest() == job.video_sha256
            assert job.bad_bodies == 1


@pytest.mark.parametrize("clients", [200, pytest.param(1000, marks=pytest.mark.torture)])
async def test_however_many_poll_a_job_venice_is_asked_once_at_a_time_and_seldom(
    gateway: GatewayProcess, simulator: SimulatorProcess, clients: int
) -> None:
    """R19: one retrieve in flight, twelve a minute; clients that leave harm nobody."""
    asking = {"action": {"delay_seconds": 0.4}, "endpoint": "retrieve"}
    # 300 times faster: three seconds here.
    long = {"endpoint": "queue", "outcome": {"execution_seconds": 900}, "times": 1}
    simulator.faults([long, asking])
    async with Client(gateway) as client:
        queue_id = await client.buy("polled")
        began = time.monotonic()
        leaving = [asyncio.create_task(client.finished(queue_id)) for _ in range(clients // 10)]
        staying = [asyncio.create_task(_poll(client, queue_id, 2.5)) for _ in range(clients)]
        await asyncio.sleep(0.5)
        for task in leaving:
            task.cancel()
        polls = sum(await asyncio.gather(*staying))
        videos = await asyncio.gather(*(client.finished(queue_id) for _ in range(10)))
    wanted = job_of(gateway, queue_id).video_sha256
    assert {hashlib.sha256(v.content).hexdigest() for v in videos} == {wanted}
    asked = [
        call["at"]
        for call in simulator.truth()["calls"]
        if call["endpoint"] == "retrieve" and call["queue_id"] == queue_id
    ]
    assert polls >= clients
    assert len(asked) <= 12, f"in {time.monotonic() - began:.1f} s"
    assert all(later - earlier >= 0.4 for earlier, later in itertools.pairwise(asked))


async def _poll(client: Client, queue_id: str, seconds: float) -> int:
    until = time.monotonic() + seconds
    polls = 0
    while time.monotonic() < until:
        answer = await client.retrieve(queue_id)
        assert answer.status_code == 200
        polls += 1
        if answer.headers["content-type"] == "video/mp4":
            break
        await asyncio.sleep(0.5)
    return polls


async def test_an_altered_file_is_never_served(
    gateway: GatewayProcess, simulator: SimulatorProcess
) -> None:
    """R14: what is served matches the recorded SHA-256, or is fetched again."""
    busy = {"endpoint": "complete", "action": {"status": 503}}
    simulator.faults([busy])
    async with Client(gateway) as client:
        queue_id = await client.buy("altered")
        before = await client.finished(queue_id)
        job = job_of(gateway, queue_id)
        (path,) = (p for p in _files(gateway) if p.stem == name_of(job.id))
        path.write_bytes(before.content[:-1] + bytes([before.content[-1] ^ 1]))
        after = await client.finished(queue_id)
    assert after.headers["content-type"] == "video/mp4"
    assert after.content == before.content
