"""Files to a connection without a copy in between: the kernel takes them from its page cache. Only
what is in memory already goes this way, for a disk must not be waited for on the event loop.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import mmap
import os
import sys
import termios
from collections.abc import Callable
from typing import Any

SCOPE_KEY = "gateway.send_file"
"""Where a door finds the sender of the connection it answers on, if that has one."""
PIECE_BYTES = 2 * 2**20
"""Handed over in one call: some tenths of a millisecond in which nobody else is answered."""


class FileSender:
    """Sends parts of open files on one connection, for one answer at a time.

    It writes past the transport, so only while nothing lies in that; and to a descriptor of its
    own, for the transport's may be closed, and given to another connection, at any time.
    """

    __slots__ = ("_flush", "_loop", "_room", "_transport")

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        flush: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._flush = flush
        """Gives the transport what was kept back from it."""
        self._room: asyncio.Future[None] | None = None

    async def send(self, cycle: Any, descriptor: int, first: int, count: int) -> bool:
        """Hand bytes of a file to the connection of a uvicorn cycle; False where its client left.

        `EOFError` where the file has fewer. The answer's `content-length` must have been sent.
        """
        self._flush()
        await self._written()
        if self._is_over(cycle):
            return False
        own = os.dup(self._transport.get_extra_info("socket").fileno())
        try:
            while count:
                if self._is_over(cycle):
                    return False
                try:
                    sent = os.sendfile(own, descriptor, first, min(count, PIECE_BYTES))
                except BlockingIOError:
                    await self._wait_for_room(own)
                    continue
                if not sent:
                    raise EOFError("the file became shorter while it was being sent")
                first, count = first + sent, count - sent
                cycle.expected_content_length -= sent
                # Others have their turn, and this connection's end is heard of.
                await asyncio.sleep(0)
        except ConnectionError:
            self._transport.abort()
            return not self._is_over(cycle)
        finally:
            os.close(own)
        return True

    def _is_over(self, cycle: Any) -> bool:
        """Whether the client has left, told to the cycle before the loop tells it: a door stops for
        this reason, not by mistake."""
        if self._transport.is_closing() and not cycle.disconnected:
            cycle.disconnected = True
            cycle.message_event.set()
        return bool(cycle.disconnected)

    async def _written(self) -> None:
        """Return when nothing lies in the transport: mostly the head, for one turn of the loop."""
        pause = 0.0
        while self._transport.get_write_buffer_size() and not self._transport.is_closing():
            await asyncio.sleep(pause)
            pause = min(0.05, pause + 0.001)

    async def _wait_for_room(self, own: int) -> None:
        room = self._room = self._loop.create_future()
        self._loop.add_writer(own, self.wake)
        try:
            await room
        finally:
            self._loop.remove_writer(own)
            self._room = None

    def wake(self) -> None:
        """There is room, or the connection has ended: look again."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def untaken(self) -> int:
        """Bytes that lie ready and that the client has not confirmed; 0 where nothing waits."""
        lying = self._transport.get_write_buffer_size()
        if not lying and self._room is None:
            return 0
        socket = self._transport.get_extra_info("socket")
        try:
            answer = fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, bytes(4))
        except (OSError, AttributeError):
            return lying
        return lying + int.from_bytes(answer, sys.byteorder)


class Residency:
    """What of an open file is in memory; `close` it. Where nobody can tell, nothing is."""

    __slots__ = ("_address", "_bytes")

    def __init__(self, descriptor: int, file_bytes: int) -> None:
        self._bytes = file_bytes
        self._address: int | None = None
        if _LIBC is not None:
            # Never read, only asked about.
            found = _LIBC.mmap(None, file_bytes, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
            self._address = None if found in (None, _FAILED) else found

    def has(self, first: int, count: int) -> bool:
        """Whether these bytes can be read without waiting for a disk."""
        if self._address is None or _LIBC is None:
            return False
        begin = first // mmap.PAGESIZE * mmap.PAGESIZE
        length = first + count - begin
        pages = bytearray(-(-length // mmap.PAGESIZE))
        found = (ctypes.c_char * len(pages)).from_buffer(pages)
        if _LIBC.mincore(self._address + begin, length, found):
            return False
        return pages.count(1) == len(pages)

    def close(self) -> None:
        """Forget the file; its own descriptor stays as it is."""
        address, self._address = self._address, None
        if address is not None and _LIBC is not None:
            _LIBC.munmap(address, self._bytes)


def _load() -> Any:
    """The three calls that Python has no words for, typed; None where they mean something else."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    libc.mmap.restype = pointer
    libc.mmap.argtypes = (pointer, size, number, number, number, ctypes.c_long)
    libc.mincore.argtypes = (pointer, size, pointer)
    libc.munmap.argtypes = (pointer, size)
    return libc


_LIBC = _load()
_FAILED = ctypes.c_void_p(-1).value
