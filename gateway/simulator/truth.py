"""What really happened: every call, every job and all money, told at ``/_truth``."""

from collections import defaultdict
from sqlite3 import Row
from typing import Any

from gateway.simulator.answers import Answer
from gateway.simulator.calls import Call
from gateway.simulator.jobs import Jobs, job_state
from gateway.simulator.money import usd_text
from gateway.simulator.store import Store

NO_ANSWER = "none"


class Truth:
    """The record of calls, and the report over calls, jobs and money."""

    def __init__(self, store: Store, jobs: Jobs) -> None:
        self._store = store
        self._jobs = jobs

    def arrived(self, call: Call) -> None:
        """Record a call before anything is done about it, and give it its number."""
        call.seq = self._store.insert(
            "calls",
            at=call.at,
            endpoint=call.endpoint,
            key=call.key,
            model=call.model,
            queue_id=call.queue_id,
            prompt_sha256=call.prompt_sha256,
        )

    def answering(self, call: Call, answer: Answer | None) -> None:
        """Record the answer of a call before it leaves; None for a connection that is cut."""
        status = None if answer is None else answer.status
        refused_by = None if answer is None else answer.refused_by
        self._store.execute(
            "UPDATE calls SET status = ?, refused_by = ?, queue_id = ? WHERE seq = ?",
            status, refused_by, call.queue_id, call.seq,
        )  # fmt: skip

    def report(self, since: int, now: float) -> dict[str, Any]:
        """Everything, with the list of calls beginning after number ``since``."""
        self._jobs.refund_due(now)
        calls = self._store.rows("SELECT * FROM calls WHERE seq > ? ORDER BY seq", since)
        jobs = self._store.rows("SELECT * FROM jobs ORDER BY number")
        return {
            "requests": self._counts(),
            "calls": [_call_object(call) for call in calls],
            "jobs": [_job_object(job, now) for job in jobs],
            "charged_usd": usd_text(sum(job["charged"] for job in jobs)),
            "refunded_usd": usd_text(sum(job["refunded"] for job in jobs)),
            "blocks": [dict(block) for block in self._store.rows("SELECT * FROM blocks")],
            "rate_limited": self._rate_limited(),
        }

    def forget(self) -> None:
        """Drop calls, jobs, bill and blocks; numbers go on, none is given twice."""
        with self._store.transaction():
            for table in ("calls", "jobs", "bill", "blocks"):
                self._store.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names

    def _counts(self) -> dict[str, dict[str, int]]:
        counts: dict[str, dict[str, int]] = defaultdict(dict)
        query = "SELECT endpoint, status, count(*) AS n FROM calls GROUP BY endpoint, status"
        for row in self._store.rows(query):
            counts[row["endpoint"]][str(row["status"] or NO_ANSWER)] = row["n"]
        return dict(counts)

    def _rate_limited(self) -> int:
        row = self._store.row(
            "SELECT count(*) AS n FROM calls WHERE refused_by IN ('rate', 'block')"
        )
        return 0 if row is None else row["n"]


def _call_object(call: Row) -> dict[str, Any]:
    names = ("seq", "at", "endpoint", "status", "key", "model", "queue_id", "prompt_sha256")
    return {name: call[name] for name in names}


def _job_object(job: Row, now: float) -> dict[str, Any]:
    return {
        "queue_id": job["queue_id"],
        "model": job["model"],
        "prompt_sha256": job["prompt_sha256"],
        "accepted_at": job["accepted_at"],
        "ready_at": job["ready_at"],
        "state": job_state(job, now),
        "outcome": job["outcome"],
        "charged_usd": usd_text(job["charged"]),
        "refunded_usd": usd_text(job["refunded"]),
        "deleted": bool(job["deleted"]),
        "retrieves": job["retrieves"],
        "bytes_served_complete": job["bytes_served_complete"],
    }
