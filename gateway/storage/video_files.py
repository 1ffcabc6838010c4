"""The blocking half of the video folder: how one file is filled, verified, opened and removed.

Everything here may wait for the disk, so it is for a thread; it knows of no jobs.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import secrets
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from gateway.core.mp4 import BrokenVideo, check_whole
from gateway.ports import StoreFailure
from gateway.system_calls import begin_writing, open_known

WRITE_BYTES_MIN = 2**20
"""Handing work to a thread costs some 50 µs, and writing this much ten times that."""
SUFFIX = ".mp4"
NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
UNREADABLE = frozenset({errno.EIO, errno.EISDIR})


class Seal(NamedTuple):
    """What a file looked like when its bytes had this hash."""

    sha256: str
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


class Filling:
    """One video on its way in: a file nobody else knows, until `finish` gives it its name.

    The methods are called one at a time; all but `take` may wait for the disk. `BrokenVideo`
    where the bytes are at fault, `OSError` where the disk is.
    """

    def __init__(
        self, incoming: Path, name: str, expected_bytes: int | None, bytes_max: int
    ) -> None:
        self._path = incoming / f"{name}.{secrets.token_hex(8)}.part"
        self._expected = expected_bytes
        self._bytes_max = bytes_max
        self._descriptor = -1
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._taken = 0
        self._written = 0
        self._digest = hashlib.sha256()

    def begin(self) -> None:
        """Make the file, and reserve its space where its length is known."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        self._descriptor = os.open(self._path, flags, 0o600)
        if self._expected:
            _reserve_space(self._descriptor, self._expected)

    def take(self, chunk: bytes) -> bool:
        """Hold a chunk; true where enough are held to be worth writing."""
        self._taken += len(chunk)
        if self._expected is not None and self._taken > self._expected:
            raise BrokenVideo(f"it has more than the {self._expected} bytes announced")
        if self._taken > self._bytes_max:
            raise BrokenVideo(f"it has more than the {self._bytes_max} bytes allowed")
        self._pending.append(chunk)
        self._pending_bytes += len(chunk)
        return self._pending_bytes >= WRITE_BYTES_MIN

    def write(self) -> None:
        """Hash and write what is held."""
        block = b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        self._digest.update(block)
        left = memoryview(block)
        while left:
            left = left[os.write(self._descriptor, left) :]
        # While the rest is on its way, so that the last wait is for little.
        begin_writing(self._descriptor, self._written, len(block))
        self._written += len(block)

    def finish(self, final: Path, root: Path) -> Seal:
        """Check the whole, make it durable, then visible, then its name durable.

        Where only the last fails, a whole video stays that nobody was promised.
        """
        self.write()
        if self._expected is not None and self._taken < self._expected:
            raise BrokenVideo(f"it has {self._taken} of the {self._expected} bytes announced")
        check_whole(lambda offset, length: os.pread(self._descriptor, length, offset), self._taken)
        os.fsync(self._descriptor)
        make_folder(final.parent)
        self._path.rename(final)
        # Up to the root each time: a folder made by a fill that died may not be durable itself.
        for folder in (final.parent, final.parent.parent, root):
            _sync_folder(folder)
        return seal_of(os.fstat(self._descriptor), self._digest.hexdigest())

    def end(self) -> None:
        """Close, and remove what did not get its name; what cannot be removed is for `sweep`."""
        if self._descriptor == -1:
            return
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


class Reading:
    """A file opened for reading, closed once however often that is asked."""

    def __init__(self) -> None:
        self.descriptor = -1

    def open(self, path: str) -> os.stat_result | None:
        """Open the file and look at it; None where there is none."""
        try:
            self.descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno in NOT_THERE:
                return None
            raise
        return os.fstat(self.descriptor)

    def open_known(self, path: str) -> os.stat_result | None:
        """The same without waiting for a disk; None where there may yet be a file."""
        descriptor = open_known(path)
        if descriptor is None:
            return None
        self.descriptor = descriptor
        return os.fstat(descriptor)

    def copy(self) -> Reading:
        """The same open file under a descriptor of its own; it is read at offsets, so that the one
        disturbs the other in nothing."""
        copied = Reading()
        if self.descriptor != -1:
            copied.descriptor = os.dup(self.descriptor)
        return copied

    def close(self) -> None:
        """Give the descriptor back."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor != -1:
            os.close(descriptor)


class SharedReading:
    """A file that is being opened for several at once; the last of them to leave closes it."""

    opening: asyncio.Future[os.stat_result | None]

    def __init__(self) -> None:
        self.reading = Reading()
        self._users = 0

    def __enter__(self) -> None:
        self._users += 1

    def __exit__(self, *_: object) -> None:
        self._users -= 1
        if self.opening.done():
            self._close(self.opening)
        elif not self._users:
            # Whoever was cancelled leaves before it is open.
            self.opening.add_done_callback(self._close)

    def _close(self, opening: asyncio.Future[os.stat_result | None]) -> None:
        if not opening.cancelled():
            # Where all who waited were cancelled, nobody else hears of an error.
            opening.exception()
        if not self._users:
            self.reading.close()


def verified(path: Path, incoming: Path) -> Seal | None:
    """Hash a file; None where there is none, or it cannot be read, or it changes meanwhile."""
    reading = Reading()
    try:
        before = reading.open(os.fspath(path))
        if before is None:
            if not incoming.is_dir():
                raise StoreFailure(f"{incoming.parent} is gone: is its volume mounted?")
            return None
        with os.fdopen(reading.descriptor, "rb", buffering=0, closefd=False) as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        seal = seal_of(before, sha256)
        return seal if seal_of(os.fstat(reading.descriptor), sha256) == seal else None
    except OSError as error:
        if error.errno in UNREADABLE:
            return None
        raise
    finally:
        reading.close()


def seal_of(status: os.stat_result, sha256: str) -> Seal:
    """What to compare later: rewriting a file shows in its times, replacing it in its inode."""
    return Seal(sha256, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _reserve_space(descriptor: int, length: int) -> None:
    """Learn now, not after minutes of download, that there is no room."""
    if sys.platform != "linux":
        return
    try:
        os.posix_fallocate(descriptor, 0, length)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise


def make_folder(folder: Path) -> None:
    """Make a folder and what is missing above it, each durable in the one above."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file durably; nothing there is fine."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    _sync_folder(path.parent)


def empty(folder: Path) -> int:
    """Remove all files of a folder, and say how many."""
    files = list(folder.iterdir())
    for file in files:
        file.unlink()
    return len(files)


def names(root: Path) -> list[str]:
    """Names of all stored files below `root`, without their suffix.

    Read folder by folder: there are up to 65,536, and a glob takes four times as long over them.
    """
    folders = (folder for above in _folders(os.fspath(root)) for folder in _folders(above))
    return [
        name.removesuffix(SUFFIX)
        for folder in folders
        for name in os.listdir(folder)  # noqa: PTH208 - a Path for each costs what was saved
        if name.endswith(SUFFIX)
    ]


def _folders(above: str) -> list[str]:
    """The folders in a folder whose names are the beginnings of stored names."""
    with os.scandir(above) as entries:
        return [entry.path for entry in entries if len(entry.name) == 2 and entry.is_dir()]
