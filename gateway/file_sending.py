"""Files to a connection without a copy in between: the kernel takes them from its page cache. Only
what is in memory already goes this way, for a disk must not be waited for on the event loop.
"""

from __future__ import annotations

import asyncio
import fcntl
import mmap
import os
import sys
import termios
import time
from collections import deque
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from gateway.system_calls import Pages, is_cached, map_to_ask, send_more, unmap

SCOPE_KEY = "gateway.send_file"
"""Where a door finds the sender of the connection it answers on, if that has one."""
PIECE_BYTES = 2**20
"""Handed over in one call: some tenths of a millisecond in which nobody else is answered."""
TURN_SECONDS = 0.000_3
"""What all files together may take of one turn of the event loop, and the call that is too much."""

Ahead = Callable[[int, int], int]
"""How many bytes from an offset on can be read without waiting for a disk, of so many."""


class _Turn:
    """How long files have kept an event loop in one of its turns: whoever polls waits for them.

    Those that have room and no time left wait for the next turn, in the order in which they came.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._spent = 0.0
        self._waiting: deque[_Transfer] = deque()
        self._is_called = False

    @property
    def is_over(self) -> bool:
        """Whether the rest is for the next turn."""
        return self._spent >= TURN_SECONDS

    def spend(self, seconds: float) -> None:
        """Count time, until the next turn."""
        self._spent += seconds
        self._call()

    def add(self, transfer: _Transfer) -> None:
        """Have a transfer go on in the next turn that has time for it."""
        self._waiting.append(transfer)
        self._call()

    def _call(self) -> None:
        if not self._is_called:
            self._is_called = True
            self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        self._is_called = False
        self._spent = 0.0
        for _ in range(len(self._waiting)):
            if self.is_over:
                break
            self._waiting.popleft().move()
        if self._waiting:
            self._call()


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, _Turn] = WeakKeyDictionary()


class _Transfer:
    """A part of a file on its way to one connection: `start` it, and `close` it.

    `done` has its result at the end, at what is not in memory, and where the client left.
    """

    __slots__ = (
        "_ahead",
        "_cycle",
        "_end",
        "_file",
        "_is_watched",
        "_loop",
        "_own",
        "_transport",
        "_turn",
        "connection",
        "done",
        "first",
    )

    def __init__(
        self,
        cycle: Any,
        transport: asyncio.Transport,
        file: int,
        *,
        first: int,
        count: int,
        ahead: Ahead,
    ) -> None:
        self._cycle = cycle
        self._transport = transport
        self.connection: int = transport.get_extra_info("socket").fileno()
        """The transport's descriptor: there as long as that is not closing, then another's."""
        self._own: int | None = None
        """A second one, to be watched: a loop does not watch its transports' for others."""
        self._file = file
        self._ahead = ahead
        self.first = first
        """Where in the file the next byte is."""
        self._end = first + count
        self._loop = asyncio.get_running_loop()
        self._turn = _turns.get(self._loop) or _turns.setdefault(self._loop, _Turn(self._loop))
        self._is_watched = False
        self.done: asyncio.Future[None] = self._loop.create_future()

    @property
    def must_wait(self) -> bool:
        """Whether others have had all that files may take of this turn."""
        return self._turn.is_over

    def start(self) -> None:
        """Hand over a first piece, where others have left time for it, and then all the rest."""
        if self.must_wait:
            self._turn.add(self)
        else:
            self.move()

    def move(self) -> None:
        """Hand over a piece, and see when the next one may go."""
        if self.done.done():
            return
        if self._transport.is_closing():
            self.give_up()
            return
        try:
            self._move()
        except (OSError, EOFError) as error:
            self.done.set_exception(error)

    def _move(self) -> None:
        wanted = self._ahead(self.first, min(self._end - self.first, PIECE_BYTES))
        if not wanted:
            self.done.set_result(None)
            return
        began = time.perf_counter()
        try:
            sent = os.sendfile(self.connection, self._file, self.first, wanted)
        except BlockingIOError:
            self._watch()
            return
        finally:
            self._turn.spend(time.perf_counter() - began)
        if not sent:
            raise EOFError("the file became shorter while it was being sent")
        self.first += sent
        self._cycle.expected_content_length -= sent
        if self.first == self._end or self._cycle.disconnected:
            self.done.set_result(None)
        elif sent < wanted:
            self._watch()
        elif not self._is_watched:
            # There may be room for more: to be told of it costs more than to try.
            self._turn.add(self)

    def _watch(self) -> None:
        if not self._is_watched:
            self._is_watched = True
            if self._own is None:
                self._own = os.dup(self.connection)
            self._loop.add_writer(self._own, self._has_room)

    def _has_room(self) -> None:
        """It stays watched while it goes on at once: to begin anew costs as much as a piece."""
        if self._turn.is_over:
            self._unwatch()
            self._turn.add(self)
        else:
            self.move()

    def _unwatch(self) -> None:
        if self._is_watched and self._own is not None:
            self._is_watched = False
            self._loop.remove_writer(self._own)

    def close(self) -> None:
        """Watch for room no longer."""
        self._unwatch()
        own, self._own = self._own, None
        if own is not None:
            os.close(own)

    def give_up(self) -> None:
        """The connection has ended."""
        if not self.done.done():
            self.done.set_result(None)


class FileSender:
    """Sends parts of open files on one connection, for one answer at a time.

    It writes past the transport, so only while nothing lies in that and it is not closing: once it
    has closed, its descriptor may be another connection's.
    """

    __slots__ = ("_held_back", "_loop", "_moving", "_transport")

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        held_back: Callable[[], bytes],
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._held_back = held_back
        """Hands over what was kept back from the transport: mostly the head."""
        self._moving: _Transfer | None = None

    async def send(
        self, cycle: Any, descriptor: int, first: int, count: int, ahead: Ahead
    ) -> int | None:
        """Hand bytes of a file to the connection of a uvicorn cycle, and tell how many: fewer where
        the next are not in memory. None where its client left.

        `EOFError` where the file has fewer. The answer's `content-length` must have been sent.
        """
        head = self._held_back()
        if self._transport.get_write_buffer_size():
            await self._write_behind(head)
            head = b""
        if self._is_over(cycle):
            return None
        transfer = _Transfer(
            cycle, self._transport, descriptor, first=first, count=count, ahead=ahead
        )
        try:
            if head:
                await self._write_before(head, transfer)
            await self._past(transfer)
        except ConnectionError:
            self._transport.abort()
        finally:
            transfer.close()
        sent = transfer.first - first
        return None if sent < count and self._is_over(cycle) else sent

    async def _past(self, transfer: _Transfer) -> None:
        """Move a transfer to its end; what fits at once waits for nothing."""
        self._moving = transfer
        try:
            transfer.start()
            if transfer.done.done():
                return transfer.done.result()
            await transfer.done
        finally:
            self._moving = None

    async def _write_before(self, head: bytes, transfer: _Transfer) -> None:
        """Write what goes before the file, past the transport, which would take a turn for it.

        It leaves with the file's first bytes; where these have to wait for others, at once.
        """
        try:
            send = os.write if transfer.must_wait else send_more
            sent = send(transfer.connection, head)
        except BlockingIOError:
            sent = 0
        if sent < len(head):
            await self._write_behind(head[sent:])

    async def _write_behind(self, head: bytes) -> None:
        """Write it behind what lies in the transport, and return when that has sent everything."""
        self._transport.write(head)
        pause = 0.0
        while self._transport.get_write_buffer_size() and not self._transport.is_closing():
            await asyncio.sleep(pause)
            pause = min(0.05, pause + 0.001)

    def _is_over(self, cycle: Any) -> bool:
        """Whether the client has left, told to the cycle before the loop tells it: a door stops for
        this reason, not by mistake."""
        if self._transport.is_closing() and not cycle.disconnected:
            cycle.disconnected = True
            cycle.message_event.set()
        return bool(cycle.disconnected)

    def wake(self) -> None:
        """The connection has ended: whoever sends on it stops."""
        if self._moving is not None:
            self._moving.give_up()

    def untaken(self) -> int:
        """Bytes that lie ready and that the client has not confirmed; 0 where nothing waits."""
        lying = self._transport.get_write_buffer_size()
        if not lying and self._moving is None:
            return 0
        socket = self._transport.get_extra_info("socket")
        try:
            answer = fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, bytes(4))
        except (OSError, AttributeError):
            return lying
        return lying + int.from_bytes(answer, sys.byteorder)


class Residency:
    """What of an open file is in memory; `close` it. Where nobody can tell, nothing is.

    As long as each piece asked for is in memory, one cheap question answers; it counts what is just
    being read from the disk, too. So from the first piece on that is not, pages are looked at.
    """

    __slots__ = ("_address", "_bytes", "_descriptor", "_is_closed", "_pages")

    def __init__(self, descriptor: int, file_bytes: int) -> None:
        self._descriptor = descriptor
        self._bytes = file_bytes
        self._address: int | None = None
        self._pages: Pages | None = None
        self._is_closed = False

    def ahead(self, first: int, count: int) -> int:
        """How many bytes from the first on can be read without waiting for a disk: at most so many
        as are asked for, and as one piece has."""
        if self._is_closed:
            return 0
        count = min(count, PIECE_BYTES)
        if self._pages is None:
            if is_cached(self._descriptor, first, count):
                return count
            self._address = map_to_ask(self._descriptor, self._bytes)
            # A piece may begin and end within a page.
            self._pages = Pages(PIECE_BYTES // mmap.PAGESIZE + 2)
        if self._address is None:
            return 0
        begin = first // mmap.PAGESIZE * mmap.PAGESIZE
        end = first + count
        resident = self._pages.resident(self._address + begin, end - begin)
        return max(0, min(end, begin + resident * mmap.PAGESIZE) - first)

    def close(self) -> None:
        """Forget the file; its own descriptor stays as it is."""
        self._is_closed = True
        address, self._address = self._address, None
        if address is not None:
            unmap(address, self._bytes)
