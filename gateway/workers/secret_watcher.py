"""Reads the secrets that came from files again when these change."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog
from pydantic import SecretStr

from gateway.settings import Settings, SettingsRefused, read_secret_file

_log = structlog.get_logger(__name__)


class SecretWatcher:
    """One round compares every secret file with what was last read from it."""

    def __init__(self, settings: Settings, use: Callable[[Mapping[str, SecretStr]], None]) -> None:
        self._files = settings.secret_files
        self._use = use
        self._known = self._read()

    def _read(self) -> dict[str, SecretStr]:
        return {name: read_secret_file(name, path) for name, path in self._files.items()}

    async def run_once(self) -> None:
        """Take what has changed; a file that cannot be used leaves the old secret in use."""
        try:
            found = self._read()
        except SettingsRefused as error:
            _log.warning("secret.refused", why=str(error))
            return
        if found != self._known:
            self._known = found
            self._use(found)
            _log.info("secrets.renewed", names=sorted(found))
