"""Jobs as administration sees them, and what only people decide: what became of one in doubt, and
that a video which did not come is asked for again.
"""

from __future__ import annotations

from gateway.administer.office import Office
from gateway.core.answers import asked_anew, is_id
from gateway.core.errors import Conflict, NotFound
from gateway.core.job import MISSED, Event, IllegalEvent, State
from gateway.records import Job


async def find_job(office: Office, any_id: str) -> Job:
    """Any user's job, by its queue_id or its own id."""
    job = await office.ledger.job(any_id) if is_id(any_id) else None
    if job is None:
        raise NotFound(f"There is no job {any_id}.")
    return job


async def refetch_job(office: Office, actor: str, any_id: str, *, why: str) -> Job:
    """Have Venice asked again for a video that was paid for and did not come; money stays as it is.

    `Conflict` where the job is not one of those, or Venice's copy is deleted.
    """
    job = await find_job(office, any_id)
    now = office.clock.now()
    try:
        if job.copy_gone and job.state in MISSED:
            raise Conflict(f"Venice's copy of the job {job.id} is deleted. Nothing was changed.")
        reopened = await office.ledger.advance(
            job.id, Event.REOPEN, now, facts=asked_anew(now), reason=why, actor=actor
        )
    except IllegalEvent as error:
        raise Conflict(
            f"The job {job.id} is {job.state}: only one that is {State.STALLED}, "
            f"{State.UNDELIVERABLE} or {State.LOST} can be fetched again. Nothing was changed."
        ) from error
    office.book.put(reopened)
    await office.audit(actor, "job.refetch", job.id, {"why": why, "was": job.state})
    return reopened


async def resolve_job(office: Office, actor: str, any_id: str, *, billed: bool, why: str) -> Job:
    """Decide a job in doubt: its money is settled if it was billed, released if not.

    Late evidence can still correct the decision, by a new entry.
    """
    job = await find_job(office, any_id)
    event = Event.DECIDE_BILLED if billed else Event.DECIDE_UNBILLED
    try:
        decided = await office.ledger.advance(
            job.id, event, office.clock.now(), reason=why, actor=actor
        )
    except IllegalEvent as error:
        other = State.RELEASED_IN_DOUBT if billed else State.SETTLED_IN_DOUBT
        raise Conflict(
            f"The job {job.id} is {job.state}: only one that is {State.IN_DOUBT} or {other} can be "
            f"{'settled' if billed else 'released'}. Nothing was changed."
        ) from error
    office.book.put(decided)
    detail = {"decision": "settle" if billed else "release", "why": why, "usd": job.in_doubt}
    await office.audit(actor, "job.resolve", job.id, detail)
    return decided
