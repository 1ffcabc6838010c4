"""The boxes around one H.264 track, index first; no audio, no fragments (ISO 14496-12)."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.simulator.h264 import (
    MACROBLOCK_PIXELS,
    level_for,
    picture_parameters,
    sequence_parameters,
)

MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
TIMESCALE = 1000
_LANGUAGE_UNDETERMINED = 0x55C4
_SELF_CONTAINED = b"\x00\x00\x00\x01"


@dataclass(frozen=True)
class Track:
    """What the index says: size in macroblocks, frame sizes in bytes, key frames, milliseconds."""

    columns: int
    rows: int
    frame_bytes: Sequence[int]
    key_frames: Sequence[int]
    milliseconds: int


def box(name: bytes, *content: bytes) -> bytes:
    """One box of the given four-letter type."""
    payload = b"".join(content)
    return struct.pack(">I4s", len(payload) + 8, name) + payload


def file_head(track: Track, label: str) -> bytes:
    """Everything before the frames: ``ftyp``, a label, ``moov`` and the header of ``mdat``."""
    front = box(b"ftyp", b"isom", struct.pack(">I", 0x200), b"isomiso2avc1mp41")
    front += box(b"free", label.encode())
    # The index holds the offset of the frames, whose place depends on the size of the index.
    offset = len(front) + len(_movie(track, 0)) + 8
    frames = sum(track.frame_bytes)
    return front + _movie(track, offset) + struct.pack(">I4s", frames + 8, b"mdat")


def _full(name: bytes, *content: bytes, flags: bytes = b"\x00\x00\x00\x00") -> bytes:
    return box(name, flags, *content)


def _movie(track: Track, offset: int) -> bytes:
    header = struct.pack(">4I2H", 0, 0, TIMESCALE, track.milliseconds, 1, 0)
    # rate 1.0 (16.16) was packed as two halves; volume 1.0 and reserved bytes follow
    header += struct.pack(">H10x", 0x0100) + MATRIX + bytes(24) + struct.pack(">I", 2)
    return box(b"moov", _full(b"mvhd", header), _track(track, offset))


def _track(track: Track, offset: int) -> bytes:
    width, height = track.columns * MACROBLOCK_PIXELS, track.rows * MACROBLOCK_PIXELS
    header = struct.pack(">5I8x4H", 0, 0, 1, 0, track.milliseconds, 0, 0, 0, 0) + MATRIX
    header += struct.pack(">II", width << 16, height << 16)
    media = _full(b"mdhd", struct.pack(">4I", 0, 0, TIMESCALE, track.milliseconds),
                  struct.pack(">2H", _LANGUAGE_UNDETERMINED, 0))  # fmt: skip
    handler = _full(b"hdlr", bytes(4), b"vide", bytes(12), b"video\x00")
    reference = box(b"dinf", _full(b"dref", struct.pack(">I", 1),
                                   _full(b"url ", flags=_SELF_CONTAINED)))  # fmt: skip
    information = box(b"minf", _full(b"vmhd", bytes(8), flags=_SELF_CONTAINED), reference,
                      _sample_table(track, width, height, offset))  # fmt: skip
    return box(b"trak", _full(b"tkhd", header, flags=b"\x00\x00\x00\x03"),
               box(b"mdia", media, handler, information))  # fmt: skip


def _sample_table(track: Track, width: int, height: int, offset: int) -> bytes:
    count = len(track.frame_bytes)
    step = track.milliseconds // count
    times = struct.pack(">5I", 2, count - 1, step, 1, track.milliseconds - step * (count - 1))
    keys = struct.pack(f">{len(track.key_frames) + 1}I", len(track.key_frames),
                       *(frame + 1 for frame in track.key_frames))  # fmt: skip
    sizes = struct.pack(f">{count + 2}I", 0, count, *track.frame_bytes)
    return box(
        b"stbl",
        _full(b"stsd", struct.pack(">I", 1), _sample_entry(track, width, height)),
        _full(b"stts", times),
        _full(b"stss", keys),
        _full(b"stsc", struct.pack(">4I", 1, 1, count, 1)),
        _full(b"stsz", sizes),
        _full(b"stco", struct.pack(">2I", 1, offset)),
    )


def _sample_entry(track: Track, width: int, height: int) -> bytes:
    sps, pps = sequence_parameters(track.columns, track.rows), picture_parameters()
    configuration = struct.pack(">4B", 1, 66, 0xC0, level_for(track.columns, track.rows))
    configuration += b"\xff\xe1" + struct.pack(">H", len(sps)) + sps
    configuration += b"\x01" + struct.pack(">H", len(pps)) + pps
    entry = struct.pack(">6xH16x2H2I4xH32xHh", 1, width, height, 0x480000, 0x480000, 1, 24, -1)
    return box(b"avc1", entry, box(b"avcC", configuration))
