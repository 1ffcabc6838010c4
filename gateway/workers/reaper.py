"""Lets videos go when their time has come: ours by the policy, Venice's when ours is safe.

One that cannot be let go holds up no other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import structlog

from gateway.core.cadence import gap_after
from gateway.core.errors import Draining
from gateway.core.policy import VideoRules
from gateway.inventory import Inventory
from gateway.logs import about
from gateway.ports import Clock, Ledger, LedgerFailure, NoPlace
from gateway.records import Job
from gateway.removal import Removal

COPY_RETRY_SECONDS = 30.0
"""Before the second try to delete a copy at Venice; doubled with each."""
FAILURES_A_ROUND = 2
"""Venice counts failed calls against the key: after so many, the rest waits for the next round."""
TRIED_MAX = 5_000
"""Copies whose last try is remembered; the tries of older ones begin anew."""
SWEEP_SECONDS = 86_400.0
"""Between two looks for files of no job; a start looks for them too."""

_log = structlog.get_logger(__name__)


class _Tries(NamedTuple):
    made: int
    next_at: float


class Reaper:
    """One round purges what is due and deletes the copies at Venice that nobody needs."""

    def __init__(
        self,
        ledger: Ledger,
        removal: Removal,
        inventory: Inventory,
        clock: Clock,
        rules: Callable[[], VideoRules],
    ) -> None:
        self._ledger = ledger
        self._removal = removal
        self._inventory = inventory
        self._clock = clock
        self._rules = rules
        self._tries: dict[str, _Tries] = {}
        self._swept_at = clock.monotonic()

    async def run_once(self) -> None:
        """Purge what is due, delete copies at Venice that nobody needs, and sweep once a day."""
        for job in await self._ledger.purgeable(self._rules().keep_rules, self._clock.now()):
            await self._purge(job)
        await self._let_go()
        now = self._clock.monotonic()
        if now - self._swept_at >= SWEEP_SECONDS:
            self._swept_at = now
            await self._inventory.sweep()

    async def _purge(self, job: Job) -> None:
        try:
            await self._removal.purge(job, _why(job))
        except LedgerFailure as error:
            _log.error("purge.failed", **about(job), why=str(error))

    async def _let_go(self) -> None:
        now = self._clock.monotonic()
        resting = [job_id for job_id, tries in self._tries.items() if tries.next_at > now]
        failures = 0
        for job in await self._ledger.copies(resting):
            try:
                is_gone = await self._removal.let_go(job)
            except (NoPlace, Draining) as error:
                _log.info("copies.wait", why=str(error) or type(error).__name__)
                return
            except LedgerFailure as error:
                _log.error("copy.not_noted", **about(job), why=str(error))
                is_gone = False
            if is_gone:
                self._tries.pop(job.id, None)
                continue
            self._put_off(job, now)
            failures += 1
            if failures >= FAILURES_A_ROUND:
                return

    def _put_off(self, job: Job, now: float) -> None:
        """Try this one again later, and the others first."""
        before = self._tries.pop(job.id, None)
        count = 1 if before is None else before.made + 1
        self._tries[job.id] = _Tries(count, now + gap_after(count, COPY_RETRY_SECONDS))
        while len(self._tries) > TRIED_MAX:
            del self._tries[next(iter(self._tries))]


def _why(job: Job) -> str:
    return "completed" if job.completed_at or job.delete_wanted else "expired"
