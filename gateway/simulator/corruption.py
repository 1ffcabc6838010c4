"""Named ways in which a video can arrive broken although HTTP says that all is well."""

import struct
from collections.abc import Callable

from gateway.simulator.mp4 import box

_ERROR_PAGE = b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>\n"
_ERROR_JSON = b'{"error":"Inference processing failed"}'


def corrupted(name: str, video: bytes) -> bytes:
    """The video damaged in the named way. Raises KeyError for a name not in CORRUPTIONS."""
    return CORRUPTIONS[name](video)


def _find(video: bytes, wanted: bytes) -> tuple[int, int]:
    offset = 0
    while offset < len(video):
        size, name = struct.unpack_from(">I4s", video, offset)
        if name == wanted:
            return offset, offset + size
        offset += size
    raise ValueError(f"no {wanted!r} box")


def _without(wanted: bytes) -> Callable[[bytes], bytes]:
    def cut(video: bytes) -> bytes:
        begin, end = _find(video, wanted)
        return video[:begin] + video[end:]

    return cut


def _with_size(wanted: bytes, size: int) -> Callable[[bytes], bytes]:
    def resize(video: bytes) -> bytes:
        begin, _ = _find(video, wanted)
        return video[:begin] + struct.pack(">I", size) + video[begin + 4 :]

    return resize


def _overflowing(video: bytes) -> bytes:
    begin, end = _find(video, b"mdat")
    return video[:begin] + struct.pack(">I", end - begin + 4096) + video[begin + 4 :]


def _wrong_ftyp(video: bytes) -> bytes:
    return video[:4] + b"RIFF" + video[8:]


def _half(video: bytes) -> bytes:
    return video[: len(video) // 2]


def _one_byte_short(video: bytes) -> bytes:
    return video[:-1]


def _head_only(video: bytes) -> bytes:
    return video[: _find(video, b"ftyp")[1]]


def _cut_in_box_header(video: bytes) -> bytes:
    return video[: _find(video, b"mdat")[0] + 5]


def _trailing_garbage(video: bytes) -> bytes:
    return video + b"\xff\xfe\xfd" * 341


def _huge_box(video: bytes) -> bytes:
    begin, end = _find(video, b"mdat")
    header = struct.pack(">I4sQ", 1, b"mdat", 2**62)
    return video[:begin] + header + video[begin + 8 : end]


def _all_zero(video: bytes) -> bytes:
    return bytes(len(video))


def _shifted(video: bytes) -> bytes:
    return b"\r\n" + video


CORRUPTIONS: dict[str, Callable[[bytes], bytes]] = {
    "truncated": _half,
    "one_byte_short": _one_byte_short,
    "cut_in_box_header": _cut_in_box_header,
    "head_only": _head_only,
    "wrong_ftyp": _wrong_ftyp,
    "missing_ftyp": _without(b"ftyp"),
    "missing_moov": _without(b"moov"),
    "missing_mdat": _without(b"mdat"),
    "empty_mdat_only": lambda video: _head_only(video) + box(b"mdat"),
    "box_size_overflow": _overflowing,
    "box_size_too_small": _with_size(b"moov", 4),
    "box_size_64_bit_overflow": _huge_box,
    "trailing_garbage": _trailing_garbage,
    "shifted": _shifted,
    "zero_bytes": _all_zero,
    "empty": lambda _: b"",
    "html": lambda _: _ERROR_PAGE,
    "json": lambda _: _ERROR_JSON,
}
