"""Lets videos go when their time has come: ours by the policy, Venice's when ours is safe."""

from __future__ import annotations

from collections.abc import Callable

from gateway.core.policy import VideoRules
from gateway.core.retention import KeepRules
from gateway.deliver import Deliveries
from gateway.ports import Clock, Job, Ledger

COPY_RETRY_SECONDS = 30.0
"""Between two tries to delete the same copy at Venice."""


class Reaper:
    """One round purges what is due and deletes the copies at Venice that nobody needs."""

    def __init__(
        self,
        ledger: Ledger,
        deliveries: Deliveries,
        clock: Clock,
        rules: Callable[[], VideoRules],
    ) -> None:
        self._ledger = ledger
        self._deliveries = deliveries
        self._clock = clock
        self._rules = rules
        self._tried: dict[str, float] = {}

    async def run_once(self) -> None:
        """Purge what is due, and delete copies at Venice that nobody needs."""
        for job in await self._ledger.purgeable(keep_rules(self._rules()), self._clock.now()):
            await self._deliveries.purge(job, _why(job))
        for job in await self._ledger.copies():
            await self._let_go(job)

    async def _let_go(self, job: Job) -> None:
        now = self._clock.monotonic()
        if now - self._tried.get(job.id, float("-inf")) < COPY_RETRY_SECONDS:
            return
        self._tried[job.id] = now
        if await self._deliveries.let_go(job):
            self._tried.pop(job.id, None)


def keep_rules(rules: VideoRules) -> KeepRules:
    """The policy's `videos` section as `core.retention` takes it."""
    return KeepRules(
        keep=rules.keep,
        keep_undelivered=rules.keep_undelivered,
        grace=rules.grace,
        purge_on_complete=rules.on_complete == "purge",
    )


def _why(job: Job) -> str:
    return "completed" if job.completed_at or job.delete_wanted else "expired"
