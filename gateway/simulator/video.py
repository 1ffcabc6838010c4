"""A job's video: moving coloured blocks drawn from its name, made frame by frame when asked for."""

import hashlib
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property, lru_cache

from gateway.simulator.h264 import key_frame, key_frame_bytes, skipped_frame
from gateway.simulator.mp4 import Track, file_head

FRAMES_PER_SECOND = 8
FRAMES_PER_SECOND_MAX = 24
FRAMES_PER_KEY = 4
# Clients take files under 100,000 bytes for a moderation placeholder.
VIDEO_BYTES_MIN = 130_000
SHADES = 48
# Macroblocks across and down, about the same number for every shape.
SHAPES = {"9:16": (9, 16), "1:1": (12, 12), "4:3": (12, 9), "3:4": (9, 12), "21:9": (21, 9)}
WIDE = (16, 9)
PLACEHOLDER_SHAPE = (4, 3)


@dataclass(frozen=True)
class SimulatedVideo:
    """An mp4 that is known to the byte before any of it is built."""

    name: str
    columns: int
    rows: int
    milliseconds: int
    frames: int
    frames_per_key: int

    @property
    def size(self) -> int:
        return len(self._head) + sum(self._track.frame_bytes)

    def chunks(self) -> Iterator[bytes]:
        """The file in order: everything before the frames, then each key frame with its tail."""
        yield self._head
        painter = _Painter(self.name, self.columns, self.rows)
        for first in range(0, self.frames, self.frames_per_key):
            frames = [key_frame(first // self.frames_per_key, painter.macroblocks(first))]
            last = min(first + self.frames_per_key, self.frames)
            frames += [self._skipped(index) for index in range(1, last - first)]
            yield b"".join(struct.pack(">I", len(frame)) + frame for frame in frames)

    def to_bytes(self) -> bytes:
        return b"".join(self.chunks())

    @cached_property
    def _track(self) -> Track:
        sizes = [4 + self._frame_bytes(index) for index in range(self.frames)]
        keys = range(0, self.frames, self.frames_per_key)
        return Track(self.columns, self.rows, sizes, keys, self.milliseconds)

    @cached_property
    def _head(self) -> bytes:
        return file_head(self._track, self.name)

    def _frame_bytes(self, index: int) -> int:
        number, since_key = divmod(index, self.frames_per_key)
        if since_key:
            return len(self._skipped(since_key))
        return _key_frame_bytes(number % 2, self.columns * self.rows)

    def _skipped(self, since_key: int) -> bytes:
        return _skipped_frame(since_key, self.columns * self.rows)


_key_frame_bytes = lru_cache(maxsize=64)(key_frame_bytes)
_skipped_frame = lru_cache(maxsize=256)(skipped_frame)


def simulated_video(
    name: str, seconds: Decimal, aspect_ratio: str | None, bytes_min: int, is_placeholder: bool
) -> SimulatedVideo:
    """The video of that name and length with at least ``bytes_min`` bytes.

    A placeholder ignores the size and stays far below what clients take for a real video.
    """
    milliseconds = max(1000, int(seconds * 1000))
    frames = max(2, milliseconds * FRAMES_PER_SECOND // 1000)
    if is_placeholder:
        return SimulatedVideo(name, *PLACEHOLDER_SHAPE, milliseconds, frames, frames)
    columns, rows = SHAPES.get(aspect_ratio or "", WIDE)
    wanted = max(bytes_min, VIDEO_BYTES_MIN)
    frames_max = milliseconds * FRAMES_PER_SECOND_MAX // 1000
    scale = math.isqrt(wanted // (frames_max * key_frame_bytes(0, columns * rows))) + 1
    columns, rows = columns * scale, rows * scale
    keys_wanted = -(-wanted // key_frame_bytes(0, columns * rows))
    if keys_wanted * FRAMES_PER_KEY <= frames:
        return SimulatedVideo(name, columns, rows, milliseconds, frames, FRAMES_PER_KEY)
    return SimulatedVideo(name, columns, rows, milliseconds, max(frames, keys_wanted), 1)


class _Painter:
    """Diagonal waves of light over two colours; direction, pace and colours come from the name."""

    def __init__(self, name: str, columns: int, rows: int) -> None:
        digest = hashlib.sha256(name.encode()).digest()
        self._columns, self._rows = columns, rows
        self._slant, self._pace = digest[0] % 5 - 2, digest[1] % 3 + 1
        self._bend, self._start = digest[2] % 4 + 1, digest[3]
        self._palettes = [_palette(digest[4 + 2 * i], digest[5 + 2 * i]) for i in range(2)]

    def macroblocks(self, frame: int) -> list[bytes]:
        """All macroblocks of a frame, row by row."""
        shift = self._start + self._pace * frame
        near, far = self._palettes
        return [
            (near if (column + row * self._bend + frame // 4) % 8 < 5 else far)[
                (shift + 2 * column + self._slant * row) % SHADES
            ]
            for row in range(self._rows)
            for column in range(self._columns)
        ]


@lru_cache(maxsize=512)
def _palette(blue: int, red: int) -> list[bytes]:
    """A colour in all shades, each a macroblock with a soft gradient across it."""
    chroma = bytes([48 + blue % 160]) * 64 + bytes([48 + red % 160]) * 64
    shades = []
    for shade in range(SHADES):
        level = 40 + 6 * min(shade, SHADES - shade)
        shades.append(bytes(level + x + y for y in range(16) for x in range(16)) + chroma)
    return shades
