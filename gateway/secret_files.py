"""Secrets the gateway makes for itself: kept in files only their owner reads, never printed."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from gateway.core.keys import ID_CHARACTERS, SECRET_CHARACTERS, compose, random_text


def read_or_make(path: Path, content: str) -> str:
    """The content of a secret file, which is made with `content` (mode 0600) if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text("ascii").strip()
    with os.fdopen(descriptor, "w") as file:
        file.write(content + "\n")
        file.flush()
        os.fsync(file.fileno())
    return content


def new_key(*, admin: bool = False) -> tuple[str, str]:
    """A fresh key: its id, and the whole of it."""
    key_id = random_text(secrets.token_bytes(16), ID_CHARACTERS)
    secret = random_text(secrets.token_bytes(48), SECRET_CHARACTERS)
    return key_id, compose(key_id, secret, admin=admin)
