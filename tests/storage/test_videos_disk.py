"""A stored video is wholly there and unchanged, or it is not there."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import resource
import stat
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from gateway.core.mp4 import BrokenVideo
from gateway.ports import BodyCut, OpenVideo, StoredVideo, StoreFailure
from gateway.storage import video_files
from gateway.storage.video_files import Reading
from gateway.storage.videos_disk import DiskVideoStore, name_of
from gateway.system_calls import open_known
from tests.storage.sample_videos import box, in_chunks, sample_video

VIDEO = sample_video(700_000)
OTHER = sample_video(700_000, seed=1)
SHA256 = hashlib.sha256(VIDEO).hexdigest()
RECORDED = StoredVideo(SHA256, len(VIDEO))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "videos"


@pytest.fixture
def store(root: Path) -> DiskVideoStore:
    return DiskVideoStore(root)


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def only_file(root: Path) -> Path:
    (path,) = files(root)
    return path


def content_of(video: OpenVideo | None) -> bytes:
    assert video is not None
    try:
        return os.pread(video.descriptor, video.bytes + 1, 0)
    finally:
        video.close()


async def fill(store: DiskVideoStore, content: bytes = VIDEO, job: str = "job") -> StoredVideo:
    return await store.fill(job, in_chunks(content), len(content))


def open_descriptors() -> set[str]:
    return set(os.listdir("/dev/fd"))  # noqa: PTH208 - iterating would hold one of its own open


def move(path: Path, target: Path) -> None:
    path.rename(target)


@contextmanager
def limited(kind: int, soft: int) -> Iterator[None]:
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


# What comes in


async def test_a_stored_video_is_one_private_plain_file_of_exactly_its_bytes(
    store: DiskVideoStore, root: Path
) -> None:
    assert await fill(store) == RECORDED
    path = only_file(root)
    name = hashlib.sha256(b"job").hexdigest()
    assert path == root / name[:2] / name[2:4] / f"{name}.mp4"
    assert path.read_bytes() == VIDEO
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "job", ["../../../etc/cron.d/job", "/etc/passwd", "a\x00b", "\udcff", "x" * 10_000, "", "."]
)
async def test_no_job_id_reaches_a_file_name(store: DiskVideoStore, root: Path, job: str) -> None:
    recorded = await fill(store, job=job)
    assert await store.ids() == [name_of(job)]
    assert only_file(root).is_relative_to(root)
    assert content_of(await store.open(job, recorded)) == VIDEO


@pytest.mark.parametrize("chunk_bytes", [1_000, 65_536, 262_144, 262_145, 1_000_000])
@pytest.mark.parametrize("is_announced", [True, False])
async def test_a_video_survives_any_cut_into_chunks(
    store: DiskVideoStore, chunk_bytes: int, is_announced: bool
) -> None:
    announced = len(VIDEO) if is_announced else None
    recorded = await store.fill("job", in_chunks(VIDEO, chunk_bytes), announced)
    assert content_of(await store.open("job", recorded)) == VIDEO


BROKEN = {
    "empty": b"",
    "cut in the first header": VIDEO[:5],
    "cut after ftyp": VIDEO[:12],
    "cut in the index": VIDEO[:60],
    "cut before the media": VIDEO[:120],
    "cut in the media": VIDEO[:400_000],
    "one byte short": VIDEO[:-1],
    "one byte long": VIDEO + b"\x00",
    "a page of HTML": b"<!DOCTYPE html><title>502 Bad Gateway</title>" * 100,
    "JSON": b'{"status": "PROCESSING"}',
    "compressed": b"\x1f\x8b\x08" + VIDEO,
    "without an index": box(b"ftyp", b"isom") + box(b"mdat", bytes(1_000)),
    "without media": box(b"ftyp", b"isom") + box(b"moov", bytes(1_000)),
    "zeros": bytes(100_000),
    "the beginning missing": VIDEO[12:],
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("is_announced", [True, False])
async def test_a_broken_body_leaves_nothing_behind(
    store: DiskVideoStore, root: Path, content: bytes, is_announced: bool
) -> None:
    with pytest.raises(BrokenVideo):
        await store.fill("job", in_chunks(content), len(content) if is_announced else None)
    assert files(root) == []


@pytest.mark.parametrize("announced", [len(VIDEO) - 1, len(VIDEO) + 1, 1, 10 * len(VIDEO)])
async def test_a_whole_video_of_another_length_than_announced_is_refused(
    store: DiskVideoStore, root: Path, announced: int
) -> None:
    with pytest.raises(BrokenVideo, match="bytes announced"):
        await store.fill("job", in_chunks(VIDEO), announced)
    assert files(root) == []


async def test_a_body_over_the_size_limit_is_dropped_before_its_end(root: Path) -> None:
    store = DiskVideoStore(root, bytes_max=500_000)

    async def endless() -> AsyncIterator[bytes]:
        yield VIDEO[:200]
        while True:
            yield bytes(65_536)

    with pytest.raises(BrokenVideo, match="500000 allowed"):
        await store.fill("job", in_chunks(VIDEO), len(VIDEO))
    with pytest.raises(BrokenVideo, match="500000 bytes allowed"):
        await store.fill("job", endless(), None)
    assert files(root) == []


@pytest.mark.parametrize("fault", [BodyCut("the connection ended"), ConnectionResetError("reset")])
async def test_a_fault_of_the_sender_passes_through_and_leaves_nothing(
    store: DiskVideoStore, root: Path, fault: Exception
) -> None:
    async def cut() -> AsyncIterator[bytes]:
        yield VIDEO[:300_000]
        raise fault

    with pytest.raises(type(fault)) as caught:
        await store.fill("job", cut(), len(VIDEO))
    assert caught.value is fault
    assert files(root) == []


@pytest.mark.parametrize("chunks_before", range(1, 12))
async def test_a_cancelled_fill_leaves_nothing(
    store: DiskVideoStore, root: Path, chunks_before: int
) -> None:
    """Cancelled while chunks come in, while some are being written, and while waiting for more."""
    filling: asyncio.Task[StoredVideo]

    async def cancelling() -> AsyncIterator[bytes]:
        taken = 0
        async for chunk in in_chunks(VIDEO):
            taken += 1
            if taken == chunks_before:
                asyncio.get_running_loop().call_soon(filling.cancel)
            yield chunk
        await asyncio.Event().wait()

    filling = asyncio.create_task(store.fill("job", cancelling(), len(VIDEO)))
    with pytest.raises(asyncio.CancelledError):
        await filling
    assert files(root) == []
    assert content_of(await store.open("job", await fill(store))) == VIDEO


async def test_a_fill_in_a_scope_that_times_out_leaves_nothing(
    store: DiskVideoStore, root: Path
) -> None:
    waiting = anyio.Event()

    async def stalling() -> AsyncIterator[bytes]:
        yield VIDEO[:300_000]
        waiting.set()
        await asyncio.Event().wait()

    async with anyio.create_task_group() as group:
        group.start_soon(store.fill, "job", stalling(), len(VIDEO))
        await waiting.wait()
        group.cancel_scope.cancel()
    assert files(root) == []


async def test_a_second_fill_takes_the_place_of_the_first_for_good(
    store: DiskVideoStore, root: Path
) -> None:
    first = await fill(store)
    reading = await store.open("job", first)
    second = await fill(store, OTHER)
    assert content_of(await store.open("job", second)) == OTHER
    assert await store.open("job", first) is None
    assert content_of(reading) == VIDEO
    assert only_file(root).read_bytes() == OTHER


async def test_a_failed_fill_keeps_the_video_that_was_there(store: DiskVideoStore) -> None:
    recorded = await fill(store)
    with pytest.raises(BrokenVideo):
        await fill(store, OTHER[:-1])
    assert content_of(await store.open("job", recorded)) == VIDEO


async def test_many_fills_at_once_keep_every_video_apart(store: DiskVideoStore) -> None:
    videos = {f"job-{seed}": sample_video(200_000 + seed, seed) for seed in range(30)}
    recorded = await asyncio.gather(*(fill(store, v, job) for job, v in videos.items()))
    for (job, video), stored in zip(videos.items(), recorded, strict=True):
        assert content_of(await store.open(job, stored)) == video
    assert sorted(await store.ids()) == sorted(map(name_of, videos))


# What goes out


async def test_a_video_is_invisible_until_it_is_whole(store: DiskVideoStore) -> None:
    seen: list[OpenVideo | None] = []

    async def watched() -> AsyncIterator[bytes]:
        async for chunk in in_chunks(VIDEO):
            seen.append(await store.open("job", RECORDED))
            assert await store.ids() == []
            yield chunk

    await store.fill("job", watched(), len(VIDEO))
    assert set(seen) == {None}
    assert content_of(await store.open("job", RECORDED)) == VIDEO


async def test_a_restarted_store_serves_what_was_stored(root: Path) -> None:
    recorded = await fill(DiskVideoStore(root))
    restarted = DiskVideoStore(root)
    assert await restarted.ids() == [name_of("job")]
    assert content_of(await restarted.open("job", recorded)) == VIDEO
    assert content_of(await restarted.open("job", recorded)) == VIDEO


async def test_a_crowd_after_a_restart_is_served_the_same_bytes(root: Path) -> None:
    recorded = await fill(DiskVideoStore(root))
    restarted = DiskVideoStore(root)
    opened = await asyncio.gather(*(restarted.open("job", recorded) for _ in range(100)))
    assert {content_of(video) for video in opened} == {VIDEO}


def flip_a_byte_and_hide_it(path: Path) -> None:
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(500_000)
        file.write(bytes([VIDEO[500_000] ^ 1]))
    # The one time that nobody can put back moves with the kernel's clock tick, not at once.
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    while path.stat().st_ctime_ns == before.st_ctime_ns:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_with_another_video(path: Path) -> None:
    path.with_suffix(".new").write_bytes(OTHER)
    path.with_suffix(".new").rename(path)


def lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(bytes(8))


def put_a_folder_there(path: Path) -> None:
    path.unlink()
    path.mkdir()


def point_elsewhere(path: Path) -> None:
    path.rename(path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))


DAMAGES = {
    "a byte flipped, time put back": flip_a_byte_and_hide_it,
    "another whole video": replace_with_another_video,
    "cut": lambda path: os.truncate(path, 600_000),
    "emptied": lambda path: os.truncate(path, 0),
    "lengthened": lengthen,
    "gone": os.unlink,
    "a folder": put_a_folder_there,
    "a link": point_elsewhere,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
@pytest.mark.parametrize("is_restarted", [True, False])
async def test_an_altered_file_is_never_served(
    store: DiskVideoStore, root: Path, damage: object, is_restarted: bool
) -> None:
    recorded = await fill(store)
    content_of(await store.open("job", recorded))
    assert callable(damage)
    damage(only_file(root))
    store = DiskVideoStore(root) if is_restarted else store
    assert await store.open("job", recorded) is None
    assert await store.open("job", recorded) is None


async def test_a_scrub_tells_an_intact_file_from_an_altered_one(
    store: DiskVideoStore, root: Path
) -> None:
    before = open_descriptors()
    recorded = await fill(store)
    assert await store.is_intact("job", recorded)
    assert not await store.is_intact("another", recorded)
    flip_a_byte_and_hide_it(only_file(root))
    assert not await store.is_intact("job", recorded)
    assert open_descriptors() == before


async def test_a_file_only_touched_is_served_after_another_look(
    store: DiskVideoStore, root: Path
) -> None:
    recorded = await fill(store)
    os.utime(only_file(root))
    assert content_of(await store.open("job", recorded)) == VIDEO


@pytest.mark.parametrize(
    "recorded",
    [
        StoredVideo(hashlib.sha256(OTHER).hexdigest(), len(VIDEO)),
        StoredVideo(SHA256, len(VIDEO) + 1),
        StoredVideo("", 0),
    ],
)
async def test_a_file_that_is_not_the_recorded_one_is_never_served(
    store: DiskVideoStore, recorded: StoredVideo
) -> None:
    await fill(store)
    assert await store.open("job", recorded) is None
    assert content_of(await store.open("job", RECORDED)) == VIDEO


async def test_closing_twice_closes_nobody_elses_file(store: DiskVideoStore) -> None:
    video = await store.open("job", await fill(store))
    assert video is not None
    video.close()
    others = [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]
    video.close()
    for descriptor in others:
        os.close(descriptor)
    assert video.descriptor in others


async def test_a_read_in_progress_outlives_deletion(store: DiskVideoStore, root: Path) -> None:
    recorded = await fill(store)
    reading = await store.open("job", recorded)
    await store.delete("job")
    assert files(root) == []
    assert await store.open("job", recorded) is None
    assert content_of(reading) == VIDEO


async def test_deleting_what_is_not_there_is_fine(store: DiskVideoStore) -> None:
    await store.delete("job")
    await fill(store)
    await store.delete("job")
    await store.delete("job")


async def test_an_orphan_is_removed_by_the_name_it_was_found_under(store: DiskVideoStore) -> None:
    await fill(store)
    for name in await store.ids():
        await store.delete_name(name)
    assert await store.ids() == []


@pytest.mark.parametrize("is_restarted", [True, False])
async def test_a_cancelled_open_leaves_no_descriptor_behind(
    store: DiskVideoStore, root: Path, is_restarted: bool
) -> None:
    recorded = await fill(store)
    before = open_descriptors()
    for turns in range(8):
        store = DiskVideoStore(root) if is_restarted else store
        opening = asyncio.create_task(store.open("job", recorded))
        for _ in range(turns):
            await asyncio.sleep(0)
        if opening.cancel():
            await asyncio.wait([opening])
        else:
            content_of(await opening)
    # A thread that was opening it when nobody wanted it any more closes it at its end.
    for _ in range(1_000):
        if open_descriptors() == before:
            break
        await asyncio.sleep(0.01)
    assert open_descriptors() == before


async def test_cancelling_never_leaves_the_disk_at_work_unwatched(store: DiskVideoStore) -> None:
    """A thread that outlived its caller could write into a file that got its descriptor."""
    go_on = threading.Event()
    working = asyncio.create_task(store._in_thread(go_on.wait))
    for _ in range(5):
        await asyncio.sleep(0)
        working.cancel()
    assert not working.done()
    go_on.set()
    await asyncio.wait([working])
    assert working.cancelled()


# The disk's own faults


async def test_a_file_size_limit_is_our_fault_not_the_videos(
    store: DiskVideoStore, root: Path
) -> None:
    for announced in (len(VIDEO), None):
        with limited(resource.RLIMIT_FSIZE, 500_000), pytest.raises(StoreFailure):
            await store.fill("job", in_chunks(VIDEO), announced)
        assert files(root) == []
    await fill(store)


async def test_running_out_of_descriptors_is_not_taken_for_a_missing_video(
    store: DiskVideoStore,
) -> None:
    recorded = await fill(store)
    with limited(resource.RLIMIT_NOFILE, 3):
        with pytest.raises(StoreFailure) as caught:
            await store.open("job", recorded)
        with pytest.raises(StoreFailure):
            await fill(store, OTHER, "other")
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EMFILE
    assert content_of(await store.open("job", recorded)) == VIDEO


async def test_a_folder_that_vanished_is_not_taken_for_missing_videos(
    store: DiskVideoStore, root: Path
) -> None:
    recorded = await fill(store)
    elsewhere = root.with_name("elsewhere")
    move(root, elsewhere)
    with pytest.raises(StoreFailure, match="mounted"):
        await store.open("job", recorded)
    with pytest.raises(StoreFailure):
        await fill(store)
    move(elsewhere, root)
    assert content_of(await store.open("job", recorded)) == VIDEO


def test_a_place_where_no_folder_can_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreFailure):
        DiskVideoStore(tmp_path / "file" / "videos")


async def test_a_sweep_removes_what_interrupted_fills_left_and_no_video(
    store: DiskVideoStore, root: Path
) -> None:
    recorded = await fill(store)
    for number in range(3):
        (root / "incoming" / f"{number}.part").write_bytes(VIDEO)
    assert await store.sweep() == 3
    assert await store.sweep() == 0
    assert await store.ids() == [name_of("job")]
    assert content_of(await store.open("job", recorded)) == VIDEO


async def test_free_bytes_are_those_of_the_folders_disk(store: DiskVideoStore, root: Path) -> None:
    free = os.statvfs(root)
    assert store.free_bytes() == pytest.approx(free.f_bavail * free.f_frsize, rel=0.1)
    move(root, root.with_name("elsewhere"))
    with pytest.raises(StoreFailure):
        store.free_bytes()


async def test_all_who_ask_at_one_moment_share_one_look_at_the_file_and_close_their_own(
    store: DiskVideoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where its path has to be looked up on the disk, which a thread does."""
    monkeypatch.setattr(video_files, "open_known", lambda path: None)
    stored, before = await fill(store), open_descriptors()
    leaving = asyncio.create_task(store.open("job", stored))
    asking = [asyncio.create_task(store.open("job", stored)) for _ in range(50)]
    await asyncio.sleep(0)
    leaving.cancel()
    found = [video for video in await asyncio.gather(*asking) if video is not None]
    assert len({video.descriptor for video in found}) == 50
    found[0].close()
    assert os.pread(found[1].descriptor, len(VIDEO), 0) == VIDEO
    for video in found:
        video.close()
    await asyncio.gather(leaving, return_exceptions=True)
    await asyncio.sleep(0)
    assert open_descriptors() == before


async def test_a_file_that_the_kernel_knows_is_opened_without_a_thread(
    store: DiskVideoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, before = await fill(store), open_descriptors()
    own = open_known(__file__)
    if own is None:
        pytest.skip("this kernel has no RESOLVE_CACHED: opening without a thread was NOT tried")
    os.close(own)
    monkeypatch.setattr(Reading, "open", lambda self, path: pytest.fail("a thread was used"))
    video = await store.open("job", stored)
    assert video is not None
    assert content_of(video) == VIDEO
    assert open_descriptors() == before


def test_what_is_no_file_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    assert open_known(str(tmp_path / "missing")) is None
    assert open_known(str(tmp_path / "link")) is None
    found = open_known(str(tmp_path / "pipe"))
    if found is not None:
        os.close(found)
