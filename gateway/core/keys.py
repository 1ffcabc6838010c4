"""What a gateway key looks like, how a typing error in one is found, and what is stored of it.

A key reads `vgw_<id>_<secret><checksum>`. Only its SHA-256 is ever kept; random bytes come in
from the caller.
"""

from __future__ import annotations

import hashlib
import re
import string
import zlib
from dataclasses import dataclass

KEY_PREFIX = "vgw_"
ADMIN_KEY_PREFIX = "vga_"
ID_CHARACTERS = 10
SECRET_CHARACTERS = 32
"""32 of 62 characters are 190 bits: beyond guessing, so a plain SHA-256 is enough to store."""
CHECKSUM_CHARACTERS = 6
KEY_CHARACTERS_MAX = 128
"""Nothing longer is looked at: a real key has 53 characters."""

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SHAPE = re.compile(
    rf"(vgw|vga)_([0-9A-Za-z]{{{ID_CHARACTERS}}})_"
    rf"([0-9A-Za-z]{{{SECRET_CHARACTERS}}})([0-9A-Za-z]{{{CHECKSUM_CHARACTERS}}})"
)


@dataclass(frozen=True, slots=True)
class ParsedKey:
    """The parts of a well-formed key that may be shown."""

    id: str
    is_admin: bool


def base62(number: int, width: int) -> str:
    """A number in so many digits and letters; as texts they are ordered as the numbers are."""
    digits = []
    for _ in range(width):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def random_text(random_bytes: bytes, width: int) -> str:
    """`width` letters and digits from at least `width` random bytes."""
    assert len(random_bytes) >= width, "too few random bytes for the text to be unguessable"
    number = int.from_bytes(random_bytes, "big")
    return base62(number, width)


def _checksum(body: str) -> str:
    return base62(zlib.crc32(body.encode("ascii")), CHECKSUM_CHARACTERS)


def compose(key_id: str, secret: str, *, admin: bool = False) -> str:
    """The whole key as its owner sees it, once."""
    body = f"{ADMIN_KEY_PREFIX if admin else KEY_PREFIX}{key_id}_{secret}"
    return body + _checksum(body)


def parse(text: str) -> ParsedKey | None:
    """The id inside a key, or None where shape or checksum are wrong."""
    if len(text) > KEY_CHARACTERS_MAX:
        return None
    match = _SHAPE.fullmatch(text)
    if match is None or _checksum(text[:-CHECKSUM_CHARACTERS]) != match[4]:
        return None
    return ParsedKey(id=match[2], is_admin=match[1] == "vga")


def digest(text: str) -> str:
    """What is stored and compared instead of a key or a request: SHA-256, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
