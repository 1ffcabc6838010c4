"""Request bodies and headers, read strictly and within limits; what they mean is not known here."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from typing import Any

from starlette.requests import Request

from gateway.api.services import services_of
from gateway.core.errors import InvalidContentType, InvalidRequest, Issue, PayloadTooLarge
from gateway.core.strictjson import NotStrictJson, parse_object
from gateway.orders import ClientGone

PARSED_ON_LOOP_BYTES_MAX = 256 * 1024
"""Parsing this much takes about a millisecond; more is done in a thread."""
TAGS_MAX = 8
_TAG = re.compile(r"[a-z0-9._-]{1,64}")
_JSON = re.compile(r"application/json\s*(;\s*charset\s*=\s*\"?utf-8\"?\s*)?;?", re.IGNORECASE)
IDEMPOTENCY_KEY_CHARACTERS_MAX = 255


async def read_object(request: Request, bytes_max: int | None = None) -> dict[str, Any]:
    """The JSON object in a request's body, numbers exact."""
    kind = header(request, b"content-type") or ""
    if kind != "application/json" and not _JSON.fullmatch(kind.strip()):
        raise InvalidContentType
    if (header(request, b"content-encoding") or "identity").lower() != "identity":
        raise InvalidContentType
    content = await _read(request, bytes_max or services_of(request).body_bytes_max)
    try:
        if len(content) <= PARSED_ON_LOOP_BYTES_MAX:
            return parse_object(content)
        return await asyncio.to_thread(parse_object, content)
    except NotStrictJson as error:
        raise InvalidRequest([Issue((), f"The request body cannot be read: {error}.")]) from error


def header(request: Request, name: bytes) -> str | None:
    """The first header of a lower-case name; decoded only where it is the one wanted."""
    headers: Iterable[tuple[bytes, bytes]] = request.scope["headers"]
    for key, value in headers:
        if key == name:
            return value.decode("latin-1")
    return None


def is_bodiless(request: Request) -> bool:
    """Whether the request says that it has no body (RFC 9112 6.3)."""
    length = header(request, b"content-length") or "0"
    return not length.strip("0") and header(request, b"transfer-encoding") is None


async def _read(request: Request, bytes_max: int) -> bytes:
    """The whole body; one that says or turns out to be too large is not read to its end."""
    stated = header(request, b"content-length")
    if stated is not None and stated.isdigit() and int(stated) > bytes_max:
        raise PayloadTooLarge(bytes_max)
    parts: list[bytes] = []
    size, is_last = 0, False
    while not is_last:
        message = await request.receive()
        if message["type"] != "http.request":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size > bytes_max:
            raise PayloadTooLarge(bytes_max)
        parts.append(part)
        is_last = not message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def is_tag(text: str) -> bool:
    """Whether a text can be a tag."""
    return _TAG.fullmatch(text) is not None


def read_tags(request: Request) -> tuple[str, ...]:
    """`X-Gateway-Tags: a,b`; `InvalidRequest` where they are too many or malformed."""
    text = request.headers.get("x-gateway-tags", "")
    tags = tuple(tag for part in text.split(",") if (tag := part.strip()))
    if len(tags) > TAGS_MAX or not all(map(is_tag, tags)):
        raise InvalidRequest(
            [
                Issue(
                    ("X-Gateway-Tags",),
                    f"At most {TAGS_MAX} tags of a-z 0-9 . _ - with up to 64 characters each.",
                )
            ]
        )
    return tags


def read_idempotency_key(request: Request) -> str | None:
    """The Idempotency-Key, if one was sent; `InvalidRequest` where it is malformed."""
    values = request.headers.getlist("idempotency-key")
    if not values:
        return None
    key = values[0]
    printable = key.isascii() and key.isprintable()
    if len(values) > 1 or not printable or not 0 < len(key) <= IDEMPOTENCY_KEY_CHARACTERS_MAX:
        what = f"Send one key of 1 to {IDEMPOTENCY_KEY_CHARACTERS_MAX} printable ASCII characters."
        raise InvalidRequest([Issue(("Idempotency-Key",), what)])
    return key


def read_wait(request: Request, seconds_max: int) -> float:
    """Seconds of `Prefer: wait=N` (RFC 7240); 0 where there is none."""
    preferred = header(request, b"prefer")
    if preferred is None:
        return 0.0
    match = re.search(r"\bwait=(\d{1,4})\b", preferred)
    return float(min(int(match[1]), seconds_max)) if match else 0.0
