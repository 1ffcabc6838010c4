"""Signed links: a token names a job and when it ends, and only the secret can make one."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

MAC_BYTES = 18
"""144 bits: beyond guessing, and a whole number of base64 groups."""
TOKEN_CHARACTERS_MAX = 256


def compose_token(secret: bytes, job_id: str, until: int) -> str:
    """The token of a job's link that ends at `until` (Unix milliseconds)."""
    body = f"{job_id}.{until}".encode("ascii")
    return base64.urlsafe_b64encode(_mac(secret, body) + body).decode("ascii").rstrip("=")


def read_token(secret: bytes, token: str, now: int) -> str | None:
    """The job a token names; None where it is forged, malformed or past its end."""
    if len(token) > TOKEN_CHARACTERS_MAX:
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        mac, body = raw[:MAC_BYTES], raw[MAC_BYTES:]
        if not hmac.compare_digest(mac, _mac(secret, body)):
            return None
        job_id, until = body.decode("ascii").rsplit(".", 1)
        return job_id if now < int(until) else None
    except (binascii.Error, ValueError):
        return None


def _mac(secret: bytes, body: bytes) -> bytes:
    return hmac.new(secret, body, hashlib.sha256).digest()[:MAC_BYTES]
