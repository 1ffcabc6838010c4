"""Moves of jobs in ledger and memory at once, finished whatever becomes of who asked for them.

What Venice answered to an order is written until it is written: a full disk delays it, and the
client hears of doubt meanwhile, never that nothing was bought.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

import structlog

from gateway.book import JobBook
from gateway.core.errors import GatewayError
from gateway.core.job import Event, IllegalEvent
from gateway.logs import about
from gateway.ports import AlreadyThere, Clock, Ledger
from gateway.records import Job
from gateway.spending import Spending

T = TypeVar("T")
INSIST_SECONDS = 1.0
"""Between two tries to write what must be written: recovery is promised within ten seconds."""

_log = structlog.get_logger(__name__)


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """The result of work that goes on to its end also where its caller is cancelled.

    The cancellation is raised when the work is done, so that nothing is left half known.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


class Moves:
    """The only way an order's job changes."""

    def __init__(self, ledger: Ledger, clock: Clock, book: JobBook, spending: Spending) -> None:
        self._ledger = ledger
        self._clock = clock
        self._book = book
        self._spending = spending
        self._unwritten: dict[str, asyncio.Task[Job]] = {}

    @property
    def unwritten(self) -> set[str]:
        """Jobs whose last news could not be written yet."""
        return set(self._unwritten)

    async def move(
        self,
        job_id: str,
        event: Event,
        facts: Mapping[str, Any] | None = None,
        reason: str | None = None,
    ) -> Job:
        """Move a job by one event, in the ledger and in memory."""
        return await to_the_end(self._move(job_id, event, facts, reason))

    async def _move(
        self, job_id: str, event: Event, facts: Mapping[str, Any] | None, reason: str | None
    ) -> Job:
        job = await self._spending.guard(
            self._ledger.advance(job_id, event, self._clock.now(), facts=facts, reason=reason)
        )
        _log.info("job.moved", **about(job), state=job.state, holding=job.holding, reason=reason)
        return self._book.put(job)

    async def note(self, job_id: str, facts: Mapping[str, Any]) -> Job:
        """Record facts that move nothing."""

        async def noting() -> Job:
            return self._book.put(await self._spending.guard(self._ledger.note(job_id, facts)))

        return await to_the_end(noting())

    async def current(self, job_id: str) -> Job:
        """The job as the ledger has it."""
        job = await self._spending.guard(self._ledger.job(job_id))
        assert job is not None, "jobs are never deleted"
        return job

    async def insist(self, job_id: str, write: Callable[[], Awaitable[Job]]) -> Job | None:
        """Write now, or, where the ledger cannot, again and again; None while it is not written."""
        try:
            return await to_the_end(_awaited(write()))
        except GatewayError as error:
            _log.error("move.unwritten", job=job_id, why=error.message)
        task = asyncio.create_task(self._until_written(job_id, write))
        self._unwritten[job_id] = task
        task.add_done_callback(lambda _task: self._unwritten.pop(job_id, None))
        return None

    async def _until_written(self, job_id: str, write: Callable[[], Awaitable[Job]]) -> Job:
        while True:
            await self._clock.sleep(INSIST_SECONDS)
            try:
                job = await write()
            except GatewayError:
                continue
            except (IllegalEvent, AlreadyThere) as error:
                _log.error("move.impossible", job=job_id, why=str(error))
                return await self.current(job_id)
            _log.info("move.written", job=job_id, state=job.state)
            return job

    async def settle_down(self, seconds: float) -> None:
        """Return when everything is written, or after so many seconds."""
        if self._unwritten:
            await asyncio.wait(list(self._unwritten.values()), timeout=seconds)


async def _awaited(writing: Awaitable[T]) -> T:
    return await writing
