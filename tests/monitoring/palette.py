"""Makes a screenshot small: a PNG of 8-bit RGB or RGBA becomes one of at most 256 colours.

Drawings have few colours and their text many shades of two; browsers write them all in full.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOURS_MAX = 256
CHANNELS = {2: 3, 6: 4}
"""Bytes a pixel of the two kinds that browsers write (PNG specification, table 11.1)."""

Colour = tuple[int, int, int]


def reduced(png: bytes) -> bytes:
    """The same picture with a palette; its alpha, which a screenshot does not use, is dropped."""
    chunks = list(_chunks(png))
    width, height, depth, kind, *_ = struct.unpack(">IIBBBBB", chunks[0][1])
    assert depth == 8, "a browser's own"
    channels = CHANNELS[kind]
    packed = b"".join(body for name, body in chunks if name == b"IDAT")
    rows = list(_rows(zlib.decompress(packed), width * channels, channels))
    pixels = [
        [(row[x], row[x + 1], row[x + 2]) for x in range(0, len(row), channels)] for row in rows
    ]
    counts = Counter(colour for row in pixels for colour in row)
    palette = [colour for colour, _ in counts.most_common(COLOURS_MAX)]
    places = {colour: number for number, colour in enumerate(palette)}
    places |= {colour: _nearest(colour, palette) for colour in counts if colour not in places}
    lines = b"".join(b"\0" + bytes(places[colour] for colour in row) for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = [(b"IHDR", head), (b"PLTE", bytes(part for colour in palette for part in colour))]
    parts += [(b"IDAT", zlib.compress(lines, 9)), (b"IEND", b"")]
    return SIGNATURE + b"".join(_chunk(name, body) for name, body in parts)


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += length + 12


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _rows(data: bytes, length: int, step: int) -> Iterator[bytearray]:
    """The rows with their filters undone (PNG specification, section 9)."""
    above = bytearray(length)
    for start in range(0, len(data), length + 1):
        kind, row = data[start], bytearray(data[start + 1 : start + 1 + length])
        for x in range(length):
            left = row[x - step] if x >= step else 0
            corner = above[x - step] if x >= step else 0
            row[x] = (row[x] + _predicted(kind, left, above[x], corner)) & 0xFF
        yield row
        above = row


def _predicted(kind: int, left: int, up: int, corner: int) -> int:
    if kind < 4:
        return (0, left, up, (left + up) // 2)[kind]
    guess = left + up - corner
    return min((left, up, corner), key=lambda near: abs(guess - near))


def _nearest(colour: Colour, palette: list[Colour]) -> int:
    red, green, blue = colour

    def distance(number: int) -> int:
        other = palette[number]
        return (red - other[0]) ** 2 + (green - other[1]) ** 2 + (blue - other[2]) ** 2

    return min(range(len(palette)), key=distance)
