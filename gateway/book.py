"""The jobs in memory, so that answering a poll touches neither disk nor database.

Open jobs are always here; ended ones until newer ones need the room. A job that is not here is
read once. The ledger stays the truth: only what it returned is put in.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterator

from gateway.core.job import ACTIVE_STATES, State
from gateway.records import Job

ENDED_JOBS_MAX = 20_000
"""About 40 MB: the jobs of days at the key's full rate."""

Listener = Callable[[Job], None]


class JobBook:
    """The jobs known to this process, by either id."""

    def __init__(self, read: Callable[[str], Awaitable[Job | None]]) -> None:
        self._read = read
        self._jobs: dict[str, Job] = {}
        self._by_queue_id: dict[str, str] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._active: Counter[str] = Counter()
        self._active_of_key: Counter[str] = Counter()
        self._waiting: dict[str, dict[asyncio.Future[None], None]] = {}
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Have a function called with every job that is put in."""
        self._listeners.append(listener)

    def put(self, job: Job) -> Job:
        """Take in what the ledger says of a job, and wake whoever waits for it."""
        before = self._jobs.get(job.id)
        self._jobs[job.id] = job
        if job.queue_id is not None:
            self._by_queue_id[job.queue_id] = job.id
        self._count(before, -1)
        self._count(job, +1)
        if job.state in ACTIVE_STATES or job.state is State.IN_DOUBT:
            self._ended.pop(job.id, None)
        else:
            self._ended[job.id] = None
            self._ended.move_to_end(job.id)
            self._forget_oldest()
        if before is None or before.state is not job.state:
            for future in self._waiting.pop(job.id, ()):
                _wake(future)
        for listener in self._listeners:
            listener(job)
        return job

    def _count(self, job: Job | None, step: int) -> None:
        if job is not None and job.state in ACTIVE_STATES:
            for counter, who in ((self._active, job.user), (self._active_of_key, job.key_id)):
                counter[who] += step
                if not counter[who]:
                    del counter[who]

    def _forget_oldest(self) -> None:
        while len(self._ended) > ENDED_JOBS_MAX:
            job_id, _ = self._ended.popitem(last=False)
            job = self._jobs.pop(job_id)
            if job.queue_id is not None:
                self._by_queue_id.pop(job.queue_id, None)

    def known(self, any_id: str) -> Job | None:
        """The job, if it is in memory."""
        return self._jobs.get(self._by_queue_id.get(any_id, any_id))

    async def find(self, any_id: str) -> Job | None:
        """The job, read once if it is not in memory."""
        job = self.known(any_id)
        if job is not None:
            return job
        read = await self._read(any_id)
        if read is None:
            return None
        # Something newer may have come in while the database was read.
        return self.known(read.id) or self.put(read)

    async def refresh(self, job_id: str) -> Job:
        """Read a job again that was found to be other than it is known here."""
        before = self._jobs.get(job_id)
        read = await self._read(job_id)
        now = self._jobs.get(job_id)
        if now is not None and now is not before:
            # Something newer came in while the database was read.
            return now
        assert read is not None, "a job that is known is in the ledger"
        return self.put(read)

    def active(self, user: str) -> int:
        """How many jobs of a user are in the making."""
        return self._active[user]

    def active_of_key(self, key_id: str) -> int:
        """How many jobs of a key are in the making."""
        return self._active_of_key[key_id]

    def open_jobs(self) -> Iterator[Job]:
        """The jobs that are not ended."""
        return (job for job_id, job in self._jobs.items() if job_id not in self._ended)

    def wake_all(self) -> None:
        """Have everybody who waits for a change look again: the gateway is about to stop."""
        waiting, self._waiting = self._waiting, {}
        for future in (future for futures in waiting.values() for future in futures):
            _wake(future)

    async def changed(self, job_id: str, seconds: float) -> None:
        """Return when the job's state changes, after so many seconds, or when all are woken."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        waiting = self._waiting.setdefault(job_id, {})
        waiting[future] = None
        alarm = loop.call_later(seconds, _wake, future)
        try:
            await future
        finally:
            alarm.cancel()
            waiting.pop(future, None)
            if not waiting and self._waiting.get(job_id) is waiting:
                del self._waiting[job_id]


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
