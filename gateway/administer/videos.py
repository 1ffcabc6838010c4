"""Stored videos as administration sees them: counted, proved, and removed when told to.

Proving changes nothing; removing is told the ledger first, so that nobody is promised what goes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

import structlog

from gateway.administer.jobs import find_job
from gateway.administer.office import Office
from gateway.core.errors import Conflict
from gateway.core.job import Event, IllegalEvent, State
from gateway.ledgered import dollars
from gateway.logs import about
from gateway.ports import StoredVideo, StoreFailure
from gateway.records import Job

PAGE = 500
PURGEABLE = (State.STORED, State.EVICTED)
REASON = "administrator"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Proof:
    """What hashing every stored video found: job ids, and names that no job has."""

    checked: int
    damaged: Sequence[str]
    missing: Sequence[str]
    orphans: Sequence[str]

    @property
    def is_sound(self) -> bool:
        """Whether every video is here as recorded, and nothing else."""
        return not (self.damaged or self.missing or self.orphans)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which videos: all that are named, or all that fit both of the others."""

    ids: Sequence[str] = ()
    user: str | None = None
    stored_before: int | None = None


async def verify(office: Office) -> Proof:
    """Read and hash every stored video anew; `Conflict` where the store cannot be read."""
    try:
        return await _proof(office)
    except StoreFailure as error:
        raise Conflict(f"The video store cannot be read: {error}.") from error


async def _proof(office: Office) -> Proof:
    names = set(await office.store.ids())
    damaged, missing, checked = [], [], 0
    async for job in _jobs(office, (State.STORED,), None):
        checked += 1
        name = office.store.name_of(job.id)
        if name not in names:
            # It may have been stored after the names were read, or purged before the job was.
            missing += [job.id] if not await _is_intact(office, job.id) else []
        elif not await _is_intact(office, job.id):
            damaged.append(job.id)
        names.discard(name)
    known = set(map(office.store.name_of, await office.ledger.stored_ids()))
    return Proof(checked, damaged, missing, sorted(names - known))


async def _is_intact(office: Office, job_id: str) -> bool:
    """Whether a job's video is as recorded; one that is no longer stored owes nothing."""
    job = await office.ledger.job(job_id)
    if job is None or job.state is not State.STORED:
        return True
    assert job.video_sha256 is not None, "a stored job has a hash"
    assert job.video_bytes is not None, "a stored job has a size"
    return await office.store.is_intact(job.id, StoredVideo(job.video_sha256, job.video_bytes))


async def chosen(office: Office, choice: Choice) -> list[Job]:
    """The videos that a choice means; `NotFound` or `Conflict` for an id that has none."""
    if choice.ids:
        named = [await find_job(office, any_id) for any_id in dict.fromkeys(choice.ids)]
        for job in named:
            if job.state not in PURGEABLE:
                raise Conflict(f"The job {job.id} is {job.state}: it has no video to be purged.")
        return [job for job in named if _fits(job, choice)]
    return [job async for job in _jobs(office, PURGEABLE, choice.user) if _fits(job, choice)]


async def purge(office: Office, actor: str, choice: Choice) -> list[Job]:
    """Remove videos; the jobs whose videos went. Venice's copies go too, as after any purge."""
    gone = []
    for job in await chosen(office, choice):
        try:
            moved = await office.ledger.advance(
                job.id, Event.PURGE, office.clock.now(), reason=REASON, actor=actor
            )
        except IllegalEvent:
            # It was purged or lost since it was chosen.
            continue
        office.book.put(moved)
        try:
            await office.store.delete(job.id)
        except StoreFailure as error:
            _log.error("video.left_behind", **about(job), why=str(error))
        office.metrics.video_evictions.labels(REASON).inc()
        if job.state is State.STORED and job.delivered_at is None:
            office.metrics.unfetched.inc(dollars(job.settled))
        gone.append(moved)
    detail = {
        "ids": choice.ids,
        "user": choice.user,
        "stored_before": choice.stored_before,
        "videos": len(gone),
        "bytes": total_bytes(gone),
    }
    await office.audit(actor, "video.purge", choice.user or "videos", detail)
    return gone


def total_bytes(jobs: Iterable[Job]) -> int:
    """What some videos take."""
    return sum(job.video_bytes or 0 for job in jobs)


def _fits(job: Job, choice: Choice) -> bool:
    if choice.user is not None and job.user != choice.user:
        return False
    before = choice.stored_before
    return before is None or (job.stored_at is not None and job.stored_at < before)


async def _jobs(office: Office, states: Sequence[State], user: str | None) -> AsyncIterator[Job]:
    before: str | None = None
    while page := await office.ledger.jobs(states=states, user=user, before=before, limit=PAGE):
        for job in page:
            yield job
        before = page[-1].id
