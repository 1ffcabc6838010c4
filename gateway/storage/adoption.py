"""A job that was bought elsewhere, as the row it begins as and what it becomes in the same
transaction. Nothing here writes.
"""

from __future__ import annotations

from typing import Any

from gateway.core.job import Holding, State
from gateway.core.money import ZERO
from gateway.records import Adoption, Job

ADOPTED = "bought elsewhere, adopted"


def as_reserved(adoption: Adoption, at: int) -> Job:
    """The job as it would have been reserved here; the ledger knows no moment yet to come."""
    caller = adoption.caller
    return Job(
        id=adoption.id,
        user=caller.user.name,
        key_id=caller.key.counts_as,
        team=caller.user.team,
        model=adoption.model,
        state=State.RESERVED,
        holding=Holding.RESERVED,
        created_at=min(adoption.created_at, at),
        quote=adoption.price,
        reserved=adoption.price,
        tags=adoption.tags,
        policy=adoption.policy,
        policy_version=adoption.policy_version,
        seconds=adoption.seconds,
        resolution=adoption.resolution,
    )


def taken_over(job: Job, adoption: Adoption) -> dict[str, Any]:
    """What changes of it at once: Venice has it, its price is spent, and no answer is owed."""
    return {
        "state": State.PROCESSING,
        "holding": Holding.SETTLED,
        "reserved": ZERO,
        "settled": job.quote,
        "queue_id": adoption.queue_id,
        "sent_at": job.created_at,
        "accepted_at": job.created_at,
        "answer_owed": False,
        "download_url": adoption.download_url,
        "is_private": adoption.download_url is not None,
        "reason": ADOPTED,
    }
