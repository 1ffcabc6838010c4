"""How long the videos a request points at are: read from the mp4 itself, or made up from the URL.

Nothing is fetched: a web address always stands for the same imaginary clip.
"""

import base64
import binascii
import hashlib
import struct
from collections.abc import Iterator
from decimal import ROUND_CEILING, Decimal

from gateway.simulator.catalogue import ClipLimits

MILLISECOND = Decimal("0.001")
READABLE_TYPES = ("data:video/mp4", "data:video/quicktime")


def clip_seconds(url: str, limits: ClipLimits) -> Decimal | None:
    """Seconds of one clip, to the millisecond, rounded up; None where the file is unreadable."""
    if url.startswith(READABLE_TYPES):
        return _seconds_of_data_url(url)
    return _imaginary_seconds(url, limits)


def _imaginary_seconds(url: str, limits: ClipLimits) -> Decimal:
    number = int.from_bytes(hashlib.sha256(url.encode()).digest()[:8], "big")
    span = (limits.clip_max - limits.clip_min) * 1000 + 1
    return Decimal(limits.clip_min) + Decimal(number % span).scaleb(-3)


def _seconds_of_data_url(url: str) -> Decimal | None:
    _, comma, payload = url.partition(";base64,")
    if not comma:
        return None
    try:
        return _seconds_of_mp4(base64.b64decode(payload, validate=True))
    except (binascii.Error, struct.error):
        return None


def _seconds_of_mp4(data: bytes) -> Decimal | None:
    for name, movie in _boxes(data):
        if name != b"moov":
            continue
        for inner, header in _boxes(movie):
            if inner == b"mvhd":
                return _seconds_of_movie_header(header)
    return None


def _seconds_of_movie_header(header: bytes) -> Decimal | None:
    # ISO 14496-12, 8.2.2: version 1 has 64-bit times and duration.
    layout, offset = (">IQ", 20) if header[:1] == b"\x01" else (">II", 12)
    timescale, duration = struct.unpack_from(layout, header, offset)
    if timescale == 0:
        return None
    seconds: Decimal = Decimal(duration) / timescale
    return seconds.quantize(MILLISECOND, rounding=ROUND_CEILING)


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    offset = 0
    while offset + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, offset)
        header = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, offset + 8)
            header = 16
        elif size == 0:
            size = len(data) - offset
        if size < header:
            return
        yield name, data[offset + header : offset + size]
        offset += size
