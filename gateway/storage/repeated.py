"""Which earlier job a repeated order means: by its key and body, or by its Idempotency-Key.

A doubt outlives every window, and the answer that ends it is remembered from then on: else the
repetition that was told to wait would buy again. How long that is, others say.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from gateway.storage import rows

_KNOWN_SINCE = "(coalesce(accepted_at, 0) > ? AND doubted_at IS NOT NULL)"
"""Its doubt has ended with a queue_id since: the moment of that is its acceptance."""

# Both halves by their own index: the one lies by time, for every reservation writes it.
_TWINS = (
    f"{rows.SELECT_JOB} WHERE number IN ("
    "SELECT number FROM jobs INDEXED BY jobs_owed "
    "WHERE key_id = ? AND body_digest = ? AND answer_owed = 1 AND created_at >= ? "
    "UNION ALL SELECT number FROM jobs INDEXED BY jobs_doubted "
    "WHERE key_id = ? AND body_digest = ? AND answer_owed = 1 AND doubted_at IS NOT NULL "
    "AND (state = 'in_doubt' OR (delivered_at IS NULL AND accepted_at > ?))"
    ") ORDER BY number DESC"
)
_BOUND = (
    f"{rows.SELECT_JOB} WHERE user = ? AND idempotency_key = ? "
    f"AND (created_at > ? OR state = 'in_doubt' OR {_KNOWN_SINCE})"
)
_UNBIND = (
    "UPDATE jobs SET idempotency_key = NULL WHERE user = ? AND idempotency_key = ? "
    f"AND NOT (created_at > ? OR state = 'in_doubt' OR {_KNOWN_SINCE})"
)

Statement = tuple[str, tuple[Any, ...]]


def twins(key_id: str, body_digest: str, since: int, known_since: int) -> Statement:
    """The jobs of an identical request whose answer is owed, newest first: those ordered since a
    moment, those in doubt, and those whose doubt has ended since, if nobody has the video yet."""
    return _TWINS, (key_id, body_digest, since, key_id, body_digest, known_since)


def bound(user: str, idempotency_key: str, since: int) -> Statement:
    """The job that an Idempotency-Key means, ordered or known since a moment, or in doubt."""
    return _BOUND, (user, idempotency_key, since, since)


def unbind(connection: sqlite3.Connection, user: str, idempotency_key: str, since: int) -> None:
    """Free an Idempotency-Key that means no job any more."""
    connection.execute(_UNBIND, (user, idempotency_key, since, since))
