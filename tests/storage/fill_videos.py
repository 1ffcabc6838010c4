"""Fills a video folder until it is done or killed, and says what became of each video.

`python -m tests.storage.fill_videos FOLDER FIRST COUNT` writes a line for each, in one call: its
job, its SHA-256 or the failure, and for how many milliseconds the event loop has stood still.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from gateway.ports import StoreFailure
from gateway.storage.videos_disk import DiskVideoStore
from tests.storage.sample_videos import in_chunks, sample_video

VIDEO_BYTES = 2_500_000
"""Written in three pieces."""
BEAT_SECONDS = 0.001


def video_of(number: int) -> bytes:
    return sample_video(VIDEO_BYTES, number)


async def fill(store: DiskVideoStore, number: int) -> str:
    content = video_of(number)
    try:
        return (await store.fill(f"job-{number}", in_chunks(content), len(content))).sha256
    except StoreFailure as failure:
        return type(failure).__name__


async def longest_pause(pauses: list[float]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        before = loop.time()
        await asyncio.sleep(BEAT_SECONDS)
        pauses.append(loop.time() - before - BEAT_SECONDS)


async def main(folder: Path, first: int, count: int) -> None:
    # One thread, because planted faults are counted for each thread on its own.
    store = DiskVideoStore(folder, threads_max=1)
    pauses = [0.0]
    beating = asyncio.create_task(longest_pause(pauses))
    for number in range(first, first + count):
        outcome = await fill(store, number)
        # `writev`, so that faults planted in `write` meet videos alone.
        os.writev(1, [f"job-{number} {outcome} {int(1_000 * max(pauses))}\n".encode()])
    beating.cancel()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
