"""What is asked of Linux beside Python's words for it."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from gateway.system_calls import is_cached

PAGE = mmap.PAGESIZE


def test_bytes_are_cached_where_each_of_their_pages_is(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(bytes(10 * PAGE))
    descriptor = os.open(path, os.O_RDONLY)
    if not is_cached(descriptor, 0, PAGE):
        pytest.skip("this system cannot tell of what is cached: NOT tested")
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    # Nothing is read ahead.
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
    os.pread(descriptor, 4 * PAGE, 0)
    os.pread(descriptor, 5 * PAGE, 5 * PAGE)
    if is_cached(descriptor, 4 * PAGE, PAGE):
        pytest.skip("this file system keeps in memory what it was told to forget: NOT tested")
    assert is_cached(descriptor, 0, 4 * PAGE)
    assert not is_cached(descriptor, 0, 4 * PAGE + 1)
    assert not is_cached(descriptor, 4 * PAGE - 1, 2)
    assert is_cached(descriptor, 5 * PAGE, 5 * PAGE)
    assert not is_cached(descriptor, 5 * PAGE, 5 * PAGE + 1)
    os.close(descriptor)


def test_what_is_no_file_is_not_cached() -> None:
    assert not is_cached(-1, 0, 1)
