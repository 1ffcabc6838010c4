"""Videos as plain files: each whole, checked, hashed and durable before it can be seen.

It never blocks the event loop, never shows a part of a video, and never trusts a file that is
not the one it wrote or verified.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

from anyio import CancelScope

from gateway.core.mp4 import BrokenVideo
from gateway.ports import OpenVideo, StoredVideo, StoreFailure, StoreFull
from gateway.storage.video_files import (
    Filling,
    Reading,
    Seal,
    SharedReading,
    empty,
    make_folder,
    names,
    remove,
    seal_of,
    verified,
)

VIDEO_BYTES_MAX = 4 * 2**30
"""An hour of 1080p is under 4 GiB; an endless body must not fill the disk."""
SEALS_MAX = 50_000
"""Verified files remembered, some 300 bytes each; a forgotten one is hashed again."""
NAMES_KEPT = 8_192
"""Of videos that were asked for lately: the same ones are, again and again."""
VERIFICATIONS_AT_ONCE = 2
"""After a restart everything is hashed at its first use; this must not take all processors."""
THREADS_MAX = 16
"""Threads of its own: a disk that is slow to sync must not hold up name lookups and the like."""
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})

Result = TypeVar("Result")


@lru_cache(maxsize=NAMES_KEPT)
def name_of(job_id: str) -> str:
    """The name a job's video is stored under, without its suffix: ids are others' text."""
    return hashlib.sha256(job_id.encode("utf-8", "surrogatepass")).hexdigest()


class DiskVideoStore:
    """`ports.VideoStore` in a folder: `ab/cd/<name>.mp4`, and `incoming/` for what is not whole.

    `bytes_max` limits one video, `threads_max` the disk operations at a time. Making a store makes
    its folder; `StoreFailure` where it cannot.
    """

    def __init__(
        self, root: Path, *, bytes_max: int = VIDEO_BYTES_MAX, threads_max: int = THREADS_MAX
    ) -> None:
        self._root = root
        self._folder = os.fspath(root)
        self._incoming = root / "incoming"
        self._bytes_max = bytes_max
        self._seals: OrderedDict[str, Seal] = OrderedDict()
        self._readings: dict[str, SharedReading] = {}
        self._verifying = asyncio.Semaphore(VERIFICATIONS_AT_ONCE)
        self._threads = ThreadPoolExecutor(threads_max, thread_name_prefix="videos")
        try:
            make_folder(self._incoming)
        except OSError as error:
            raise _failure(error) from error

    async def fill(
        self, job_id: str, chunks: AsyncIterator[bytes], expected_bytes: int | None
    ) -> StoredVideo:
        """Take a body to its end, check it, and keep it; it exists only once this returns.

        `BrokenVideo` where it is not a whole mp4 of the expected length or is too large,
        `StoreFull` or `StoreFailure` where the fault is ours; what `chunks` raises passes through.
        """
        if expected_bytes is not None and expected_bytes > self._bytes_max:
            raise BrokenVideo(f"{expected_bytes} bytes are more than the {self._bytes_max} allowed")
        name = name_of(job_id)
        filling = Filling(self._incoming, name, expected_bytes, self._bytes_max)
        try:
            await self._in_thread(filling.begin)
            async for chunk in chunks:
                if filling.take(chunk):
                    await self._in_thread(filling.write)
            seal = await self._in_thread(partial(filling.finish, self._path(name), self._root))
        finally:
            await self._in_thread(filling.end)
        self._remember(name, seal)
        return StoredVideo(sha256=seal.sha256, bytes=seal.size)

    async def open(self, job_id: str, expected: StoredVideo) -> OpenVideo | None:
        """The stored bytes; None where they are missing or are not those recorded.

        A file that is not known to be unchanged since it was last hashed is hashed first.
        `StoreFailure` where it cannot be told: no descriptors left, or the whole folder gone.
        """
        name = name_of(job_id)
        if (found := await self._opened(name, expected)) is not None:
            return found
        async with self._verifying:
            # Of many who waited here for the same video, the first has verified it for all.
            if (found := await self._opened(name, expected)) is not None:
                return found
            seal = await self._in_thread(partial(verified, self._path(name), self._incoming))
            if seal is None:
                self._seals.pop(name, None)
                return None
            self._remember(name, seal)
            return await self._opened(name, expected)

    async def _opened(self, name: str, expected: StoredVideo) -> OpenVideo | None:
        """The file, if it is known to hold the expected bytes and looks as it did then."""
        seal = self._seals.get(name)
        if seal is None or (seal.sha256, seal.size) != (expected.sha256, expected.bytes):
            return None
        reading, status = await self._read(name, self._file(name))
        if status is None or seal_of(status, seal.sha256) != seal:
            reading.close()
            return None
        if name in self._seals:
            self._seals.move_to_end(name)
        return OpenVideo(reading.descriptor, seal.size, seal.sha256, reading.close)

    async def _read(self, name: str, path: str) -> tuple[Reading, os.stat_result | None]:
        """The file opened and looked at: at once where that needs no disk, else in a thread."""
        reading = Reading()
        if (status := reading.open_known(path)) is not None:
            return reading, status
        return await self._read_together(name, path)

    async def _read_together(self, name: str, path: str) -> tuple[Reading, os.stat_result | None]:
        """The file opened and looked at: once for all who ask while that is being done, with a
        descriptor for each. When a video comes, everybody who waits for it asks at one moment."""
        shared = self._readings.get(name)
        if shared is None:
            shared = self._readings[name] = SharedReading()
            shared.opening = asyncio.ensure_future(
                self._in_thread(partial(shared.reading.open, path))
            )
            shared.opening.add_done_callback(lambda _: self._readings.pop(name, None))
        with shared:
            status = await asyncio.shield(shared.opening)
            try:
                return shared.reading.copy(), status
            except OSError as error:
                raise _failure(error) from error

    async def is_intact(self, job_id: str, expected: StoredVideo) -> bool:
        """Whether the file, hashed anew, is the one recorded: times do not tell of a worn disk."""
        name = name_of(job_id)
        async with self._verifying:
            seal = await self._in_thread(partial(verified, self._path(name), self._incoming))
        if seal is None or (seal.sha256, seal.size) != (expected.sha256, expected.bytes):
            self._seals.pop(name, None)
            return False
        self._remember(name, seal)
        return True

    async def delete(self, job_id: str) -> None:
        """Remove a video durably; a read in progress still ends well. Nothing there is fine."""
        await self.delete_name(name_of(job_id))

    async def delete_name(self, name: str) -> None:
        """Remove a file by the name that `ids` gave, of which no job may be known."""
        self._seals.pop(name, None)
        await self._in_thread(partial(remove, self._path(name)))

    def name_of(self, job_id: str) -> str:
        """The name by which `ids` tells of a job's video."""
        return name_of(job_id)

    async def ids(self) -> list[str]:
        """Names of all stored files; `name_of` gives a job's."""
        return await self._in_thread(partial(names, self._root))

    async def sweep(self) -> int:
        """Remove what interrupted fills left, and say how many; call it before the first fill."""
        return await self._in_thread(partial(empty, self._incoming))

    def free_bytes(self) -> int:
        """Bytes that a process without privileges may still write here."""
        try:
            status = os.statvfs(self._root)
        except OSError as error:
            raise _failure(error) from error
        return status.f_bavail * status.f_frsize

    def _path(self, name: str) -> Path:
        return Path(self._file(name))

    def _file(self, name: str) -> str:
        # A text: whoever opens a video waits for this, and a `Path` takes ten times as long.
        return f"{self._folder}/{name[:2]}/{name[2:4]}/{name}.mp4"

    def _remember(self, name: str, seal: Seal) -> None:
        self._seals[name] = seal
        self._seals.move_to_end(name)
        while len(self._seals) > SEALS_MAX:
            self._seals.popitem(last=False)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        """Run blocking work in a thread and wait for its end, even when cancelled meanwhile.

        The thread cannot be stopped and uses a descriptor that its caller closes next: were it
        still running then, it could write into whatever file is given that number.
        """
        running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        cancelled: asyncio.CancelledError | None = None
        with CancelScope(shield=True):
            while not running.done():
                try:
                    await asyncio.wait([running])
                except asyncio.CancelledError as error:
                    cancelled = error
        try:
            return running.result()
        except OSError as error:
            raise _failure(error) from error
        finally:
            if cancelled is not None:
                raise cancelled


def _failure(error: OSError) -> StoreFailure:
    """The same in our words: no room, or another fault of our own disk."""
    kind = StoreFull if error.errno in NO_SPACE else StoreFailure
    return kind(f"the video store: {error}")
