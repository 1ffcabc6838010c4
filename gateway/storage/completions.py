"""Learned completion times: one row for each kind of job, written when a video was found ready.

They are experience, not money: a row that cannot be read is left out, and learned anew.
"""

from __future__ import annotations

import structlog

from gateway.core.completion import Kind, Sketch, decode
from gateway.storage.access import Access

_SELECT = "SELECT model, resolution, seconds, weights, average_ms FROM completion_times"
_UPSERT = (
    "INSERT INTO completion_times (model, resolution, seconds, weights, average_ms, at) "
    "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
    "weights = excluded.weights, average_ms = excluded.average_ms, at = excluded.at"
)
_log = structlog.get_logger(__name__)


class SqliteCompletionTimes:
    """`ports.CompletionTimes` on the ledger's database."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def read(self) -> list[tuple[Kind, Sketch, int | None]]:
        """Every kind there is."""
        found = []
        for model, resolution, seconds, weights, average_ms in await self._access.scan(_SELECT):
            try:
                sketch = decode(weights)
            except ValueError as error:
                _log.warning("experience.unreadable", model=model, why=str(error))
                continue
            found.append((Kind(model, resolution or None, seconds or None), sketch, average_ms))
        return found

    async def keep(self, kind: Kind, sketch: Sketch, average_ms: int | None, at: int) -> None:
        """Put this in place of what was kept of the kind."""
        key = (kind.model, kind.resolution or "", kind.seconds or 0)
        values = (*key, sketch.encode(), average_ms, at)
        await self._access.run(lambda connection: connection.execute(_UPSERT, values))
