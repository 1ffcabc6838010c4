"""Whether bytes are a whole mp4, by walking its boxes (ISO/IEC 14496-12), and how long it plays.

It reads box headers only and decodes nothing: a video that passes is whole, not necessarily good.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

ReadAt = Callable[[int, int], bytes]
"""Bytes at an offset: `read_at(offset, length)`, shorter at the end."""

BOXES_MAX = 100_000
"""A fragmented hour has some 10,000 boxes; a file of tiny boxes must not cost minutes."""
HEADER_BYTES_MAX = 120
"""The longest of the headers read here, `mvhd` and `mdhd`, have 112 bytes."""
TIME_RUNS_MAX = 100_000
"""Entries of a track's table of times: a steady frame rate needs one."""


class BrokenVideo(ValueError):
    """The bytes are not a whole mp4; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Box:
    """One box: its four-letter kind, where its payload starts, and where it ends."""

    kind: bytes
    payload: int
    end: int


def walk(read_at: ReadAt, start: int, end: int) -> Iterator[Box]:
    """The boxes between two offsets, in order; `BrokenVideo` where they do not fill the range."""
    offset = start
    for _ in range(BOXES_MAX):
        if offset == end:
            return
        box = _box_at(read_at, offset, end)
        yield box
        offset = box.end
    if offset != end:
        raise BrokenVideo(f"more than {BOXES_MAX} boxes")


def _box_at(read_at: ReadAt, offset: int, end: int) -> Box:
    header = read_at(offset, 16)
    if end - offset < 8 or len(header) < 8:
        raise BrokenVideo(f"{end - offset} stray bytes at offset {offset}")
    size, kind = struct.unpack_from(">I4s", header)
    payload = offset + 8
    if size == 1:
        if len(header) < 16:
            raise BrokenVideo(f"a cut 64-bit size at offset {offset}")
        size = struct.unpack_from(">Q", header, 8)[0]
        payload = offset + 16
    elif size == 0:
        size = end - offset
    if size < payload - offset:
        raise BrokenVideo(f"a box of {size} bytes at offset {offset} is smaller than its header")
    if offset + size > end:
        raise BrokenVideo(
            f"box {_printable(kind)} at offset {offset} ends {offset + size - end} bytes too late"
        )
    return Box(kind, payload, offset + size)


def _printable(kind: bytes) -> str:
    return kind.decode("latin-1") if kind.isalnum() else kind.hex()


def check_whole(read_at: ReadAt, size: int) -> None:
    """Return if the file is a whole mp4; else `BrokenVideo`.

    Whole means: `ftyp` first, every box inside the file, the last ending exactly at its end, an
    index (`moov` or `moof`) and media (`mdat`) that is not empty.
    """
    kinds: set[bytes] = set()
    for box in walk(read_at, 0, size):
        if not kinds and box.kind != b"ftyp":
            raise BrokenVideo(f"it begins with {_printable(box.kind)}, not with ftyp")
        if box.kind == b"mdat" and box.end == box.payload:
            continue
        kinds.add(box.kind)
    if not kinds:
        raise BrokenVideo("it is empty")
    if not kinds & {b"moov", b"moof"}:
        raise BrokenVideo("it has no index: neither moov nor moof")
    if b"mdat" not in kinds:
        raise BrokenVideo("it has no media: mdat is missing or empty")


def duration_seconds(read_at: ReadAt, size: int) -> Fraction:
    """How long the video plays, in seconds; `BrokenVideo` where that cannot be told.

    The longest of what the movie header states and what each track's table of times adds up to: a
    header alone could claim less than is there. A fragmented file keeps its times elsewhere.
    """
    movie = None
    for box in walk(read_at, 0, size):
        if box.kind == b"moof":
            raise BrokenVideo("it is fragmented: its length is not stated in one place")
        if box.kind == b"moov":
            movie = box
    if movie is None:
        raise BrokenVideo("it has no movie header")
    stated: Fraction | None = None
    longest = Fraction(0)
    for box in walk(read_at, movie.payload, movie.end):
        if box.kind == b"mvhd":
            stated = _stated_seconds(_header(read_at, box))
        elif box.kind == b"trak":
            longest = max(longest, _track_seconds(read_at, box))
    if stated is None:
        raise BrokenVideo("it has no movie header")
    return max(stated, longest)


def _header(read_at: ReadAt, box: Box) -> bytes:
    return read_at(box.payload, min(HEADER_BYTES_MAX, box.end - box.payload))


def _inner(read_at: ReadAt, outer: Box, *kinds: bytes) -> Box | None:
    """The first box of each kind inside the one before."""
    found: Box | None = outer
    for kind in kinds:
        if found is not None:
            boxes = walk(read_at, found.payload, found.end)
            found = next((box for box in boxes if box.kind == kind), None)
    return found


def _track_seconds(read_at: ReadAt, track: Box) -> Fraction:
    """The sum of a track's sample durations (`stts`, ISO/IEC 14496-12 section 8.6.1.2)."""
    header = _inner(read_at, track, b"mdia", b"mdhd")
    table = _inner(read_at, track, b"mdia", b"minf", b"stbl", b"stts")
    if header is None or table is None:
        return Fraction(0)
    timescale, _ = _times_in(_header(read_at, header))
    entries = read_at(table.payload + 8, min(table.end - table.payload - 8, 8 * TIME_RUNS_MAX + 8))
    if len(entries) > 8 * TIME_RUNS_MAX:
        raise BrokenVideo("a track's table of times is too long")
    runs = struct.iter_unpack(">II", entries[: len(entries) // 8 * 8])
    return Fraction(sum(count * delta for count, delta in runs), timescale)


def _stated_seconds(mvhd: bytes) -> Fraction:
    timescale, duration = _times_in(mvhd)
    # All ones mean unknown (section 8.2.2.3).
    if not duration or duration in (2**32 - 1, 2**64 - 1):
        raise BrokenVideo("its movie header states no duration")
    return Fraction(duration, timescale)


def _times_in(header: bytes) -> tuple[int, int]:
    """Timescale and duration of an `mvhd` or `mdhd`, whose beginnings are alike."""
    try:
        layout, offset = (">IQ", 20) if header[0] == 1 else (">II", 12)
        timescale, duration = struct.unpack_from(layout, header, offset)
    except (struct.error, IndexError) as error:
        raise BrokenVideo("one of its headers is cut") from error
    if not timescale:
        raise BrokenVideo("one of its headers has no timescale")
    return timescale, duration
