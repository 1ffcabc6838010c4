"""What is asked of Linux beside Python's words for it."""

from __future__ import annotations

import mmap
import os
import socket
import sys
from pathlib import Path

import pytest

from gateway.system_calls import is_cached, send_more

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


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux knows the call: NOT tested")
def test_what_has_more_to_come_is_sent_in_order_and_never_waited_for() -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        assert send_more(near.fileno(), b"a head, ") == 8
        near.send(b"and a file")
        assert far.recv(100) == b"a head, and a file"
        while send_more(near.fileno(), bytes(65_536)):
            pass
        with pytest.raises(BlockingIOError):
            near.send(b"x")
        far.close()
        assert send_more(near.fileno(), b"nobody reads it") == 0
    assert send_more(-1, b"nowhere") == 0
