"""Small whole mp4 files of any size, and ways to hand them out."""

from __future__ import annotations

import random
import struct
from collections.abc import AsyncIterator


def box(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I4s", len(payload) + 8, kind) + payload


def sample_video(size: int, seed: int = 0) -> bytes:
    """A whole mp4 of exactly `size` bytes, at least 200, different for each seed."""
    head = box(b"ftyp", b"isom") + box(b"moov", bytes(100))
    return head + box(b"mdat", random.Random(seed).randbytes(size - len(head) - 8))


async def in_chunks(content: bytes, chunk_bytes: int = 64 * 2**10) -> AsyncIterator[bytes]:
    for start in range(0, len(content), chunk_bytes):
        yield content[start : start + chunk_bytes]
