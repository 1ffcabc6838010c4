"""Two calls of Linux that Python has no words for; where there is no Linux, they do nothing.

Neither is needed for anything to be right: one saves an event loop a thread, the other a wait.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Any

AT_FDCWD = -100
OPENAT2 = 437
"""The number of the system call, the same on all processors (Linux 5.6)."""
RESOLVE_CACHED = 0x20
"""Fail rather than look anything up on a disk (Linux 5.12, `openat2(2)`)."""
# Without O_NONBLOCK a FIFO in a video's place would be waited for.
FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | getattr(os, "O_NOFOLLOW", 0)
SYNC_FILE_RANGE_WRITE = 2
"""Begin to write what is changed, and wait for nothing (`sync_file_range(2)`)."""


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


def open_known(path: Path) -> int | None:
    """A descriptor to read a file from, where that needs no disk: the kernel has to know every part
    of its path already. None where it cannot be had at once, for whatever reason.

    For an event loop, which must not wait for a disk.
    """
    if _LIBC is None:
        return None
    how = _OpenHow(FLAGS, 0, RESOLVE_CACHED)
    found = _LIBC.syscall(
        OPENAT2, AT_FDCWD, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how)
    )
    return None if found < 0 else int(found)


def begin_writing(descriptor: int, first: int, count: int) -> None:
    """Have the disk begin with these bytes of a file; nothing is durable by it."""
    if _LIBC is not None:
        _LIBC.sync_file_range(descriptor, first, count, SYNC_FILE_RANGE_WRITE)


def _load() -> Any:
    if sys.platform != "linux" or sys.maxsize < 2**32:
        return None
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "sync_file_range"):
        return None
    number, size = ctypes.c_int, ctypes.c_size_t
    libc.syscall.restype = ctypes.c_long
    libc.syscall.argtypes = (
        ctypes.c_long,
        number,
        ctypes.c_char_p,
        ctypes.POINTER(_OpenHow),
        size,
    )
    libc.sync_file_range.argtypes = (number, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return libc


_LIBC = _load()
