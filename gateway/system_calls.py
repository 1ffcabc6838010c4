"""Calls of Linux that Python has no words for; where there is no Linux, they do nothing.

None is needed for anything to be right: they save an event loop a thread, or a wait for a disk.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from typing import Any

AT_FDCWD = -100
OPENAT2 = 437
"""The number of the system call, the same on all processors (Linux 5.6)."""
RESOLVE_CACHED = 0x20
"""Fail rather than look anything up on a disk (Linux 5.12, `openat2(2)`)."""
CACHESTAT = 451
"""The number of the system call, the same on all processors (Linux 6.5)."""
# Without O_NONBLOCK a FIFO in a video's place would be waited for.
FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | getattr(os, "O_NOFOLLOW", 0)
MSG_MORE, MSG_NOSIGNAL = 0x8000, 0x4000
SYNC_FILE_RANGE_WRITE = 2
"""Begin to write what is changed, and wait for nothing (`sync_file_range(2)`)."""


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


class _Range(ctypes.Structure):
    _fields_ = (("first", ctypes.c_uint64), ("count", ctypes.c_uint64))


class _Cached(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in ("cached", "dirty", "writeback", "evicted", "recently_evicted")
    )


_HOW = _OpenHow(FLAGS, 0, RESOLVE_CACHED)
_RANGE, _CACHED, _BYTE = _Range(), _Cached(), bytearray(1)
"""Filled and read by one call, in one thread: that of the event loop."""


def open_known(path: str) -> int | None:
    """A descriptor to read a file from, where that needs no disk: the kernel has to know every part
    of its path already. None where it cannot be had at once, for whatever reason.

    For an event loop, which must not wait for a disk.
    """
    if _LIBC is None:
        return None
    found = _LIBC.openat2(OPENAT2, AT_FDCWD, os.fsencode(path), _HOW, ctypes.sizeof(_HOW))
    return None if found < 0 else int(found)


def send_more(descriptor: int, content: bytes) -> int:
    """How many bytes a connection took that does not block; they leave with what is sent next, for
    two packets would wake a client twice (`MSG_MORE`). 0 where it took none, for whatever reason.
    """
    if _LIBC is None:
        return 0
    return max(0, int(_LIBC.send(descriptor, content, len(content), MSG_MORE | MSG_NOSIGNAL)))


def begin_writing(descriptor: int, first: int, count: int) -> None:
    """Have the disk begin with these bytes of a file; nothing is durable by it."""
    if _LIBC is not None:
        _LIBC.sync_file_range(descriptor, first, count, SYNC_FILE_RANGE_WRITE)


def is_cached(descriptor: int, first: int, count: int) -> bool:
    """Whether every page of these bytes of a file has its place in memory (`cachestat(2)`), and the
    last one what belongs there. False where nobody can tell.

    For an event loop: it needs no mapping, and takes a fraction of the time of asking page by page.
    A place may still be empty while the disk is being read, mostly the last ones of a piece.
    """
    if _LIBC is None:
        return False
    _RANGE.first, _RANGE.count = first, count
    if _LIBC.cachestat(CACHESTAT, descriptor, _RANGE, _CACHED, 0):
        return False
    last = first + count - 1
    pages = last // mmap.PAGESIZE - first // mmap.PAGESIZE + 1
    if _CACHED.cached < pages:
        return False
    try:
        return os.preadv(descriptor, [_BYTE], last, os.RWF_NOWAIT) == 1
    except OSError:
        return False


def map_to_ask(descriptor: int, count: int) -> int | None:
    """The address of so many bytes of a file, never read, only to ask `Pages` about; None
    where nobody can tell."""
    if _LIBC is None:
        return None
    found = _LIBC.mmap(None, count, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    return None if found in (None, _FAILED) else int(found)


def unmap(address: int, count: int) -> None:
    """Give back what `map_to_ask` gave."""
    if _LIBC is not None:
        _LIBC.munmap(address, count)


class Pages:
    """Room for what the kernel says of so many pages at once."""

    __slots__ = ("_answer", "_pages")

    def __init__(self, most: int) -> None:
        self._pages = bytearray(most)
        self._answer = (ctypes.c_char * most).from_buffer(self._pages)

    def resident(self, address: int, count: int) -> int:
        """How many pages from an address on can be read without waiting for a disk, of those that
        so many bytes have (`mincore(2)`)."""
        if _LIBC is None or _LIBC.mincore(address, count, self._answer):
            return 0
        pages = -(-count // mmap.PAGESIZE)
        missing = self._pages.find(0, 0, pages)
        return pages if missing < 0 else missing


def _load() -> Any:
    if sys.platform != "linux" or sys.maxsize < 2**32:
        return None
    libc: Any = ctypes.CDLL(None)
    if not hasattr(libc, "sync_file_range"):
        return None
    number, size, pointer = ctypes.c_int, ctypes.c_size_t, ctypes.c_void_p
    path, how = ctypes.c_char_p, ctypes.POINTER(_OpenHow)
    span, cached = ctypes.POINTER(_Range), ctypes.POINTER(_Cached)
    # Two handles of one call, for the types of its arguments belong to a handle.
    libc.openat2, libc.cachestat = libc["syscall"], libc["syscall"]
    libc.openat2.restype = libc.cachestat.restype = ctypes.c_long
    libc.openat2.argtypes = (ctypes.c_long, number, path, how, size)
    libc.cachestat.argtypes = (ctypes.c_long, ctypes.c_uint, span, cached, ctypes.c_uint)
    libc.send.restype = ctypes.c_ssize_t
    libc.send.argtypes = (number, ctypes.c_char_p, size, number)
    libc.sync_file_range.argtypes = (number, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    libc.mmap.restype = pointer
    libc.mmap.argtypes = (pointer, size, number, number, number, ctypes.c_long)
    libc.mincore.argtypes = (pointer, size, pointer)
    libc.munmap.argtypes = (pointer, size)
    return libc


_LIBC = _load()
_FAILED = ctypes.c_void_p(-1).value
