"""The smallest H.264 that really plays: raw macroblocks in key frames, skipped ones between.

Constrained baseline; pixels are stored as they are (I_PCM), so nothing is compressed and every
sample must be 16 or more: then no start code can arise in them (ITU-T H.264, 7.4.1).
"""

from collections.abc import Sequence

MACROBLOCK_PIXELS = 16
MACROBLOCK_BYTES = 384  # 256 of luma, 64 of each chroma plane
# mb_type I_PCM as ue(25), padded to whole bytes; written before each macroblock but the first.
_PCM_HEADER = b"\x0d\x00"
_PCM_TYPE = 25
_TRAILING = b"\x80"
_SLICE_P, _SLICE_I = 5, 7  # "all slices of this picture are of this type"
_FRAME_NUM_BITS = 4
LEVEL_SMALL, LEVEL_LARGE = 30, 51
LEVEL_SMALL_MACROBLOCKS_MAX = 1620  # of level 3.0


class _Bits:
    """A bit string under construction, most significant bit first."""

    def __init__(self) -> None:
        self._bits: list[str] = []

    def fixed(self, value: int, width: int) -> "_Bits":
        self._bits.append(f"{value:0{width}b}")
        return self

    def golomb(self, *values: int) -> "_Bits":
        for value in values:
            text = f"{value + 1:b}"
            self._bits.append("0" * (len(text) - 1) + text)
        return self

    def bytes_with_stop_bit(self) -> bytes:
        self._bits.append("1")
        return self.aligned_bytes()

    def aligned_bytes(self) -> bytes:
        text = "".join(self._bits)
        text += "0" * (-len(text) % 8)
        return int(text, 2).to_bytes(len(text) // 8, "big")


def level_for(columns: int, rows: int) -> int:
    """``level_idc`` that allows frames of so many macroblocks."""
    return LEVEL_SMALL if columns * rows <= LEVEL_SMALL_MACROBLOCKS_MAX else LEVEL_LARGE


def sequence_parameters(columns: int, rows: int) -> bytes:
    """The SPS unit for frames of ``columns`` by ``rows`` macroblocks."""
    bits = _Bits().fixed(66, 8).fixed(0xC0, 8).fixed(level_for(columns, rows), 8)
    # id, frame_num bits - 4, order of output = order of decoding, one reference frame
    bits.golomb(0, _FRAME_NUM_BITS - 4, 2, 1).fixed(0, 1)
    bits.golomb(columns - 1, rows - 1)
    bits.fixed(1, 1).fixed(1, 1).fixed(0, 1).fixed(0, 1)
    return b"\x67" + _escaped(bits.bytes_with_stop_bit())


def picture_parameters() -> bytes:
    """The PPS unit: CAVLC, deblocking left to each slice."""
    bits = _Bits().golomb(0, 0).fixed(0, 2).golomb(0, 0, 0)
    bits.fixed(0, 3).golomb(0, 0, 0).fixed(0b100, 3)
    return b"\x68" + bits.bytes_with_stop_bit()


def key_frame_head(number: int) -> bytes:
    """The start of an IDR unit, up to the first macroblock's samples."""
    # Neighbouring IDR pictures must differ in idr_pic_id.
    bits = _Bits().golomb(0, _SLICE_I, 0).fixed(0, _FRAME_NUM_BITS).golomb(number % 2)
    bits.fixed(0, 2).golomb(0, 1, _PCM_TYPE)
    return b"\x65" + _escaped(bits.aligned_bytes())


def key_frame_bytes(number: int, macroblocks: int) -> int:
    """The size of ``key_frame`` without building it."""
    separators = (macroblocks - 1) * len(_PCM_HEADER)
    samples = macroblocks * MACROBLOCK_BYTES
    return len(key_frame_head(number)) + samples + separators + len(_TRAILING)


def key_frame(number: int, macroblocks: Sequence[bytes]) -> bytes:
    """A whole picture from its macroblocks, row by row; each MACROBLOCK_BYTES long."""
    return key_frame_head(number) + _PCM_HEADER.join(macroblocks) + _TRAILING


def skipped_frame(frames_since_key: int, macroblocks: int) -> bytes:
    """A picture that repeats the one before it; the first after a key frame is number 1."""
    bits = _Bits().golomb(0, _SLICE_P, 0)
    bits.fixed(frames_since_key % 2**_FRAME_NUM_BITS, _FRAME_NUM_BITS)
    bits.fixed(0, 3).golomb(0, 1, macroblocks)
    return b"\x61" + _escaped(bits.bytes_with_stop_bit())


def _escaped(payload: bytes) -> bytes:
    escaped = bytearray()
    zeros = 0
    for byte in payload:
        if zeros >= 2 and byte <= 3:
            escaped.append(3)
            zeros = 0
        escaped.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(escaped)
