"""A whole mp4 passes, every way of cutting or corrupting one is found, and its length is not taken
from the header's word alone."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.mp4 import (
    BOXES_MAX,
    TIME_RUNS_MAX,
    BrokenVideo,
    check_whole,
    duration_seconds,
)

TIMESCALE = 1_000


def box(kind: bytes, *parts: bytes) -> bytes:
    payload = b"".join(parts)
    return struct.pack(">I4s", 8 + len(payload), kind) + payload


def mvhd(
    duration: int, timescale: int = TIMESCALE, version: int = 0, kind: bytes = b"mvhd"
) -> bytes:
    if version == 1:
        times = struct.pack(">IQQIQ", 1 << 24, 0, 0, timescale, duration)
    else:
        times = struct.pack(">IIIII", 0, 0, 0, timescale, duration)
    return box(kind, times, bytes(80))


def trak(*runs: tuple[int, int], timescale: int = TIMESCALE) -> bytes:
    times = struct.pack(">II", 0, len(runs)) + b"".join(struct.pack(">II", *run) for run in runs)
    table = box(b"minf", box(b"stbl", box(b"stsd", bytes(8)), box(b"stts", times)))
    return box(b"trak", box(b"mdia", mvhd(0, timescale, kind=b"mdhd"), table))


FTYP = box(b"ftyp", b"isom", bytes(4), b"isommp42")
MDAT = box(b"mdat", bytes(range(256)) * 8)
MOOV = box(b"moov", mvhd(5_000), trak((125, 40)))
WHOLE = FTYP + MOOV + MDAT
FRAGMENT = box(b"moof", box(b"mfhd", bytes(8))) + MDAT
LONG_MDAT = struct.pack(">I4sQ", 1, b"mdat", 16 + 2_048) + bytes(2_048)
ENDLESS_MDAT = struct.pack(">I4s", 0, b"mdat") + bytes(2_048)


def check(content: bytes) -> None:
    check_whole(lambda at, length: content[at : at + length], len(content))


def seconds(content: bytes) -> Fraction:
    return duration_seconds(lambda at, length: content[at : at + length], len(content))


@pytest.mark.parametrize(
    "content",
    [
        WHOLE,
        FTYP + MDAT + MOOV,
        FTYP + box(b"free") + MOOV + MDAT,
        FTYP + box(b"mdat") + MOOV + MDAT,
        FTYP + MOOV + FRAGMENT + FRAGMENT,
        FTYP + MOOV + LONG_MDAT,
        FTYP + MOOV + ENDLESS_MDAT,
    ],
)
def test_a_whole_video_passes(content: bytes) -> None:
    check(content)


def resized(content: bytes, size: int) -> bytes:
    """The same with another size written into its second box."""
    return content[: len(FTYP)] + struct.pack(">I", size) + content[len(FTYP) + 4 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "a byte short": lambda whole: whole[:-1],
    "a byte long": lambda whole: whole + b"\0",
    "half of it": lambda whole: whole[: len(whole) // 2],
    "cut in a box's header": lambda whole: whole[: len(FTYP) + 5],
    "cut after ftyp": lambda _: FTYP,
    "cut before its media": lambda _: FTYP + MOOV,
    "without its index": lambda _: FTYP + MDAT,
    "with empty media": lambda _: FTYP + MOOV + box(b"mdat"),
    "without its beginning": lambda whole: whole[len(FTYP) :],
    "an error page instead": lambda _: b"<html><body>502 Bad Gateway</body></html>",
    "JSON instead": lambda _: b'{"status":"PROCESSING","average_execution_time":145000}',
    "zeros from the middle on": lambda whole: whole[:40] + bytes(len(whole) - 40),
    "a size that runs past the end": lambda whole: resized(whole, 0x7FFFFFFF),
    "a size smaller than a header": lambda whole: resized(whole, 7),
    "a cut 64-bit size": lambda _: FTYP + MOOV + struct.pack(">I4sI", 1, b"mdat", 0),
    "a 64-bit size smaller than a header": lambda _: FTYP + struct.pack(">I4sQ", 1, b"mdat", 15),
    "the first kilobyte missing": lambda whole: whole[1_024:],
    "its halves swapped": lambda whole: whole[len(whole) // 2 :] + whole[: len(whole) // 2],
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found(damage: str) -> None:
    with pytest.raises(BrokenVideo):
        check(DAMAGES[damage](WHOLE))


@given(st.integers(0, len(WHOLE) - 1))
def test_every_truncation_is_found(length: int) -> None:
    with pytest.raises(BrokenVideo):
        check(WHOLE[:length])


@given(st.binary(max_size=4_096))
def test_no_bytes_make_the_check_crash(content: bytes) -> None:
    with pytest.raises(BrokenVideo):
        check(content)
    with pytest.raises(BrokenVideo):
        seconds(FTYP + content)


@given(st.data())
def test_no_damaged_header_makes_the_measuring_crash(data: st.DataObject) -> None:
    content = bytearray(FTYP + MOOV)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(BrokenVideo):
        assert seconds(bytes(content)) > 0


def test_a_file_of_tiny_boxes_costs_a_bounded_number_of_reads() -> None:
    three = FTYP + MOOV + MDAT
    check(three + box(b"free") * (BOXES_MAX - 3))
    with pytest.raises(BrokenVideo, match="more than 100000 boxes"):
        check(three + box(b"free") * (BOXES_MAX - 2))


@pytest.mark.parametrize(
    ("moov", "length"),
    [
        (box(b"moov", mvhd(5_000)), Fraction(5)),
        (box(b"moov", mvhd(12_345, version=1)), Fraction(12_345, 1_000)),
        (box(b"moov", mvhd(5_005, 1_001)), Fraction(5)),
        (box(b"moov", mvhd(5_000), trak((125, 40))), Fraction(5)),
        (
            box(b"moov", mvhd(5_000), trak((10, 40)), trak((480_000, 1), timescale=48_000)),
            Fraction(10),
        ),
        # the header claims a moment, the samples know better
        (box(b"moov", mvhd(1), trak((375, 40))), Fraction(15)),
        (box(b"moov", trak((1, 40), (374, 40)), mvhd(1)), Fraction(15)),
    ],
)
def test_a_videos_length_is_the_longest_it_could_be(moov: bytes, length: Fraction) -> None:
    assert seconds(FTYP + moov + MDAT) == length


@pytest.mark.parametrize(
    "content",
    [
        FTYP + MDAT,
        FTYP + box(b"moov", box(b"free")) + MDAT,
        FTYP + box(b"moov", trak((125, 40))) + MDAT,
        FTYP + box(b"moov", mvhd(0)) + MDAT,
        FTYP + box(b"moov", mvhd(2**32 - 1)) + MDAT,
        FTYP + box(b"moov", mvhd(2**64 - 1, version=1)) + MDAT,
        FTYP + box(b"moov", mvhd(5_000, 0)) + MDAT,
        FTYP + box(b"moov", mvhd(5_000), trak((1, 1), timescale=0)) + MDAT,
        FTYP + MOOV + FRAGMENT,
    ],
)
def test_a_length_that_nobody_can_tell_is_not_made_up(content: bytes) -> None:
    with pytest.raises(BrokenVideo):
        seconds(content)


def test_a_short_header_is_not_read_into_the_box_behind_it() -> None:
    short = box(b"mvhd", bytes(8))
    with pytest.raises(BrokenVideo, match="cut"):
        seconds(FTYP + box(b"moov", short, mvhd(5_000)) + MDAT)


def test_a_table_of_times_too_long_to_add_up_is_refused() -> None:
    longest = trak(*[(1, 1)] * TIME_RUNS_MAX)
    assert seconds(FTYP + box(b"moov", mvhd(1), longest) + MDAT) == TIME_RUNS_MAX // TIMESCALE
    longer = trak(*[(1, 1)] * (TIME_RUNS_MAX + 1))
    with pytest.raises(BrokenVideo, match="too long"):
        seconds(FTYP + box(b"moov", mvhd(1), longer) + MDAT)
