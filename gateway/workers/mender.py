"""Ends what a failed write to the ledger left half done, without waiting for a restart.

Only jobs that no order and no look of this process is working on are touched. It asks nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Set

import structlog

from gateway.book import JobBook
from gateway.core.job import Event, IllegalEvent, State
from gateway.logs import about
from gateway.ports import Clock, Ledger, LedgerFailure
from gateway.records import Job

IDLE_SECONDS = 5.0
"""An order or a look that begins or ends is between two steps for less than this."""
COMPARE_SECONDS = 60.0
"""Between two comparisons of the memory with the ledger, which reads all of its jobs."""
PAGE = 1_000

REMEDIES = {
    State.RESERVED: (Event.GIVE_UP, "held for no order any more"),
    State.SENDING: (Event.LOSE_ANSWER, "no order waits for its answer any more"),
    State.FETCHING: (Event.INTERRUPT, "nobody fetches it any more"),
}
"""What is done with a job that stands still, and why."""

_log = structlog.get_logger(__name__)


class Mender:
    """`in_flight` gives the jobs that orders work on, `is_looking` tells of those looked at."""

    def __init__(
        self,
        ledger: Ledger,
        book: JobBook,
        clock: Clock,
        in_flight: Callable[[], Set[str]],
        is_looking: Callable[[str], bool],
    ) -> None:
        self._ledger = ledger
        self._book = book
        self._clock = clock
        self._in_flight = in_flight
        self._is_looking = is_looking
        self._idle_since: dict[tuple[str, State], float] = {}
        self._compared_at = clock.monotonic()

    async def run_once(self) -> None:
        """Move on every job that has stood still for some seconds."""
        now = self._clock.monotonic()
        if now - self._compared_at >= COMPARE_SECONDS:
            self._compared_at = now
            await self._compare()
        idle = self._idle()
        self._idle_since = {key: self._idle_since.get(key, now) for key in idle}
        for key, since in self._idle_since.items():
            if now - since >= IDLE_SECONDS and not self._is_worked_on(key[0]):
                await self._mend(idle[key])

    def _idle(self) -> dict[tuple[str, State], Job]:
        in_flight = self._in_flight()
        return {
            (job.id, job.state): job
            for job in self._book.open_jobs()
            if job.state in REMEDIES and job.id not in in_flight and not self._is_looking(job.id)
        }

    def _is_worked_on(self, job_id: str) -> bool:
        return job_id in self._in_flight() or self._is_looking(job_id)

    async def _compare(self) -> None:
        """Take in what the ledger knows of such jobs and memory does not."""
        for job in await self._ledger.jobs(states=list(REMEDIES), limit=PAGE):
            known = self._book.known(job.id)
            if known is None or known.state is not job.state:
                await self._book.refresh(job.id)

    async def _mend(self, job: Job) -> None:
        event, reason = REMEDIES[job.state]
        try:
            moved = await self._ledger.advance(job.id, event, self._clock.now(), reason=reason)
        except IllegalEvent:
            await self._book.refresh(job.id)
        except LedgerFailure as error:
            _log.error("job.not_mended", **about(job), why=str(error))
        else:
            _log.warning(
                "job.mended", **about(job), was=job.state, state=moved.state, reason=reason
            )
            self._book.put(moved)
