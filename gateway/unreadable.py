"""What a client is told whose bytes make no request: a whole answer, before any door is known."""

from __future__ import annotations

import json
import secrets
from http import HTTPStatus

_CODES = {400: "INVALID_REQUEST", 408: "REQUEST_TIMEOUT", 431: "HEADERS_TOO_LARGE"}


def refusal(status: int, message: str) -> bytes:
    """A whole answer, in the shape of the Venice doors: which door was meant is not known."""
    told = {"error": message, "message": message, "code": _CODES[status], "source": "gateway"}
    body = json.dumps(told).encode()
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        f"x-request-id: {secrets.token_hex(8)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
