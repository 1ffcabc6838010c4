"""The jobs that were bought: accepted and billed at once, ready by the clock, deleted on demand."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from sqlite3 import Row
from typing import Any

from gateway.simulator.calls import sha256
from gateway.simulator.catalogue import VideoModel
from gateway.simulator.execution import execution_seconds, queue_id_for
from gateway.simulator.money import micro_from_usd
from gateway.simulator.settings import SimulatorSettings
from gateway.simulator.store import Store
from gateway.simulator.video import SimulatedVideo, simulated_video

COMPLETED = "completed"
FAIL_REFUNDED_NESTED = "fail_refunded_nested"
FAIL_REFUNDED_FLAT = "fail_refunded_flat"
FAIL_BILLED = "fail_billed"
FAILED_STATUS = "failed_status"
PLACEHOLDER = "placeholder"
STUCK = "stuck"
LOST = "lost"
OUTCOMES = frozenset(
    {
        COMPLETED, FAIL_REFUNDED_NESTED, FAIL_REFUNDED_FLAT, FAIL_BILLED, FAILED_STATUS,
        PLACEHOLDER, STUCK, LOST,
    }
)  # fmt: skip
REFUNDED = (FAIL_REFUNDED_NESTED, FAIL_REFUNDED_FLAT)

USAGE_NOTES = "API Inference"
REFUND_NOTES = "Refund: API Inference"


@dataclass(frozen=True)
class Fate:
    """What a fault plan decides about a job; None leaves it to chance and price list."""

    outcome: str = COMPLETED
    execution_seconds: float | None = None
    charge_usd: Decimal | None = None
    video_bytes_min: int | None = None


@dataclass(frozen=True)
class Purchase:
    """What the queue door accepted: an exact price and what the video will look like."""

    model: VideoModel
    prompt_sha256: str | None
    usd: Decimal
    video_seconds: Decimal
    aspect_ratio: str | None


@dataclass(frozen=True)
class Accepted:
    """A bought job, and the secret of its download link if its model is private."""

    queue_id: str
    link_secret: str | None


class Jobs:
    """Buying, finding and deleting jobs, with the bill that follows from it."""

    def __init__(self, settings: SimulatorSettings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self.recall()

    def accept(self, purchase: Purchase, fate: Fate, now: float) -> Accepted:
        """Create and bill a job in one transaction."""
        settings, model = self._settings, purchase.model
        charged = micro_from_usd(purchase.usd if fate.charge_usd is None else fate.charge_usd)
        secret = secrets.token_urlsafe(24) if model.is_private else None
        average_ms = max(1, round(model.average_execution_time_ms / settings.speed))
        with self._store.transaction():
            queue_id = queue_id_for(settings.seed, self._store.next_number("jobs"))
            seconds = execution_seconds(settings.seed, queue_id, average_ms / 1000)
            if fate.execution_seconds is not None:
                seconds = fate.execution_seconds / settings.speed
            size = settings.video_bytes_min
            self._store.insert(
                "jobs",
                queue_id=queue_id,
                model=model.id,
                prompt_sha256=purchase.prompt_sha256,
                accepted_at=now,
                ready_at=now + seconds,
                average_ms=average_ms,
                outcome=fate.outcome,
                video_seconds=str(purchase.video_seconds),
                aspect_ratio=purchase.aspect_ratio,
                video_bytes_min=size if fate.video_bytes_min is None else fate.video_bytes_min,
                charged=charged,
                refund_due_at=now + seconds if fate.outcome in REFUNDED else None,
                link_sha256=None if secret is None else sha256(secret),
            )
            self._bill(queue_id, model.id, -charged, USAGE_NOTES, now)
        self._spent += charged
        return Accepted(queue_id, secret)

    def find(self, queue_id: str) -> Row | None:
        return self._store.row("SELECT * FROM jobs WHERE queue_id = ?", queue_id)

    def find_by_link(self, secret: str) -> Row | None:
        return self._store.row("SELECT * FROM jobs WHERE link_sha256 = ?", sha256(secret))

    def count_retrieve(self, queue_id: str) -> None:
        self._add(queue_id, "retrieves")

    def count_served(self, queue_id: str) -> None:
        self._add(queue_id, "bytes_served_complete")

    def count_download(self, queue_id: str) -> None:
        self._add(queue_id, "link_downloads")

    def delete(self, queue_id: str) -> None:
        """Delete the stored video; the job and its bill stay."""
        self._store.execute("UPDATE jobs SET deleted = 1 WHERE queue_id = ?", queue_id)

    def refund_due(self, now: float) -> None:
        """Write the refunds of every refunded failure that has come to its end."""
        for job in self._store.rows("SELECT * FROM jobs WHERE refund_due_at <= ?", now):
            with self._store.transaction():
                self._store.execute(
                    "UPDATE jobs SET refunded = charged, refund_due_at = NULL WHERE number = ?",
                    job["number"],
                )
                amount, at = job["charged"], job["refund_due_at"]
                self._bill(job["queue_id"], job["model"], amount, REFUND_NOTES, at)
            self._spent -= amount

    def balance(self, now: float) -> int:
        """Micro-dollars left on the account."""
        self.refund_due(now)
        return micro_from_usd(self._settings.balance_usd) - self._spent

    def recall(self) -> None:
        """Take the sum spent from what the store kept."""
        row = self._store.row("SELECT coalesce(sum(charged - refunded), 0) AS spent FROM jobs")
        assert row is not None
        self._spent: int = row["spent"]

    def _bill(self, queue_id: str, model_id: str, amount: int, notes: str, at: float) -> None:
        request_id = queue_id if self._settings.bill_names_queue_id else f"video-{sha256(queue_id)}"
        self._store.insert(
            "bill",
            at=at,
            amount=amount,
            currency="USD",
            sku=f"{model_id}-video-unit",
            notes=notes,
            queue_id=queue_id,
            request_id=request_id,
        )

    def _add(self, queue_id: str, column: str) -> None:
        statement = f"UPDATE jobs SET {column} = {column} + 1 WHERE queue_id = ?"  # noqa: S608
        self._store.execute(statement, queue_id)


def job_state(job: Row, now: float) -> str:
    """In one word: processing, ready, failed, lost, stuck."""
    if job["outcome"] == STUCK:
        return "stuck"
    if now < job["ready_at"]:
        return "processing"
    if job["outcome"] == LOST:
        return "lost"
    return "ready" if job["outcome"] in (COMPLETED, PLACEHOLDER) else "failed"


def video_of(job: Mapping[str, Any] | Row) -> SimulatedVideo:
    """The mp4 of a finished job, always the same bytes."""
    return simulated_video(
        name=job["queue_id"],
        seconds=Decimal(job["video_seconds"]),
        aspect_ratio=job["aspect_ratio"],
        bytes_min=job["video_bytes_min"],
        is_placeholder=job["outcome"] == PLACEHOLDER,
    )
