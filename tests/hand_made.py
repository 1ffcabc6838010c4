"""What rows made by hand leave undone: jobs that the ledger did not insert nobody has counted."""

from __future__ import annotations

import sqlite3

_RECOUNT = (
    "INSERT INTO tallies SELECT coalesce(team, ''), model, state, count(*), sum(reserved), "
    "sum(in_doubt), sum(settled), coalesce(sum(video_bytes), 0) FROM jobs GROUP BY 1, 2, 3"
)


def count_jobs(connection: sqlite3.Connection) -> None:
    """Count all jobs anew, as `ledger verify` will."""
    connection.execute("DELETE FROM tallies")
    connection.execute(_RECOUNT)
