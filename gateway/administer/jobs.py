"""Jobs as administration sees them, and the decision about one in doubt that people make."""

from __future__ import annotations

from gateway.administer.office import Office
from gateway.core.answers import is_id
from gateway.core.errors import Conflict, NotFound
from gateway.core.job import Event, IllegalEvent, State
from gateway.records import Job


async def find_job(office: Office, any_id: str) -> Job:
    """Any user's job, by its queue_id or its own id."""
    job = await office.ledger.job(any_id) if is_id(any_id) else None
    if job is None:
        raise NotFound(f"There is no job {any_id}.")
    return job


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
