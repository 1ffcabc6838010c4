"""What an answer of Venice's means: status, headers and body in, a `Reply` with its outcome out.

Pure: it reads no socket and knows no client library.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gateway.core.retry import Outcome, stated_wait
from gateway.core.strictjson import NotStrictJson, parse
from gateway.ports import Reply

HEADER_PREFIXES = ("x-ratelimit-", "x-venice-model-deprecation-")
HEADER_NAMES = frozenset(
    {"retry-after", "x-venice-balance-usd", "x-venice-balance-diem", "content-type"}
)
"""The headers the gateway has a use for; no other one leaves this module."""
HEADER_CHARACTERS_MAX = 1_024
"""A deprecation warning is a sentence or two; anything longer is not meant for us."""
HEADERS_MAX = 32
"""Venice sends some ten of those; ten thousand would be an attack on whoever copies them."""

_BLOCK_WORDS = re.compile(r"failed requests", re.IGNORECASE)


def kept_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The allowed headers, lower-case names, the first of each, printable ASCII only."""
    kept: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1").strip()
        if name not in HEADER_NAMES and not name.startswith(HEADER_PREFIXES):
            continue
        if len(value) <= HEADER_CHARACTERS_MAX and value.isascii() and value.isprintable():
            kept.setdefault(name, value)
        if len(kept) >= HEADERS_MAX:
            break
    return kept


def media_type(headers: Mapping[str, str]) -> str:
    """The content type without parameters, lower-case; empty where there is none."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


IsVideo = Callable[[int, Mapping[str, str]], bool]
"""Whether an answer with this status and these headers is a video."""


def is_mp4(status: int, headers: Mapping[str, str]) -> bool:
    """Whether a retrieve is being answered with the video."""
    return _is_plain_ok(status, headers) and media_type(headers) == "video/mp4"


def is_file(status: int, headers: Mapping[str, str]) -> bool:
    """Whether a link delivers: anything but what calls itself JSON or text."""
    kind = media_type(headers)
    is_words = kind == "application/json" or kind.startswith("text/")
    return _is_plain_ok(status, headers) and not is_words


def is_never_a_video(status: int, headers: Mapping[str, str]) -> bool:  # noqa: ARG001
    """For calls whose answer is JSON whatever it says of itself."""
    return False


def _is_plain_ok(status: int, headers: Mapping[str, str]) -> bool:
    # A packed video has no length to check it by, and packing one again gains nothing.
    return status == 200 and headers.get("content-encoding", "").lower() in ("", "identity")


def promised_bytes(headers: Mapping[str, str]) -> int | None:
    """The length that the framing promises; None where it promises only an end (RFC 9112, 6.3)."""
    text = headers.get("content-length", "")
    if "transfer-encoding" in headers or not (text.isascii() and text.isdigit()):
        return None
    return int(text)


def read_answer(
    status: int,
    headers: Mapping[str, str],
    body: bytes | None,
    *,
    now: float,
    flaw: Outcome = Outcome.LOST,
    json_is_due: bool = True,
) -> Reply:
    """The reply that an answer amounts to.

    `body` is None where it did not come whole or cannot be read; `flaw` is what that makes of an
    answer whose meaning is in its body. `now` is Unix time in seconds.
    """
    document = None if body is None else _document(body)
    outcome = _outcome(status, headers, document, json_is_due=json_is_due)
    if body is None and status == 200:
        outcome = flaw
    return Reply(
        outcome=outcome,
        status=status,
        body=body or b"",
        document=document,
        headers=headers,
        stated_wait=_stated_wait(outcome, headers, now),
    )


def _document(body: bytes) -> Any:
    try:
        return parse(body)
    except NotStrictJson:
        return None


def _outcome(
    status: int, headers: Mapping[str, str], document: Any, *, json_is_due: bool
) -> Outcome:
    if 200 <= status < 300:
        # Every JSON answer of Venice's is an object with status 200 (its OpenAPI file). A 202
        # to an order might be an acceptance in words nobody knows: nonsense, and so in doubt.
        is_answer = status == 200 and isinstance(document, dict)
        return Outcome.OK if is_answer or not json_is_due else Outcome.NONSENSE
    if status == 429:
        return Outcome.BLOCKED if is_block(headers, document) else Outcome.RATE_LIMITED
    if 400 <= status < 500:
        return Outcome.REFUSED
    if status == 500 and isinstance(document, dict) and document.get("error") is not None:
        return Outcome.SERVER_ERROR
    if status == 503:
        return Outcome.UNAVAILABLE
    return Outcome.LOST if 500 <= status < 600 else Outcome.NONSENSE


def is_block(headers: Mapping[str, str], document: Any = None) -> bool:
    """Whether a 429 is the abuse block: the unsuffixed pair, or its words, without the `-requests`
    headers of an ordinary limit."""
    if "x-ratelimit-remaining-requests" in headers:
        return False
    if headers.get("x-ratelimit-remaining") == "0" and "x-ratelimit-resets" in headers:
        return True
    error = document.get("error") if isinstance(document, dict) else None
    return isinstance(error, str) and bool(_BLOCK_WORDS.search(error))


def _stated_wait(outcome: Outcome, headers: Mapping[str, str], now: float) -> float | None:
    """What Venice asks for; a 503's rate headers are about the window, not about its capacity."""
    if outcome in (Outcome.RATE_LIMITED, Outcome.BLOCKED):
        return stated_wait(headers, now)
    if outcome is Outcome.UNAVAILABLE and "retry-after" in headers:
        return stated_wait({"retry-after": headers["retry-after"]}, now)
    return None
