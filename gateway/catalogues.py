"""The live catalogue of models: refreshed by age, with the last good copy on disk.

A restart during an outage still checks orders; without any catalogue nothing is ordered.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from gateway.core.catalogue import Catalogue, read_catalogue
from gateway.core.errors import UpstreamBusy
from gateway.core.retry import Endpoint
from gateway.core.strictjson import NotStrictJson, parse
from gateway.ports import Clock, NoPlace, Upstream

COPY_FILE = "catalogue.json"
"""In the data directory."""
FRESH_SECONDS = 600.0
"""Models come and go by the day; ten minutes keep a new one waiting little."""
RETRY_SECONDS = 15.0
ASK_SECONDS = 20.0
FIRST_READ_SECONDS = 3.0
"""How long a start without a copy waits for Venice, so that the first order can be checked."""

_log = structlog.get_logger(__name__)


class CatalogueShelf:
    """The catalogue as last read."""

    def __init__(self, upstream: Upstream, clock: Clock, copy: Path) -> None:
        self._upstream = upstream
        self._clock = clock
        self._copy = copy
        self._current = read_copy(copy)
        self._due = 0.0

    @property
    def current(self) -> Catalogue:
        """The models there are; `UpstreamBusy` where Venice never told."""
        if self._current is None:
            raise UpstreamBusy(
                "The gateway could not read Venice's list of models yet, so it cannot check this "
                "order. Nothing was bought; send the request again shortly."
            )
        return self._current

    @property
    def last_known(self) -> Catalogue | None:
        """The same; None where Venice never told."""
        return self._current

    def knows(self, model: str) -> bool:
        """Whether a model is in the catalogue."""
        return self._current is not None and model in self._current.models

    async def begin(self) -> None:
        """Read it before the first order where there is no copy; a silent Venice delays little."""
        if self._current is not None:
            return
        try:
            async with asyncio.timeout(FIRST_READ_SECONDS):
                await self.run_once()
        except TimeoutError:
            self._due = 0.0

    async def run_once(self) -> None:
        """Read it again if it is old."""
        now = self._clock.monotonic()
        if now < self._due:
            return
        self._due = now + RETRY_SECONDS
        try:
            reply = await self._upstream.get(Endpoint.MODELS, now + ASK_SECONDS)
        except NoPlace:
            return
        if not reply.is_ok:
            _log.warning("catalogue.unread", outcome=reply.outcome, status=reply.status)
            return
        try:
            found = read_catalogue(reply.document)
        except ValueError as error:
            _log.warning("catalogue.nonsense", why=str(error))
            return
        if not found.models:
            _log.warning("catalogue.empty")
            return
        self._current = found
        self._due = now + FRESH_SECONDS
        self._to_disk(reply.body)

    def _to_disk(self, body: bytes) -> None:
        """Keep a copy; a full disk costs only the copy."""
        aside = self._copy.with_suffix(".new")
        try:
            aside.write_bytes(body)
            aside.replace(self._copy)
        except OSError as error:
            _log.warning("catalogue.not_kept", why=str(error))


def read_copy(copy: Path) -> Catalogue | None:
    """The catalogue as a gateway last kept it on disk; None where there is none to be read."""
    try:
        return read_catalogue(parse(copy.read_bytes()))
    except (OSError, NotStrictJson, ValueError):
        return None
