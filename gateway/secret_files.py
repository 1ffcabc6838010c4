"""Secrets the gateway makes for itself: kept in files only their owner reads, never printed."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from gateway.core.keys import ID_CHARACTERS, SECRET_CHARACTERS, compose, random_text
from gateway.core.notify import KeptAt
from gateway.setting_values import SECRET_BYTES_MAX


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


def replace(path: Path, content: str) -> None:
    """Put a new secret in a file's place, whole at every moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    read_or_make(temporary, content)
    temporary.rename(path)


class NotKept(Exception):
    """There is no secret where one is said to be kept; the text says where, never the secret."""


def kept_secret(where: KeptAt) -> str:
    """The secret in a variable of the environment or in a file, as it is now; `NotKept`."""
    if where.kind == "env":
        text = os.environ.get(where.name, "")
    else:
        try:
            with Path(where.name).open("rb") as file:
                text = file.read(SECRET_BYTES_MAX).decode("utf-8")
        except (OSError, ValueError) as error:
            raise NotKept(f"{where} cannot be read") from error
    if not text.strip():
        raise NotKept(f"{where} is empty")
    return text.strip()


class WatchedSecret:
    """A secret in a file, made if it is not there, and read again whenever the file is another."""

    def __init__(self, path: Path, content: str) -> None:
        self._path = path
        self._content = read_or_make(path, content)
        self._seen: tuple[int, int] | None = None

    def __call__(self) -> str:
        """The secret as it is now; as it was last where the file cannot be read."""
        try:
            status = self._path.stat()
            seen = (status.st_ino, status.st_mtime_ns)
            if seen != self._seen:
                self._content = self._path.read_text("ascii").strip() or self._content
                self._seen = seen
        except (OSError, ValueError):
            return self._content
        return self._content


def new_key(*, admin: bool = False) -> tuple[str, str]:
    """A fresh key: its id, and the whole of it."""
    key_id = random_text(secrets.token_bytes(16), ID_CHARACTERS)
    secret = random_text(secrets.token_bytes(48), SECRET_CHARACTERS)
    return key_id, compose(key_id, secret, admin=admin)
