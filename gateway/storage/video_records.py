"""What is kept of stored videos beside their jobs, in a table of its own: a read must not rewrite
the row of a job and everything that hangs on it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping

from gateway.core.eviction import Held
from gateway.records import Job
from gateway.storage import rows
from gateway.storage.access import Access

_NOTE = (
    "INSERT INTO video_records (job, {column}) VALUES (?, ?) "
    "ON CONFLICT (job) DO UPDATE SET {column} = excluded.{column}"
)
_STORED = "FROM jobs LEFT JOIN video_records ON video_records.job = jobs.id WHERE state = 'stored'"
_STORED_NOW = (
    "SELECT (SELECT coalesce(sum(video_bytes), 0) FROM tallies WHERE state = 'stored'), "
    "(SELECT json_group_array(id) FROM jobs WHERE state = 'stored' "
    "AND id IN (SELECT value FROM json_each(?)))"
)
# In the order of `core.eviction.rank`.
_EVICTABLE = (
    "SELECT id, video_bytes, max(stored_at, coalesce(delivered_at, 0), coalesce(used_at, 0)) AS "
    "used, coalesce(delivered_at, 0) < stored_at AND completed_at IS NULL AS owed, "
    f"copy_gone = 0 AND is_private = 0 AS returns {_STORED} "
    "ORDER BY owed, returns DESC, used LIMIT ?"
)
_UNPROVED = (
    f"SELECT id, max(stored_at, coalesce(proved_at, 0)) AS proved {_STORED} ORDER BY proved LIMIT 1"
)
_EXPIRING = "state = 'stored' AND stored_at < ? AND delivered_at IS NULL AND completed_at IS NULL"
_TOLD = "EXISTS (SELECT 1 FROM video_records WHERE job = jobs.id AND told_at IS NOT NULL)"


class SqliteVideoRecords:
    """`ports.VideoRecords` on the ledger's database."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def note_uses(self, uses: Mapping[str, int]) -> None:
        """See `ports.VideoRecords.note_uses`."""
        await self._note("used_at", list(uses.items()))

    async def note_proved(self, job_id: str, at: int) -> None:
        """See `ports.VideoRecords.note_proved`."""
        await self._note("proved_at", [(job_id, at)])

    async def note_told(self, job_ids: Collection[str], at: int) -> None:
        """See `ports.VideoRecords.note_told`."""
        await self._note("told_at", [(job_id, at) for job_id in job_ids])

    async def _note(self, column: str, values: list[tuple[str, int]]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(_NOTE.format(column=column), values)

        await self._access.run(work)

    async def stored(self, among: Collection[str] = ()) -> tuple[int, frozenset[str]]:
        """See `ports.VideoRecords.stored`."""
        ((total, here),) = await self._access.rows(_STORED_NOW, (json.dumps(list(among)),))
        return total, frozenset(json.loads(here))

    async def evictable(self, limit: int) -> list[Held]:
        """See `ports.VideoRecords.evictable`."""
        found = await self._access.scan(_EVICTABLE, (limit,))
        return [
            Held(job, size, used, bool(owed), bool(back)) for job, size, used, owed, back in found
        ]

    async def longest_unproved(self) -> tuple[str, int] | None:
        """See `ports.VideoRecords.longest_unproved`."""
        found = await self._access.scan(_UNPROVED)
        return (found[0][0], found[0][1]) if found else None

    async def expiring(
        self, stored_before: int, *, user: str | None = None, untold: bool = False, limit: int
    ) -> list[Job]:
        """See `ports.VideoRecords.expiring`."""
        found = await self._access.scan(
            f"{rows.SELECT_JOB} WHERE {_EXPIRING} AND (? IS NULL OR user = ?) "
            f"AND NOT (? AND {_TOLD}) ORDER BY stored_at LIMIT ?",
            (stored_before, user, user, untold, limit),
        )
        return [rows.job_of(row) for row in found]

    async def count_expiring(self, stored_before: int) -> int:
        """See `ports.VideoRecords.count_expiring`."""
        found = await self._access.scan(
            f"SELECT count(*) FROM jobs WHERE {_EXPIRING}", (stored_before,)
        )
        return int(found[0][0])

    async def prune(self) -> None:
        """See `ports.VideoRecords.prune`."""
        await self._access.run(
            lambda connection: connection.execute(
                "DELETE FROM video_records WHERE NOT EXISTS "
                "(SELECT 1 FROM jobs WHERE jobs.id = job AND state = 'stored')"
            )
        )
