"""Hands the head of an answer and the body that follows it to the kernel in one call: two calls are
the dearest part of answering a poll. It holds one small piece, and never beyond a turn of the loop.
"""

from __future__ import annotations

import asyncio

HELD_BYTES_MAX = 16 * 1024
"""A larger piece is worth a call of its own, and is not held."""


class Gathering:
    """What a uvicorn cycle needs of a transport; everything else asks the transport itself."""

    __slots__ = ("_held", "_loop", "_transport", "is_closing")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        """Send this now with what is held, or hold it until the next piece or the next turn."""
        if self._held:
            held, self._held = self._held, b""
            self._transport.writelines((held, data))
        elif len(data) > HELD_BYTES_MAX:
            self._transport.write(data)
        else:
            self._held = data
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send what is held, before anything that does not pass here; a lost client gets none."""
        held = self.take()
        if held and not self._transport.is_closing():
            self._transport.write(held)

    def take(self) -> bytes:
        """What is held, for somebody else to send."""
        held, self._held = self._held, b""
        return held

    def close(self) -> None:
        """Close once all of it was sent."""
        self.flush()
        self._transport.close()
