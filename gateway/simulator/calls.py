"""One request as the stand-in sees it: who calls which door about what."""

import hashlib
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from gateway.simulator.json_text import from_json

# Clients send data URLs of 200 MB; beyond that Venice answers 413.
BODY_BYTES_MAX = 256 * 1024 * 1024
KEY_DIGITS = 8
JOB_ENDPOINTS = frozenset({"retrieve", "complete"})


class BodyTooLarge(Exception):
    """More bytes than any door takes."""


@dataclass
class Call:
    """A request after reading. ``body`` is None where it was no JSON object."""

    endpoint: str
    request: Request
    at: float
    token: str | None
    body: dict[str, Any] | None
    model: str | None = None
    queue_id: str | None = None
    prompt: str | None = None
    prompt_sha256: str | None = None
    seq: int = 0

    @property
    def key(self) -> str | None:
        """The first digits of the key's SHA-256, enough to tell keys apart."""
        return None if self.token is None else key_digits(self.token)


def key_digits(token: str) -> str:
    """How a key is named in the truth ledger."""
    return hashlib.sha256(token.encode()).hexdigest()[:KEY_DIGITS]


async def read_call(endpoint: str, request: Request, at: float) -> Call:
    """Read a request to its end. Raises BodyTooLarge, or ClientDisconnect if the client left."""
    body = _json_object(await _read_body(request))
    fields = body or {}
    prompt = _text(fields.get("prompt"))
    return Call(
        endpoint=endpoint,
        request=request,
        at=at,
        token=_bearer_token(request),
        body=body,
        model=_text(fields.get("model")),
        queue_id=_text(fields.get("queue_id")) if endpoint in JOB_ENDPOINTS else None,
        prompt=prompt,
        prompt_sha256=None if prompt is None else sha256(prompt),
    )


def sha256(text: str) -> str:
    # JSON can carry lone surrogates, which have no UTF-8 form.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


async def _read_body(request: Request) -> bytes:
    chunks = bytearray()
    async for chunk in request.stream():
        chunks += chunk
        if len(chunks) > BODY_BYTES_MAX:
            raise BodyTooLarge
    return bytes(chunks)


def _json_object(data: bytes) -> dict[str, Any] | None:
    try:
        value = from_json(data)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _bearer_token(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
